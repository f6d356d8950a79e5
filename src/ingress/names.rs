//! What every known field name means to a gateway, once: the one table behind heads, answers and trailers.
//!
//! [`class`] finds a name by a perfect hash that the compiler checks, so that one look at a field decides everything.
//! Never looks at values. Bound: the table.

use crate::record::kept;

/// What a field is, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Nothing is known of it, or nothing that matters: it passes.
    Plain,
    /// Unknown, and has a `_`: the same as a name with `-` to sites in the manner of CGI.
    Underscore,
    /// Decides something in a head; as a trailer it would come after every check (RFC 9110 §6.5.1).
    Head,
    /// The same, and a client cannot have it removed by `Connection`.
    Kept,
    /// `Content-Length`: [`Class::Kept`], and one half of the framing.
    Length,
    /// `Transfer-Encoding`: of this hop, and the other half.
    Coding,
    /// `Connection`.
    Connection,
    /// `TE`.
    Te,
    /// `Upgrade`.
    Upgrade,
    /// `Expect`: honoured here; the site must neither wait for a body that we hold back nor answer 100 itself.
    Expect,
    /// Of this hop only (RFC 9110 §7.6.1).
    Hop,
    /// `Proxy`, which CGI-style sites take for a setting.
    Proxy,
    /// The chain of proxies: written by us on every request.
    Chain,
    /// Another field that we write on every request.
    Ours,
    /// `kelisim-*`: only the gateway speaks in this name, in both directions.
    Kelisim,
    /// One client address, as one CDN or proxy or another writes it.
    ClientAddress,
    /// Other claims that some site believes: schemes, ports, hosts, paths.
    Forged,
    /// `X-Forwarded-*` without a meaning here, and who the visitor is: a trusted proxy may say it, nobody else.
    Relayed,
    /// A browser's advertising interface: what it tells in a request, and what starts it in an answer.
    Advertising,
    /// A client hint that tells more than the low-entropy ones.
    ClientHint,
    /// In an answer: asks the browser for client hints, which is not for the site to decide.
    AsksHints,
    /// In an answer: `Permissions-Policy`, of which the hints are not for the site to decide either.
    Permissions,
}

impl Class {
    /// Whether it belongs to one connection only.
    #[must_use]
    pub const fn is_of_the_hop(self) -> bool {
        matches!(self, Self::Connection | Self::Coding | Self::Te | Self::Upgrade | Self::Hop)
    }

    /// Whether `Connection` has no effect on it, and listing it is worth counting: we write it, or the site needs it.
    #[must_use]
    pub const fn is_protected(self) -> bool {
        matches!(self, Self::Kept | Self::Length | Self::Chain | Self::Ours | Self::Kelisim)
    }

    /// Whether a client may say it in a trailer.
    #[must_use]
    pub const fn may_trail_request(self) -> bool {
        matches!(self, Self::Plain)
    }

    /// Whether a site may say it in a trailer.
    #[must_use]
    pub const fn may_trail_answer(self) -> bool {
        matches!(self, Self::Plain | Self::Underscore)
    }
}

/// The class of a name in lower case, as [`http::HeaderName`] gives it.
#[must_use]
pub fn class(name: &str) -> Class {
    look_up(name).0
}

/// The same, and the place in [`kept::NAMES`] of a field whose text the record needs.
#[must_use]
#[inline]
pub fn look_up(name: &str) -> (Class, Option<usize>) {
    let at = usize::from(PLACES[place(name.as_bytes(), SEED)]).wrapping_sub(1);
    match NAMES.get(at) {
        Some((known, class)) if *known == name => (*class, KEPT[at].map(usize::from)),
        _ => (family(name), None),
    }
}

/// The class of a name that is not in the table.
fn family(name: &str) -> Class {
    if name.bytes().any(|byte| byte == b'_') {
        return Class::Underscore;
    }
    let begins = |prefix| name.starts_with(prefix);
    match name.as_bytes().first() {
        Some(b'k') if begins("kelisim-") => Class::Kelisim,
        Some(b's') if begins("sec-ch-") => Class::ClientHint,
        // These interfaces still get new fields, in both directions.
        Some(b'a') if begins("ad-auction-") || begins("attribution-reporting-") => Class::Advertising,
        Some(b's') if begins("shared-storage-") => Class::Advertising,
        Some(b's') if begins("sec-ad-auction-") || begins("sec-shared-storage-") => Class::Advertising,
        // Only browsers can say it, and in a head.
        Some(b's') if begins("sec-") => Class::Head,
        // What a CDN or a cloud says of the client, and what a proxy says of who it is: each has a family of names.
        Some(b'c') if begins("cloudfront-viewer-") || begins("cloudfront-forwarded-") => Class::Forged,
        Some(b'x') if begins("x-appengine-") => Class::Forged,
        Some(b'c') if begins("cf-access-") => Class::Relayed,
        Some(b's') if begins("ssl-client-") => Class::Relayed,
        Some(b'x') if IDENTITY.iter().any(|prefix| begins(prefix)) => Class::Relayed,
        _ => Class::Plain,
    }
}

/// Families of names in which a proxy says who the visitor is, and `X-Forwarded-*`.
const IDENTITY: [&str; 6] = [
    "x-forwarded-",
    "x-amzn-oidc-",
    "x-auth-request-",
    "x-goog-authenticated-user-",
    "x-ms-client-principal",
    "x-ssl-client-",
];

/// Fields that name one client address, and that `site[].client_address_from` and `…_to` may choose.
pub const CLIENT_ADDRESS: &[&str] = &[
    "akamai-client-ip",
    "ali-cdn-real-ip",
    "cdn-src-ip",
    "cf-connecting-ip",
    "cf-connecting-ipv6",
    "client-ip",
    "do-connecting-ip",
    "eo-connecting-ip",
    "fastly-client-ip",
    "fly-client-ip",
    "incap-client-ip",
    "proxy-client-ip",
    "true-client-ip",
    "wl-proxy-client-ip",
    "x-appengine-user-ip",
    "x-azure-clientip",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-envoy-external-address",
    "x-nf-client-connection-ip",
    "x-real-ip",
    "x-sucuri-clientip",
];

/// Every known name. Fields that nearly every request has stand here too, so that one look settles them.
#[rustfmt::skip] // one class per paragraph reads as the table it is
const NAMES: &[(&str, Class)] = &{
    use Class::*;
    [
        ("accept", Plain), ("accept-encoding", Plain), ("accept-language", Plain), ("dnt", Plain),
        ("origin", Plain), ("priority", Plain), ("referer", Plain), ("save-data", Plain),
        ("traceparent", Plain), ("upgrade-insecure-requests", Plain), ("user-agent", Plain),
        ("x-requested-with", Plain),

        ("age", Head), ("cache-control", Head), ("content-encoding", Head), ("content-location", Head),
        ("content-range", Head), ("expires", Head), ("if-match", Head), ("if-modified-since", Head),
        ("if-none-match", Head), ("if-range", Head), ("if-unmodified-since", Head), ("location", Head),
        ("max-forwards", Head), ("pragma", Head), ("proxy-status", Head), ("range", Head),
        ("retry-after", Head), ("sec-ch-ua", Head), ("sec-ch-ua-mobile", Head),
        ("sec-ch-ua-platform", Head), ("sec-fetch-dest", Head), ("sec-fetch-mode", Head),
        ("sec-fetch-site", Head), ("sec-fetch-user", Head), ("sec-gpc", Head), ("set-cookie", Head),
        ("trailer", Head), ("vary", Head), ("via", Head), ("www-authenticate", Head),
        ("x-http-method-override", Head), ("x-method-override", Head),

        ("authorization", Kept), ("content-type", Kept), ("cookie", Kept), ("host", Kept),
        ("content-length", Length),

        ("transfer-encoding", Coding), ("connection", Connection), ("te", Te), ("upgrade", Upgrade),
        ("expect", Expect),
        ("http2-settings", Hop), ("keep-alive", Hop), ("proxy-authenticate", Hop),
        ("proxy-authorization", Hop), ("proxy-connection", Hop),

        ("proxy", Proxy),
        ("forwarded", Chain), ("x-forwarded-for", Chain),
        ("x-forwarded-host", Ours), ("x-forwarded-proto", Ours), ("x-request-id", Ours),
        ("kelisim-consent", Kelisim), ("kelisim-risk", Kelisim), ("kelisim-signals", Kelisim),

        ("akamai-client-ip", ClientAddress),
        ("ali-cdn-real-ip", ClientAddress), ("cdn-src-ip", ClientAddress),
        ("cf-connecting-ip", ClientAddress), ("cf-connecting-ipv6", ClientAddress),
        ("client-ip", ClientAddress), ("do-connecting-ip", ClientAddress),
        ("eo-connecting-ip", ClientAddress), ("fastly-client-ip", ClientAddress),
        ("fly-client-ip", ClientAddress), ("incap-client-ip", ClientAddress),
        ("proxy-client-ip", ClientAddress),
        ("true-client-ip", ClientAddress), ("wl-proxy-client-ip", ClientAddress),
        ("x-appengine-user-ip", ClientAddress), ("x-azure-clientip", ClientAddress),
        ("x-client-ip", ClientAddress), ("x-cluster-client-ip", ClientAddress),
        ("x-envoy-external-address", ClientAddress), ("x-nf-client-connection-ip", ClientAddress),
        ("x-real-ip", ClientAddress), ("x-sucuri-clientip", ClientAddress),

        ("cf-ipcountry", Forged), ("cf-pseudo-ipv4", Forged), ("cf-visitor", Forged),
        ("cloudfront-viewer-address", Forged),
        ("forwarded-for", Forged), ("front-end-https", Forged), ("x-azure-socketip", Forged), ("x-forwarded", Forged),
        ("x-forwarded-by", Forged), ("x-forwarded-port", Forged), ("x-forwarded-prefix", Forged),
        ("x-forwarded-scheme", Forged), ("x-forwarded-server", Forged), ("x-forwarded-ssl", Forged),
        ("x-host", Forged), ("x-original-forwarded-for", Forged), ("x-original-host", Forged),
        ("x-original-for", Forged), ("x-original-url", Forged), ("x-originally-forwarded-for", Forged),
        ("x-proxyuser-ip", Forged), ("x-remote-addr", Forged),
        ("x-remote-ip", Forged), ("x-originating-ip", Forged), ("x-rewrite-url", Forged),
        ("x-url-scheme", Forged), ("x-vercel-forwarded-for", Forged),
        ("x-akamai-edgescape", Forged), ("x-arr-ssl", Forged), ("x-ms-forwarded-client-ip", Forged),
        ("x-original-proto", Forged), ("x-scheme", Forged), ("x-vercel-ip-country", Forged),
        ("remote-user", Relayed), ("x-remote-user", Relayed), ("x-webauth-user", Relayed),
        ("client-cert", Relayed), ("client-cert-chain", Relayed), ("x-arr-clientcert", Relayed),
        ("x-client-cert", Relayed),

        ("attribution-reporting-eligible", Advertising), ("attribution-reporting-support", Advertising),
        ("sec-ad-auction-fetch", Advertising), ("sec-browsing-topics", Advertising),
        ("sec-shared-storage-writable", Advertising),
        ("ad-auction-signals", Advertising), ("observe-browsing-topics", Advertising),
        ("shared-storage-write", Advertising), ("x-allow-fledge", Advertising),
        ("device-memory", ClientHint), ("downlink", ClientHint), ("dpr", ClientHint),
        ("ect", ClientHint), ("rtt", ClientHint), ("viewport-width", ClientHint), ("width", ClientHint),

        ("accept-ch", AsksHints), ("critical-ch", AsksHints), ("permissions-policy", Permissions),
    ]
};

/// Where a name stands in [`PLACES`]: its length and four of its bytes, mixed.
const fn place(name: &[u8], seed: u32) -> usize {
    let n = name.len();
    if n == 0 {
        return 0;
    }
    let bytes = [name[0], name[n / 2], name[n - 1], name[n * 3 / 4]];
    let mixed = u32::from_le_bytes(bytes) ^ (n as u32) << 3;
    (mixed.wrapping_mul(seed) >> SHIFT) as usize
}

/// Fills the places, or says that two names share one.
const fn places(seed: u32) -> Option<[u8; SLOTS]> {
    let mut places = [0; SLOTS];
    let mut i = 0;
    while i < NAMES.len() {
        let at = place(NAMES[i].0.as_bytes(), seed);
        if places[at] != 0 {
            return None;
        }
        places[at] = i as u8 + 1;
        i += 1;
    }
    Some(places)
}

/// The first multiplier that gives every name a place of its own.
const fn seed() -> u32 {
    let mut tried = 0;
    while tried < MOST_SEEDS {
        tried += 1;
        let seed = 0x9e37_79b9_u32.wrapping_mul(tried) | 1;
        if places(seed).is_some() {
            return seed;
        }
    }
    0
}

/// Place in [`NAMES`] plus one, by [`place`]; 0 where no name stands.
static PLACES: [u8; SLOTS] = match places(SEED) {
    Some(places) => places,
    None => [0; SLOTS],
};

/// For each of [`NAMES`] its place in [`kept::NAMES`].
static KEPT: [Option<u8>; NAMES.len()] = {
    let mut places = [None; NAMES.len()];
    let mut kept = 0;
    while kept < kept::NAMES.len() {
        let mut i = 0;
        while !same(NAMES[i].0.as_bytes(), kept::NAMES[kept].as_bytes()) {
            i += 1;
            assert!(i < NAMES.len(), "a field that is kept is not among the known names");
        }
        places[i] = Some(kept as u8);
        kept += 1;
    }
    places
};

const fn same(one: &[u8], other: &[u8]) -> bool {
    let mut i = 0;
    while i < one.len() && i < other.len() && one[i] == other[i] {
        i += 1;
    }
    i == one.len() && i == other.len()
}

const SEED: u32 = seed();
const SLOTS: usize = 2048;
const SHIFT: u32 = u32::BITS - SLOTS.trailing_zeros();
const MOST_SEEDS: u32 = 4096;
const _: () =
    assert!(SEED != 0 && NAMES.len() < 255, "two names look alike to `place`: let it mix another byte");

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use http::HeaderName;

    use super::*;

    #[test]
    fn the_hash_is_perfect() {
        for (name, known) in NAMES {
            assert_eq!(class(name), *known, "{name}");
        }
    }

    #[test]
    fn claims_of_known_proxies_are_known() {
        for name in [
            "cloudfront-forwarded-proto",
            "cloudfront-viewer-country",
            "cf-visitor",
            "x-scheme",
            "x-original-proto",
            "x-arr-ssl",
            "x-appengine-country",
            "x-appengine-remote-addr",
            "x-akamai-edgescape",
            "x-ms-forwarded-client-ip",
        ] {
            assert_eq!(class(name), Class::Forged, "{name}");
        }
        for name in [
            "ssl-client-verify",
            "x-ssl-client-verify",
            "x-client-cert",
            "x-arr-clientcert",
            "x-webauth-user",
            "x-auth-request-user",
            "x-ms-client-principal",
            "cf-access-jwt-assertion",
            "x-forwarded-user",
        ] {
            assert_eq!(class(name), Class::Relayed, "{name}");
        }
        assert_eq!(class("x-appengine-user-ip"), Class::ClientAddress);
        assert_eq!(class("x-client-version"), Class::Plain);
    }

    #[test]
    fn what_the_record_needs_has_its_place() {
        for (place, name) in kept::NAMES.iter().enumerate() {
            assert_eq!(look_up(name).1, Some(place), "{name}");
        }
        let kept = NAMES.iter().filter(|(name, _)| look_up(name).1.is_some()).count();
        assert_eq!(kept, kept::NAMES.len());
        assert_eq!(look_up("cookie").1.or(look_up("x-user-agent").1), None);
    }

    #[test]
    fn every_name_is_there_once_and_as_http_writes_it() {
        let mut seen = HashSet::new();
        for (name, _) in NAMES {
            assert!(seen.insert(name), "{name} is there twice");
            assert_eq!(HeaderName::from_bytes(name.as_bytes()).unwrap().as_str(), *name);
        }
    }

    #[test]
    fn the_fields_that_an_operator_may_choose_are_those_of_their_class() {
        let of_class: Vec<&str> =
            NAMES.iter().filter(|(_, class)| *class == Class::ClientAddress).map(|(name, _)| *name).collect();
        assert_eq!(of_class, CLIENT_ADDRESS);
    }

    #[test]
    fn families_have_their_class() {
        for (name, expected) in [
            ("remote-user", Class::Relayed),
            ("remote_user", Class::Underscore),
            ("kelisim-", Class::Kelisim),
            ("kelisim-anything", Class::Kelisim),
            ("kelisim_risk", Class::Underscore),
            ("kelisim-country", Class::Kelisim),
            ("kelisim-network", Class::Kelisim),
            ("cf-ipcountry", Class::Forged),
            ("cf_ipcountry", Class::Underscore),
            ("sec-ch-ua-model", Class::ClientHint),
            ("sec-purpose", Class::Head),
            ("x-forwarded-user", Class::Relayed),
            ("x-forwarded_for", Class::Underscore),
            ("attribution-reporting-register-source", Class::Advertising),
            ("attribution-reporting-info", Class::Advertising),
            ("ad-auction-allowed", Class::Advertising),
            ("shared-storage-cross-origin-worklet-allowed", Class::Advertising),
            ("sec-shared-storage-data-origin", Class::Advertising),
            ("sec-ad-auction-x", Class::Advertising),
            ("shared-storage", Class::Plain),
            ("ad-x", Class::Plain),
            ("x-test", Class::Plain),
            ("x", Class::Plain),
            ("", Class::Plain),
        ] {
            assert_eq!(class(name), expected, "{name}");
        }
    }

    #[test]
    fn what_a_head_decides_never_trails() {
        for (name, class) in NAMES {
            assert_eq!(class.may_trail_request(), *class == Class::Plain, "{name}");
            assert!(!class.is_of_the_hop() || !class.may_trail_answer(), "{name}");
        }
    }
}
