//! The requests: about 1 KiB, twelve cookies, from a few hundred visitors behind a trusted proxy.
//!
//! The addresses are of all the world's networks, so that location look-ups miss the processor's caches as they do in
//! life; nobody is contacted. Every visitor returns: each peer gets the visitor cookie that it gave. Bound:
//! [`VISITORS`] requests.

use std::fmt::Write as _;
use std::net::Ipv4Addr;

/// Visitors that take turns.
pub(crate) const VISITORS: u32 = 512;
/// The site's name.
pub(crate) const HOST: &str = "site.example";

/// What a browser that has been around sends; the visitor cookie comes on top. 12 cookies, 3 of them for advertising.
pub(crate) const COOKIES: [&str; 11] = [
    "PHPSESSID=n4q8v2k1s7d3m5p9r6t0w8y2z4",
    "csrftoken=kT3vX9bQ1nL7wR5yU2pA8sD4fG6hJ0zC",
    "_ga=GA1.2.1203948576.1716239871",
    "_ga_7QK2M9XW1L=GS1.1.1716239871.4.1.1716240022.0.0.0",
    "_fbp=fb.1.1716239871234.987654321",
    "_gcl_au=1.1.456789123.1716239871",
    "_ym_uid=171623987155443322",
    "lang=kk",
    "theme=dark",
    "cart=eyJpdGVtcyI6W3siaWQiOjEyMywicXR5IjoyfV19",
    "_uetsid=5f2c1a7e0b3d4c6f8a9e0d1c2b3a4f5e",
];

/// Names among [`COOKIES`] that no peer with the job lets through.
pub(crate) const ADVERTISING: [&str; 3] = ["_fbp", "_gcl_au", "_uetsid"];

/// Fields of a request but `Host`, `Cookie` and `X-Forwarded-For`.
pub(crate) const FIELDS: [(&str, &str); 11] = [
    (
        "User-Agent",
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36",
    ),
    ("Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"),
    ("Accept-Language", "kk-KZ,kk;q=0.9,ru;q=0.8,en;q=0.7"),
    ("Accept-Encoding", "gzip, deflate, br"),
    ("Referer", "https://site.example/catalogue"),
    ("Sec-CH-UA", "\"Chromium\";v=\"131\", \"Not_A Brand\";v=\"24\""),
    ("Sec-CH-UA-Platform", "\"Linux\""),
    ("Sec-Fetch-Dest", "document"),
    ("Sec-Fetch-Mode", "navigate"),
    ("Sec-Fetch-Site", "same-origin"),
    ("Upgrade-Insecure-Requests", "1"),
];

/// The address of a visitor: public, spread over the whole space, the same in every run.
pub(crate) fn address(visitor: u32) -> Ipv4Addr {
    let mixed = (visitor + 1).wrapping_mul(2_654_435_761);
    let [a, b, c, d] = mixed.to_be_bytes();
    // 11-99, 101-126 and 128-168: no special-purpose network begins there.
    let first = match a % 156 {
        n @ 0..89 => 11 + n,
        n @ 89..115 => 101 + (n - 89),
        n => 128 + (n - 115),
    };
    Ipv4Addr::new(first, b, c, d | 1)
}

/// One request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request<'a> {
    /// Path.
    pub(crate) target: &'a str,
    /// Name of the site.
    pub(crate) host: &'a str,
    /// Who asks.
    pub(crate) visitor: u32,
    /// The pair that the peer gave, if any.
    pub(crate) cookie: Option<&'a str>,
    /// Whether the connection is to end with it.
    pub(crate) closes: bool,
}

impl<'a> Request<'a> {
    /// For the page, by a visitor who comes for the first time.
    pub(crate) fn of(visitor: u32) -> Self {
        Self { target: "/", host: HOST, visitor, cookie: None, closes: false }
    }

    /// With the visitor cookie that the peer gave.
    pub(crate) fn with(self, cookie: Option<&'a str>) -> Self {
        Self { cookie, ..self }
    }

    /// Its fields but `Host` and `Connection`, in order.
    pub(crate) fn fields(&self) -> Vec<(&'static str, String)> {
        let mut fields: Vec<_> = FIELDS.map(|(name, value)| (name, value.to_owned())).into();
        fields.push(("X-Forwarded-For", address(self.visitor).to_string()));
        let cookies: Vec<&str> = COOKIES.into_iter().chain(self.cookie).collect();
        fields.push(("Cookie", cookies.join("; ")));
        fields
    }

    /// Its bytes in HTTP/1.1.
    pub(crate) fn text(&self) -> String {
        let mut text = format!("GET {} HTTP/1.1\r\nHost: {}\r\n", self.target, self.host);
        // Writing to a string cannot fail.
        for (name, value) in self.fields() {
            let _ = write!(text, "{name}: {value}\r\n");
        }
        if self.closes {
            text.push_str("Connection: close\r\n");
        }
        text.push_str("\r\n");
        text
    }
}

/// The name of one of several sites.
pub(crate) fn host(site: u32) -> String {
    if site == 0 { HOST.to_owned() } else { format!("site{site}.example") }
}

/// Visitors of so many sites; each site has one at least, and visitor `n` goes to site `n` modulo their number.
pub(crate) fn visitors(sites: u32) -> u32 {
    VISITORS.max(sites)
}
