//! What is reported, in the shape of the JSON.
//!
//! A contract: fields are added, never renamed or removed, unless [`SHAPE`] changes. Absent facts are `null`, lists
//! are never absent. Bound: the request.

use serde::{Serialize, Serializer};
use serde_json::Value;

/// Version of the shape.
pub(super) const SHAPE: u32 = 1;

/// Everything that is told about one request.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// [`SHAPE`].
    pub(super) shape: u32,
    /// What would become of it.
    pub(super) verdict: Verdict,
    /// The step that decided: `read`, `admit`, `normalise`, `own`, `gate`, `risk`, `forward`.
    pub(super) step: &'static str,
    /// Label of the reason, where it is refused: `error.type` of the record.
    pub(super) reason: Option<&'static str>,
    /// The same as a sentence.
    pub(super) why: String,
    /// The gateway's own answer; `null` where the site answers, or where the connection just ends.
    pub(super) answer: Option<Answer>,
    /// Whether the client's connection ends with it.
    pub(super) closes: bool,
    /// The request line as it came.
    pub(super) request: Option<Line>,
    /// Where it leads.
    pub(super) site: Option<Site>,
    /// Who is asking.
    pub(super) client: Option<Client>,
    /// The visitor cookie.
    pub(super) visitor: Option<VisitorCookie>,
    /// The decision about advertising.
    pub(super) consent: Option<Consent>,
    /// `enforce` or `dry-run`.
    pub(super) cookie_mode: Option<&'static str>,
    /// Every cookie, in order.
    pub(super) cookies: Vec<Cookie>,
    /// `Set-Cookie` fields that the answer would add, if it is a page.
    pub(super) set_cookies: Vec<SetCookie>,
    /// The risk signals.
    pub(super) risk: Option<Risk>,
    /// The head as the site would get it, in order.
    pub(super) head: Vec<HeadLine>,
    /// Fields of the head that came which the site does not get as they were.
    pub(super) removed: Vec<Removed>,
    /// The record, by purpose class; empty where none is written.
    pub(super) record: Vec<RecordClass>,
    /// What else one should know.
    pub(super) notes: Vec<String>,
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Verdict {
    /// The site gets it.
    Forwarded,
    /// We answer it: a page of our own, a redirect to it, `OPTIONS *`.
    Answered,
    /// It is refused.
    Refused,
}

/// The head of our own answer.
#[derive(Debug, Serialize)]
pub(super) struct Answer {
    /// Status.
    pub(super) status: u16,
    /// Error type of `Proxy-Status` (RFC 9209).
    pub(super) proxy_status: Option<String>,
    /// Name and value of each field, in order.
    pub(super) fields: Vec<(String, String)>,
}

/// A request line.
#[derive(Debug, Serialize)]
pub(super) struct Line {
    /// Method.
    pub(super) method: String,
    /// Target.
    pub(super) target: String,
    /// `HTTP/1.0`, `HTTP/1.1`, `HTTP/2.0`.
    pub(super) version: String,
}

/// The site that a host leads to.
#[derive(Debug, Serialize)]
pub(super) struct Site {
    /// Its first host.
    pub(super) name: String,
    /// The configured host that was asked for.
    pub(super) host: String,
    /// Scheme as the visitor used it.
    pub(super) scheme: &'static str,
    /// Its endpoints.
    pub(super) upstream: Vec<String>,
}

/// Who is asking. Addresses are networks (/24, /48) unless values are shown.
#[derive(Debug, Serialize)]
pub(super) struct Client {
    /// Who counts as the client.
    pub(super) address: String,
    /// The other end of the connection.
    pub(super) peer: String,
    /// Whether the peer may say who the client is.
    pub(super) peer_trusted: bool,
    /// From the client to the peer, as far as believed.
    pub(super) chain: Vec<String>,
    /// Why the walk ended there.
    pub(super) why: &'static str,
}

/// The cookie `kelisim_vid`.
#[derive(Debug, Serialize)]
pub(super) struct VisitorCookie {
    /// `absent`, `genuine`, `not genuine`.
    pub(super) state: &'static str,
    /// Whether the answer gives a new one, if it is a page.
    pub(super) given: bool,
}

/// The decision about advertising.
#[derive(Debug, Serialize)]
pub(super) struct Consent {
    /// `granted` or `denied`.
    pub(super) decision: &'static str,
    /// Who said so.
    pub(super) source: &'static str,
    /// Label of the row that decided.
    pub(super) reason: &'static str,
    /// The same as a sentence.
    pub(super) why: &'static str,
    /// Version of the policy in force.
    pub(super) policy_version: String,
    /// Whether that version was accepted.
    pub(super) policy_accepted: bool,
    /// Whether the visitor's own choice is fresh and of that version.
    pub(super) chosen: bool,
    /// Categories that have a permit.
    pub(super) permits: Vec<&'static str>,
}

/// One cookie of the request.
#[derive(Debug, Serialize)]
pub(super) struct Cookie {
    /// Its name.
    pub(super) name: String,
    /// Bytes of its value.
    pub(super) bytes: usize,
    /// The value, where values are shown.
    pub(super) value: Option<String>,
    /// Its category.
    pub(super) category: &'static str,
    /// The pattern of the rule that says so.
    pub(super) rule: Option<String>,
    /// `kept`, `stripped`, `would be stripped` (mode dry-run), `ours`.
    pub(super) action: &'static str,
    /// Why.
    pub(super) why: String,
}

/// One `Set-Cookie` field.
#[derive(Debug, Serialize)]
pub(super) struct SetCookie {
    /// `visitor` or `expiry`.
    pub(super) purpose: &'static str,
    /// The field's value.
    pub(super) field: String,
}

/// The risk signals.
#[derive(Debug, Serialize)]
pub(super) struct Risk {
    /// `none`, `low`, `medium`, `high`.
    pub(super) level: &'static str,
    /// 0 to 100.
    pub(super) score: u8,
    /// `observe`, `tag`, `throttle`, `deny`.
    pub(super) action: &'static str,
    /// What would have been done after the days of observation.
    pub(super) would_have: Option<&'static str>,
    /// Whether many share the address, so that it is not counted by itself.
    pub(super) shared: bool,
    /// Every signal.
    pub(super) signals: Vec<Signal>,
}

/// One risk signal.
#[derive(Debug, Serialize)]
pub(super) struct Signal {
    /// Its name.
    pub(super) name: &'static str,
    /// Its level for this request alone.
    pub(super) level: &'static str,
    /// Whether the configuration switches it off.
    pub(super) off: bool,
    /// The highest level that the configuration lets it have: `low`, `medium`.
    pub(super) cap: Option<&'static str>,
    /// Earlier requests that it would need, which a dry run has not seen.
    pub(super) needs: &'static str,
}

/// One line of the head that the site would get.
#[derive(Debug, Serialize)]
pub(super) struct HeadLine {
    /// Against what came.
    pub(super) change: Change,
    /// The line without its end.
    pub(super) line: String,
}

/// What was done to a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Change {
    /// It came so.
    Same,
    /// It came with another value.
    Changed,
    /// It did not come.
    Added,
}

/// A field that came and does not go on as it was.
#[derive(Debug, Serialize)]
pub(super) struct Removed {
    /// The line as it came.
    pub(super) line: String,
    /// Whether another value takes its place.
    pub(super) replaced: bool,
    /// Why.
    pub(super) why: String,
}

/// The columns of one purpose class.
#[derive(Debug, Serialize)]
pub(super) struct RecordClass {
    /// Its name.
    pub(super) class: &'static str,
    /// Whether it is sealed: readable for the purposes named only.
    pub(super) sealed: bool,
    /// Purposes that open it.
    pub(super) opened_by: Vec<&'static str>,
    /// Days that it may be read.
    pub(super) days: u32,
    /// Name and value of each column, in the order of the reference.
    #[serde(serialize_with = "as_map")]
    pub(super) columns: Vec<(&'static str, Value)>,
}

fn as_map<S: Serializer>(columns: &[(&'static str, Value)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(columns.iter().map(|(name, value)| (name, value)))
}

impl Report {
    /// A report in which nothing is known yet.
    pub(super) const fn new(verdict: Verdict, step: &'static str, why: String) -> Self {
        Self {
            shape: SHAPE,
            verdict,
            step,
            reason: None,
            why,
            answer: None,
            closes: false,
            request: None,
            site: None,
            client: None,
            visitor: None,
            consent: None,
            cookie_mode: None,
            cookies: Vec::new(),
            set_cookies: Vec::new(),
            risk: None,
            head: Vec::new(),
            removed: Vec::new(),
            record: Vec::new(),
            notes: Vec::new(),
        }
    }
}
