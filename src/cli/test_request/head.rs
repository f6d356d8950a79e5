//! What came, what the site would get, and what was done to each line in between.
//!
//! Compares two heads; the reasons are those of the ingress scan, asked again about the head that came. Never changes a
//! head. Bound: the two heads.

use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::mask::{Mask, text};
use super::report::{Change, HeadLine, Line, Removed};
use super::why;
use crate::ingress::headers::{self, Rules};
use crate::ingress::names::{Class, class};
use crate::record::kept::Kept;

/// The head that came.
pub(super) struct Came {
    method: String,
    target: String,
    version: http::Version,
    /// Its fields, before any step changed them.
    pub(super) fields: HeaderMap,
}

impl Came {
    /// Copies the head.
    pub(super) fn of(parts: &Parts) -> Self {
        Self {
            method: parts.method.to_string(),
            target: parts.uri.to_string(),
            version: parts.version,
            fields: parts.headers.clone(),
        }
    }

    /// Its request line.
    pub(super) fn line(&self) -> Line {
        Line {
            method: self.method.clone(),
            target: text(self.target.as_bytes()),
            version: format!("{:?}", self.version),
        }
    }

    /// The lines of what the site would get, against what came.
    pub(super) fn lines(&self, sent: &[u8], mask: Mask) -> Vec<HeadLine> {
        let mut lines =
            sent.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
        let first = lines.next().unwrap_or_default();
        let came = format!("{} {} HTTP/1.1", self.method, self.target);
        let change = if first == came.as_bytes() { Change::Same } else { Change::Changed };
        let mut out = vec![HeadLine { change, line: text(first) }];
        for line in lines.filter(|line| !line.is_empty()) {
            let (name, value) = split(line);
            let change = match self.fields.get_all(name).iter().count() {
                0 => Change::Added,
                _ if self.fields.get_all(name).iter().any(|came| came.as_bytes() == value) => Change::Same,
                _ => Change::Changed,
            };
            out.push(HeadLine { change, line: format!("{name}: {}", mask.field(name, value)) });
        }
        out
    }

    /// The fields that came and do not go on as they were, with the reason.
    pub(super) fn removed(&self, sent: &[u8], rules: Rules, mask: Mask) -> Vec<Removed> {
        let sent: Vec<(&str, &[u8])> =
            sent.split(|byte| *byte == b'\n').skip(1).map(|line| split(line.trim_ascii_end())).collect();
        let mut out = Vec::new();
        for (name, value) in &self.fields {
            if sent.iter().any(|(n, v)| *n == name.as_str() && *v == value.as_bytes()) {
                continue;
            }
            let replaced = sent.iter().any(|(n, _)| *n == name.as_str());
            out.push(Removed {
                line: format!("{name}: {}", mask.field(name.as_str(), value.as_bytes())),
                replaced,
                why: self.reason(name, value, rules, replaced).to_owned(),
            });
        }
        out
    }

    /// Asks the ingress scan about this one field.
    fn reason(&self, name: &HeaderName, value: &HeaderValue, rules: Rules, replaced: bool) -> &'static str {
        if name == header::COOKIE {
            return if replaced {
                "some cookies are kept from the site"
            } else {
                "every cookie is kept from the site"
            };
        }
        if name == header::REFERER {
            return "click ids or campaign parameters are kept from the site";
        }
        let alone = HeaderMap::from_iter([(name.clone(), value.clone())]);
        let mut counted = None;
        // A refusal by the scan would have refused the request.
        let found = headers::scan(&alone, rules, &mut Kept::default(), &mut |why| counted = Some(why))
            .unwrap_or_default();
        if !found.advertising.is_empty() {
            return "for advertising, or tells a browser from others: goes on only after consent to advertising";
        }
        let class = class(name.as_str());
        let connection = class == Class::Connection;
        match counted.filter(|_| !connection) {
            Some(why) => why::dropped(why),
            None if self.is_listed(name) => "listed in Connection: for this connection only",
            None if class.is_of_the_hop() || class == Class::Expect => why::of_the_hop(name),
            None if name == header::HOST => "written as the visitor's browser asked for it",
            None if name == header::CONTENT_LENGTH => "the framing is written anew",
            None => "set by the gateway on every request, whatever came",
        }
    }

    fn is_listed(&self, name: &HeaderName) -> bool {
        let fields = self.fields.get_all(header::CONNECTION).iter();
        let mut tokens = fields.flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
        class(name.as_str()) == Class::Plain
            && tokens.any(|token| token.trim_ascii().eq_ignore_ascii_case(name.as_str().as_bytes()))
    }
}

fn split(line: &[u8]) -> (&str, &[u8]) {
    let at = memchr::memchr(b':', line).unwrap_or(line.len());
    let (name, value) = line.split_at(at);
    (std::str::from_utf8(name).unwrap_or_default(), value.get(1..).unwrap_or_default().trim_ascii())
}
