//! The two headers that tell the site about risk.
//!
//! [`crate::ingress`] removes what the client sent in their names, on every request. Never tell a place. Bound: one short
//! value each.

use http::{HeaderMap, HeaderName, HeaderValue};

use super::score::Assessment;
use super::signal::Signals;

/// Sets both headers from an assessment whose action is `tag` or stronger. Without signals there is no second one.
pub fn set(headers: &mut HeaderMap, assessment: &Assessment) {
    headers.insert(RISK, risk(assessment));
    match signals(&assessment.signals) {
        Some(value) => {
            headers.insert(SIGNALS, value);
        }
        None => {
            headers.remove(SIGNALS);
        }
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

    fn forged() -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.append(RISK, HeaderValue::from_static("none;score=0"));
        headers.append(RISK, HeaderValue::from_static("none"));
        headers.append(SIGNALS, HeaderValue::from_static("forged"));
        headers
    }

    #[test]
    fn values_are_structured_fields() {
        let mut list = Signals::default();
        list.raise(SignalName::Velocity, Level::High);
        list.raise(SignalName::CountryHop, Level::Low);
        let assessment = Assessment { level: Level::Medium, score: 45, signals: list };
        let mut headers = forged();
        set(&mut headers, &assessment);
        assert_eq!(headers.get_all(RISK).iter().collect::<Vec<_>>(), ["medium;score=45"]);
        assert_eq!(headers.get_all(SIGNALS).iter().collect::<Vec<_>>(), ["country-hop, velocity"]);
    }

    #[test]
    fn what_the_client_sent_never_stays() {
        let mut headers = forged();
        set(&mut headers, &Assessment::default());
        assert_eq!(headers.get(RISK).unwrap(), "none;score=0");
        assert!(headers.get(SIGNALS).is_none());
    }
}
