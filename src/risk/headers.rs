//! The two headers that tell the site about risk.
//!
//! [`crate::ingress`] removes what the client sent in their names, on every request. Never tell a place. Bound: one short
//! value each.

use http::{HeaderName, HeaderValue};

use super::score::Assessment;
use super::signal::Signals;
use crate::ingress::outgoing::Fields;

/// Adds both from an assessment whose action is `tag` or stronger. Without signals there is no second one.
pub fn push(fields: &mut Fields, assessment: &Assessment) {
    fields.push(&RISK, &risk(assessment));
    if let Some(value) = signals(&assessment.signals) {
        fields.push(&SIGNALS, &value);
    }
}

/// `medium;score=45`: a token with a parameter (RFC 9651).
#[must_use]
pub fn risk(assessment: &Assessment) -> HeaderValue {
    let text = format!("{};score={}", assessment.level, assessment.score);
    HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static(assessment.level.label()))
}

/// `session-spread, country-hop`: a list of tokens (RFC 9651); `None` where an empty list would be, which is absent.
#[must_use]
pub fn signals(signals: &Signals) -> Option<HeaderValue> {
    let mut text = String::new();
    for (name, _) in signals.iter() {
        if !text.is_empty() {
            text.push_str(", ");
        }
        text.push_str(name.label());
    }
    if text.is_empty() { None } else { HeaderValue::try_from(text).ok() }
}

/// The level and the score.
pub const RISK: HeaderName = HeaderName::from_static("kelisim-risk");
/// The names of the signals.
pub const SIGNALS: HeaderName = HeaderName::from_static("kelisim-signals");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::risk::{Level, SignalName};

    #[test]
    fn values_are_structured_fields() {
        let mut list = Signals::default();
        list.raise(SignalName::Velocity, Level::High);
        list.raise(SignalName::CountryHop, Level::Low);
        let assessment = Assessment { level: Level::Medium, score: 45, signals: list };
        let mut fields = Fields::NONE;
        push(&mut fields, &assessment);
        let expected = "kelisim-risk: medium;score=45\r\nkelisim-signals: country-hop, velocity\r\n";
        assert_eq!(String::from_utf8_lossy(fields.lines()), expected);
    }

    #[test]
    fn without_signals_there_is_no_second_field() {
        let mut fields = Fields::NONE;
        push(&mut fields, &Assessment::default());
        assert_eq!(fields.lines(), b"kelisim-risk: none;score=0\r\n");
    }
}
