//! A browser's cookie jar over either protocol, with the visitor's choice of consent.

use std::fmt::Write as _;

use super::client::{Ask, Client, Reply, ask};
use super::gateway::{Gateway, HOST};
use super::h2::Http2;
use super::tls::Certificate;

/// Advertising cookies, as a browser may hold them.
pub const ADS: &[(&str, &str)] = &[
    ("_fbp", "fb.1.1700000000000.123456789"),
    ("_gcl_au", "1.1.123.456"),
    ("tmr_lvid", "0123456789abcdef"),
    ("_uetsid", "a1b2"),
];

/// A session cookie with bytes that careless code would change.
pub const SESSION: (&str, &str) = ("sessionid", "\"a=b, c%20d+e/==|~\"");

/// What a visitor speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2.
    Http2,
}

impl Protocol {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Http1, Self::Http2];
}

enum Wire {
    Http1(Client),
    Http2(Http2),
}

/// A visitor on one connection that stays open.
pub struct Visitor {
    wire: Wire,
    jar: Vec<(String, String)>,
    always: Vec<(String, String)>,
    scheme: &'static str,
}

impl Visitor {
    /// A visitor who has the usual session and advertising cookies, and chose nothing.
    pub fn with_ads(gateway: &Gateway, protocol: Protocol) -> Self {
        let mut visitor = Self::new(gateway, protocol);
        visitor.hold(SESSION.0, SESSION.1);
        ADS.iter().for_each(|(name, value)| visitor.hold(name, value));
        visitor
    }

    /// A visitor without any cookie.
    pub fn new(gateway: &Gateway, protocol: Protocol) -> Self {
        let wire = match protocol {
            Protocol::Http1 => Wire::Http1(gateway.client()),
            Protocol::Http2 => Wire::Http2(gateway.http2()),
        };
        Self { wire, jar: Vec::new(), always: Vec::new(), scheme: "http" }
    }

    /// A visitor without any cookie who comes by TLS to the second listener.
    pub fn by_tls(gateway: &Gateway, certificate: &Certificate, protocol: Protocol) -> Self {
        let address = gateway.addresses[1];
        let wire = match protocol {
            Protocol::Http1 => {
                let config = certificate.client(&["http/1.1"]);
                Wire::Http1(Client::connect_tls(address, config, HOST).expect("TLS"))
            }
            Protocol::Http2 => Wire::Http2(Http2::connect_tls(address, certificate.client(&["h2"]), HOST)),
        };
        Self { wire, jar: Vec::new(), always: Vec::new(), scheme: "https" }
    }

    /// What a browser sends as `Origin`.
    pub fn origin(&self) -> String {
        format!("{}://{HOST}", self.scheme)
    }

    /// Puts a cookie into the jar.
    pub fn hold(&mut self, name: &str, value: &str) {
        match self.jar.iter_mut().find(|(n, _)| n == name) {
            Some(held) => held.1 = value.into(),
            None => self.jar.push((name.into(), value.into())),
        }
    }

    /// Takes a cookie out of the jar.
    pub fn forget(&mut self, name: &str) {
        self.jar.retain(|(n, _)| n != name);
    }

    /// The value of a cookie in the jar.
    pub fn cookie(&self, name: &str) -> Option<&str> {
        self.jar.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// A field that is sent with every request from now on.
    pub fn always(mut self, name: &str, value: &str) -> Self {
        self.always.push((name.into(), value.into()));
        self
    }

    /// The `Cookie` field.
    pub fn cookies(&self) -> String {
        self.jar.iter().fold(String::new(), |mut out, (name, value)| {
            let _ = write!(out, "{}{name}={value}", if out.is_empty() { "" } else { "; " });
            out
        })
    }

    /// Asks with the jar's cookies and keeps what the answer sets.
    pub fn fetch(&mut self, mut question: Ask) -> Reply {
        if !self.jar.is_empty() {
            question = question.header("cookie", &self.cookies());
        }
        for (name, value) in &self.always {
            question = question.header(name, value);
        }
        let reply = match &mut self.wire {
            Wire::Http1(client) => client.fetch(&question),
            Wire::Http2(http2) => http2.fetch(&question),
        };
        reply.set_cookies().iter().for_each(|field| self.keep(field));
        reply
    }

    /// Opens a page as a browser does.
    pub fn open(&mut self, path: &str) -> Reply {
        self.fetch(
            ask("GET", path)
                .header("accept", "text/html")
                .header("sec-fetch-dest", "document")
                .header("sec-fetch-mode", "navigate"),
        )
    }

    /// Sends a choice as JSON, from a script of the site.
    pub fn choose(&mut self, json: &str) -> Reply {
        self.fetch(
            ask("POST", "/.kelisim/consent")
                .header("origin", &self.origin())
                .header("content-type", "application/json")
                .body(json),
        )
    }

    /// Sends a choice as the page's form does.
    pub fn submit(&mut self, form: &str) -> Reply {
        self.fetch(
            ask("POST", "/.kelisim/consent")
                .header("origin", &self.origin())
                .header("content-type", "application/x-www-form-urlencoded")
                .body(form),
        )
    }

    /// Allows advertising.
    pub fn grant(&mut self) {
        let reply = self.choose(r#"{"advertising":true}"#);
        assert_eq!((reply.status, &reply.json()["decision"]), (200, &"granted".into()), "{}", reply.text());
    }

    /// Takes every consent back.
    pub fn withdraw(&mut self) {
        let reply = self.fetch(ask("DELETE", "/.kelisim/consent").header("origin", &self.origin()));
        assert_eq!((reply.status, &reply.json()["decision"]), (200, &"denied".into()), "{}", reply.text());
    }

    fn keep(&mut self, field: &str) {
        let mut parts = field.split(';').map(str::trim);
        let (name, value) = parts.next().and_then(|pair| pair.split_once('=')).unwrap_or_default();
        // What another domain set may not be deleted by a field without it, but in these tests all are ours.
        let deleted = parts.any(|attribute| attribute.eq_ignore_ascii_case("max-age=0"));
        if deleted {
            self.jar.retain(|(n, _)| n != name);
        } else {
            self.hold(name, value);
        }
    }
}
