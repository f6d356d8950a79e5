//! What a visitor or a script submits as a choice.
//!
//! A form or JSON, at most [`super::BODY_BYTES`]. What is not clearly a yes is a no; what contradicts itself is
//! refused. Never stores anything. Bound: [`super::BODY_BYTES`], and the pairs of [`super::form`].

use http::{HeaderMap, header};
use serde::Deserialize;

use super::endpoints::BODY_BYTES;
use super::form;
use super::receipts::PURPOSES;
use super::record::Mask;
use super::site::SiteConsent;
use crate::cookies::Action as CookieAction;

/// Who speaks: it decides the shape of the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Form,
    Json,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(super) enum Action {
    /// Store the purposes as given. A form does not tell a switch that is off: a purpose that it does not give is refused.
    /// A program tells each that it asked for: one that it does not give stays as it was.
    #[default]
    Save,
    /// Store the answer about the policy alone.
    Policy,
    /// Allow every purpose that the page offers.
    Accept,
    /// Refuse every purpose.
    Refuse,
    /// Take back every consent.
    Withdraw,
}

/// A choice as it was submitted.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Submitted {
    pub(super) action: Action,
    /// Consents, refusals, and purposes of which nothing is said; matters with [`Action::Save`].
    pub(super) consents: Mask,
    /// Whether the policy is accepted; `None` leaves it as it was.
    pub(super) policy: Option<bool>,
    /// Token of our form.
    pub(super) token: Option<String>,
    /// Where to go afterwards, not yet checked.
    pub(super) back: Option<String>,
    /// Whether our script sent it, for the site's own banner.
    pub(super) by_banner: bool,
    /// Language of the page that was shown.
    pub(super) language: Option<String>,
    /// Hash of the text that our page showed, as the form told.
    pub(super) shown: Option<String>,
    /// Receipt of the choice that our page showed, as the form told.
    pub(super) held: Option<String>,
    /// Text that the site's own banner showed, and its variant, as the script told.
    pub(super) banner: Banner,
}

/// What the site's own banner tells of itself. Never believed to be more than that.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Banner {
    pub(super) variant: Option<String>,
    pub(super) text_id: Option<String>,
    pub(super) text_sha256: Option<String>,
}

impl Banner {
    /// Whether all of it has the shape of an id or a hash.
    fn is_sound(&self) -> bool {
        let is_id = |text: &String| {
            (1..=64).contains(&text.len())
                && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
        };
        let is_hash =
            |text: &String| text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        self.variant.as_ref().is_none_or(is_id)
            && self.text_id.as_ref().is_none_or(is_id)
            && self.text_sha256.as_ref().is_none_or(is_hash)
    }
}

impl Submitted {
    /// What is said of every purpose. Accepting "all" accepts what the page offers, and nothing that it does not speak of.
    pub(super) fn chosen(&self, site: &SiteConsent) -> Mask {
        match self.action {
            Action::Save => self.consents,
            Action::Policy => Mask::UNDECIDED,
            Action::Accept => PURPOSES
                .into_iter()
                .filter(|&(category, _)| site.actions.get(category) == CookieAction::Consent)
                .fold(Mask::EMPTY, |all, (_, bit)| all.or(bit)),
            Action::Refuse | Action::Withdraw => Mask::EMPTY,
        }
    }

    /// Whether nothing is said of any purpose.
    pub(super) fn is_of_policy_alone(&self) -> bool {
        self.action == Action::Policy
            || self.action == Action::Save && self.consents.contains(Mask::UNDECIDED)
    }

    /// Whether something is said at all.
    pub(super) fn says_something(&self) -> bool {
        !self.is_of_policy_alone() || self.policy.is_some()
    }
}

/// Why a body is no choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BodyError {
    TooLarge,
    MediaType,
    /// With what is wrong, in words of ours.
    Malformed(&'static str),
}

/// Media type of a request's body, without parameters.
pub(super) fn format(headers: &HeaderMap) -> Option<Format> {
    let value = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    let media_type = value.split(';').next()?.trim();
    if media_type.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        Some(Format::Form)
    } else if media_type.eq_ignore_ascii_case("application/json") {
        Some(Format::Json)
    } else {
        None
    }
}

/// Reads a body.
pub(super) fn read(format: Option<Format>, body: &[u8]) -> Result<Submitted, BodyError> {
    if body.len() > BODY_BYTES {
        return Err(BodyError::TooLarge);
    }
    let submitted = match format.ok_or(BodyError::MediaType)? {
        Format::Form => read_form(body),
        Format::Json => read_json(body),
    };
    submitted.map_err(BodyError::Malformed)
}

fn read_form(body: &[u8]) -> Result<Submitted, &'static str> {
    let text = str::from_utf8(body).map_err(|_| NOT_A_FORM)?;
    let mut out = Submitted::default();
    let (mut action, mut refused) = (None, Mask::EMPTY);
    for (name, value) in form::pairs(text).ok_or(NOT_A_FORM)? {
        if let Some(purpose) = purpose(&name) {
            let yes = matches!(&*value, "on" | "1" | "true" | "yes");
            out.consents = out.consents.with_if(purpose, yes);
            refused = refused.with_if(purpose, !yes);
            continue;
        }
        match &*name {
            "action" => {
                let given = parse_action(&value)?;
                if action.is_some_and(|known| known != given) {
                    return Err("two actions are given");
                }
                action = Some(given);
            }
            "policy" => out.policy = Some(out.policy != Some(false) && parse_policy(&value)?),
            "token" => out.token = Some(value.into_owned()),
            "return" => out.back = Some(value.into_owned()),
            "lang" => out.language = Some(value.into_owned()),
            "shown" => out.shown = Some(value.into_owned()),
            "held" => out.held = Some(value.into_owned()),
            // A field that a browser extension added is no reason to lose a choice.
            _ => {}
        }
    }
    out.action = action.unwrap_or_default();
    // Said twice and differently: no.
    out.consents = out.consents.and(refused.complement());
    Ok(out)
}

/// JSON is written by programs, so an unknown key is a mistake that its author wants to hear of.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    action: Option<String>,
    advertising: Option<bool>,
    analytics: Option<bool>,
    functional: Option<bool>,
    purposes: Option<Purposes>,
    policy: Option<String>,
    token: Option<String>,
    lang: Option<String>,
    method: Option<String>,
    #[serde(default)]
    banner: Banner,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Purposes {
    advertising: Option<bool>,
    analytics: Option<bool>,
    functional: Option<bool>,
}

fn read_json(body: &[u8]) -> Result<Submitted, &'static str> {
    let wire: Wire =
        serde_json::from_slice(body).map_err(|e| if e.is_data() { NOT_THESE_KEYS } else { "not JSON" })?;
    let nested = wire.purposes.unwrap_or_default();
    let mut consents = Mask::EMPTY;
    for (purpose, flat, nested) in [
        (Mask::ADVERTISING, wire.advertising, nested.advertising),
        (Mask::ANALYTICS, wire.analytics, nested.analytics),
        (Mask::FUNCTIONAL, wire.functional, nested.functional),
    ] {
        // Given in both places, both must say yes.
        let given = flat.is_some() || nested.is_some();
        let yes = flat.unwrap_or(true) && nested.unwrap_or(true);
        consents = consents.with_if(purpose, given && yes).with_if(Mask::open(purpose), !given);
    }
    let policy = match wire.policy {
        Some(text) => Some(parse_policy(&text)?),
        None => None,
    };
    let action = match wire.action {
        Some(text) => parse_action(&text)?,
        None => Action::Save,
    };
    let by_banner = match wire.method.as_deref() {
        None | Some("api") => false,
        Some("banner") => true,
        Some(_) => return Err("method is api or banner"),
    };
    let banner = wire.banner;
    if !banner.is_sound() {
        return Err("banner has a variant, a text_id or a text_sha256 that is none");
    }
    Ok(Submitted {
        action,
        consents,
        policy,
        token: wire.token,
        by_banner,
        language: wire.lang,
        banner,
        ..Submitted::default()
    })
}

fn purpose(name: &str) -> Option<Mask> {
    match name {
        "advertising" => Some(Mask::ADVERTISING),
        "analytics" => Some(Mask::ANALYTICS),
        "functional" => Some(Mask::FUNCTIONAL),
        _ => None,
    }
}

fn parse_action(text: &str) -> Result<Action, &'static str> {
    match text {
        "save" => Ok(Action::Save),
        "policy" => Ok(Action::Policy),
        "accept" => Ok(Action::Accept),
        "refuse" => Ok(Action::Refuse),
        "withdraw" => Ok(Action::Withdraw),
        _ => Err("action is save, accept, refuse, withdraw or policy"),
    }
}

fn parse_policy(text: &str) -> Result<bool, &'static str> {
    match text {
        "accepted" => Ok(true),
        "declined" => Ok(false),
        _ => Err("policy is accepted or declined"),
    }
}

const NOT_A_FORM: &str = "not a form";
const NOT_THESE_KEYS: &str = "a key is unknown, given twice, or has a value of another type; there are action, advertising, \
                              analytics, functional, purposes, policy, token, lang, method and banner";

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn form(text: &str) -> Result<Submitted, BodyError> {
        read(Some(Format::Form), text.as_bytes())
    }

    fn json(text: &str) -> Result<Submitted, BodyError> {
        read(Some(Format::Json), text.as_bytes())
    }

    fn consents(mask: Mask) -> Result<Submitted, BodyError> {
        Ok(Submitted { consents: mask, ..Submitted::default() })
    }

    #[test]
    fn forms() {
        assert_eq!(form(""), consents(Mask::EMPTY));
        assert_eq!(form("advertising=on&other=1"), consents(Mask::ADVERTISING));
        assert_eq!(form("analytics=1&functional=true"), consents(Mask::ANALYTICS.or(Mask::FUNCTIONAL)));
        for no in [
            "advertising=",
            "advertising",
            "advertising=off",
            "advertising=false",
            "advertising=ON",
            "Advertising=on",
        ] {
            assert_eq!(form(no), consents(Mask::EMPTY), "{no}");
        }
        for both in ["advertising=on&advertising=off", "advertising=off&advertising=on"] {
            assert_eq!(form(both), consents(Mask::EMPTY), "{both}");
        }
        assert_eq!(
            form("action=withdraw&policy=accepted&token=t&return=%2Fa&lang=kk"),
            Ok(Submitted {
                action: Action::Withdraw,
                consents: Mask::EMPTY,
                policy: Some(true),
                token: Some("t".into()),
                by_banner: false,
                back: Some("/a".into()),
                language: Some("kk".into()),
                ..Submitted::default()
            })
        );
        assert_eq!(form("policy=accepted&policy=declined").unwrap().policy, Some(false));
        assert_eq!(form("policy=declined&policy=accepted").unwrap().policy, Some(false));
        assert_eq!(form("action=refuse&action=refuse").unwrap().action, Action::Refuse);
        for bad in
            ["action=accept&action=refuse", "action=", "action=ACCEPT", "policy=yes", &"a=1&".repeat(65)]
        {
            assert!(matches!(form(bad), Err(BodyError::Malformed(_))), "{bad}");
        }
        assert_eq!(read(Some(Format::Form), b"a=\xff"), Err(BodyError::Malformed(NOT_A_FORM)));
    }

    #[test]
    fn json_bodies() {
        let but = |asked: Mask| Mask::open(asked.complement());
        let (ads, counting) = (Mask::ADVERTISING, Mask::ANALYTICS);
        assert_eq!(json(r#"{"advertising":true}"#), consents(ads.or(but(ads))));
        assert_eq!(json(r#"{"purposes":{"analytics":true}}"#), consents(counting.or(but(counting))));
        assert_eq!(json(r#"{"advertising":false,"purposes":{"advertising":true}}"#), consents(but(ads)));
        assert_eq!(
            json(r#"{"advertising":true,"analytics":false,"functional":false}"#),
            consents(Mask::ADVERTISING)
        );
        assert_eq!(json(r#"{"action":"refuse","policy":"declined"}"#).unwrap().policy, Some(false));
        for bad in [
            "",
            "[]",
            "{",
            r#"{"advertisment":true}"#,
            r#"{"advertising":"true"}"#,
            r#"{"advertising":1}"#,
            r#"{"advertising":true,"advertising":false}"#,
            r#"{"action":"maybe"}"#,
            r#"{"purposes":{"x":true}}"#,
            r#"{"banner":{"variant":"a b"}}"#,
            r#"{"banner":{"text_sha256":"abc"}}"#,
            r#"{"banner":{"text_id":""}}"#,
            r#"{} {}"#,
        ] {
            assert!(matches!(json(bad), Err(BodyError::Malformed(_))), "{bad}");
        }
    }

    #[test]
    fn a_choice_says_something() {
        for (said, is_choice) in [
            (json("{}"), false),
            (json(r#"{"method":"banner"}"#), false),
            (json(r#"{"action":"policy"}"#), false),
            (form("action=policy"), false),
            (form("action=policy&policy=accepted"), true),
            (json(r#"{"policy":"accepted"}"#), true),
            (json(r#"{"functional":false}"#), true),
            (form(""), true),
        ] {
            let said = said.unwrap();
            assert_eq!(said.says_something(), is_choice, "{said:?}");
        }
    }

    #[test]
    fn limits_and_types() {
        let body = format!("x={}", "a".repeat(BODY_BYTES - 2));
        assert!(form(&body).is_ok());
        assert_eq!(form(&format!("{body}a")), Err(BodyError::TooLarge));
        assert_eq!(read(None, b"{}"), Err(BodyError::MediaType));
        let of =
            |value| format(&HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static(value))]));
        assert_eq!(of("application/json; charset=utf-8"), Some(Format::Json));
        assert_eq!(of("Application/X-WWW-Form-Urlencoded"), Some(Format::Form));
        for other in ["text/plain", "multipart/form-data; boundary=x", "application/jsonp", ""] {
            assert_eq!(of(other), None, "{other}");
        }
        assert_eq!(format(&HeaderMap::new()), None);
    }

    proptest! {
        #[test]
        fn no_body_is_a_panic(body in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = read(Some(Format::Form), &body);
            let _ = read(Some(Format::Json), &body);
        }
    }
}
