//! Which fields of a request may go on, and which the record needs: one look at each name, then what has to go is removed.
//!
//! Removes what belongs to this hop (RFC 9110 §7.6.1), what the client listed in `Connection`, names with `_`, and
//! every name that the site trusts because we set it. Runs before our own fields are added, so that nobody can have
//! those removed. What a name means stands in [`super::names`]. Bound: the head.

use http::{HeaderMap, HeaderName, HeaderValue, Method, Version, header};
use smallvec::SmallVec;

use super::names::{Class, class, look_up};
use crate::admin::labels::DropReason;
use crate::config::Underscores;
use crate::error::Reason;
use crate::record::kept::Kept;

/// Names of fields.
pub type Names = SmallVec<[HeaderName; 4]>;

/// Names that `Connection` lists and that mean nothing to us: a trailer of such a name stays here, too (RFC 9110 §7.6.1).
/// Nearly always none, which takes no memory.
pub type Listed = Vec<HeaderName>;

/// What the treatment of a name depends on besides the name.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// What is done with names that have a `_`.
    pub underscores: Underscores,
    /// Whether the peer is a proxy that the site trusts: then what it says of the client is no forgery.
    pub trusted: bool,
}

/// What one look at the head found.
#[derive(Debug, Default)]
pub struct Found {
    /// Fields that say where the body ends.
    pub framing: bool,
    /// `Expect`.
    pub expects: bool,
    /// `Upgrade`.
    pub upgrade: bool,
    /// Advertising signals and high-entropy client hints: they go on only with a permit.
    pub advertising: Names,
    /// A field of the chain of proxies.
    pub chain: bool,
    /// Another field that only we write.
    pub ours: bool,
    /// The client takes trailers.
    pub trailers: bool,
    /// What `Connection` lists and could come as a trailer.
    pub listed: Listed,
    remove: Names,
}

/// Looks at every name once: keeps the texts that the record needs, and tells which fields that matter will not be passed
/// on.
///
/// # Errors
/// [`Reason::Underscore`] if such names are to be rejected; [`Reason::Malformed`] if `Connection` lists more than
/// [`MOST_LISTED`] names.
pub fn scan(
    headers: &HeaderMap,
    rules: Rules,
    kept: &mut Kept,
    dropped: &mut impl FnMut(DropReason),
) -> Result<Found, Reason> {
    let mut found = Found::default();
    let mut before: Option<&HeaderName> = None;
    for (name, value) in headers {
        // Every value comes with its name; those of one name come together.
        if before.replace(name).is_some_and(|before| std::ptr::eq(before, name)) {
            continue;
        }
        let (class, place) = look_up(name.as_str());
        if let Some(place) = place {
            kept.keep(place, value.as_bytes());
        }
        let goes = match class {
            Class::Plain | Class::Head | Class::Kept => continue,
            Class::AsksHints | Class::Permissions => continue,
            Class::Length => {
                found.framing = true;
                continue;
            }
            Class::Chain => {
                found.chain = true;
                if !rules.trusted {
                    dropped(DropReason::ClientAddress);
                }
                None
            }
            Class::Advertising | Class::ClientHint => {
                found.advertising.push(name.clone());
                continue;
            }
            Class::Relayed if rules.trusted => continue,
            Class::Underscore => match rules.underscores {
                Underscores::Pass if !is_ours_to_a_site_that_reads_underscores(name.as_str()) => continue,
                Underscores::Reject => return Err(Reason::Underscore),
                Underscores::Pass | Underscores::Drop => Some(DropReason::Underscore),
            },
            Class::Connection => {
                list(headers, &mut found.remove, &mut found.listed, dropped)?;
                None
            }
            Class::Coding => {
                found.framing = true;
                None
            }
            Class::Te => {
                found.trailers = has_token(headers, &header::TE, b"trailers");
                None
            }
            Class::Upgrade => {
                found.upgrade = true;
                None
            }
            Class::Expect => {
                found.expects = true;
                None
            }
            // It is written anew.
            Class::Ours => {
                found.ours = true;
                None
            }
            // Fields of the hop are removed as the protocol demands; the others are worth counting.
            Class::Hop => None,
            Class::Proxy => Some(DropReason::Proxy),
            Class::Kelisim => Some(DropReason::Forged),
            Class::ClientAddress => (!rules.trusted).then_some(DropReason::ClientAddress),
            Class::Forged | Class::Relayed => (!rules.trusted).then_some(DropReason::Forged),
        };
        if let Some(why) = goes {
            dropped(why);
        }
        found.remove.push(name.clone());
    }
    Ok(found)
}

/// Whether this is a request for a WebSocket (RFC 6455 §4.1): the only upgrade that is passed on. Both fields are lists.
#[must_use]
pub fn asks_for_websocket(headers: &HeaderMap, method: &Method, version: Version, found: &Found) -> bool {
    found.upgrade
        && version == Version::HTTP_11
        && method == Method::GET
        && has_token(headers, &header::CONNECTION, b"upgrade")
        && has_token(headers, &header::UPGRADE, b"websocket")
}

/// Removes what was found.
pub fn remove(headers: &mut HeaderMap, found: &Found) {
    for name in &found.remove {
        headers.remove(name);
    }
    if found.trailers {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
    }
}

/// What of an answer may go on to the visitor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Passes {
    /// What speaks to an advertising interface: with a permit.
    pub advertising: bool,
    /// What asks for client hints: only where nothing is enforced, since the gateway asks for none.
    pub hints: bool,
}

/// What one look at an answer's head found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cleaned {
    /// The site sent a `Permissions-Policy`.
    pub permissions: bool,
    /// Something that speaks to an advertising interface was removed.
    pub advertising: bool,
    /// Something that asks for client hints was removed.
    pub hints: bool,
    /// What `Connection` lists and could come as a trailer.
    pub listed: Listed,
}

/// Removes from an answer what belongs to the connection to the site, and what the visitor may not get.
pub fn clean_answer(headers: &mut HeaderMap, passes: Passes) -> Cleaned {
    let mut remove = Names::new();
    let mut cleaned = Cleaned::default();
    for name in headers.keys() {
        match class(name.as_str()) {
            class if class.is_of_the_hop() => {
                if class == Class::Connection {
                    // More names than an honest site lists: the answer goes on without those that were read.
                    let _ = list(headers, &mut remove, &mut cleaned.listed, &mut |_| {});
                }
            }
            // A site that echoes what it received must not tell the visitor.
            Class::Kelisim => {}
            Class::Advertising if !passes.advertising => cleaned.advertising = true,
            Class::AsksHints if !passes.hints => cleaned.hints = true,
            Class::Permissions => {
                cleaned.permissions = true;
                continue;
            }
            _ => continue,
        }
        remove.push(name.clone());
    }
    for name in &remove {
        headers.remove(name);
    }
    cleaned
}

/// Whether a site that reads `_` as `-` (CGI, WSGI, Rack, PHP) would take this for a field that it trusts because we
/// set or remove it: then it goes, even where names with `_` may pass.
fn is_ours_to_a_site_that_reads_underscores(name: &str) -> bool {
    let class = class(&name.replace('_', "-"));
    !matches!(
        class,
        Class::Plain | Class::Head | Class::Kept | Class::Length | Class::AsksHints | Class::Permissions
    )
}

/// Collects what `Connection` lists. Fields that a site cannot do without, or that we set, are not for the client to
/// remove: that is counted.
fn list(
    headers: &HeaderMap,
    remove: &mut Names,
    may_trail: &mut Listed,
    dropped: &mut impl FnMut(DropReason),
) -> Result<(), Reason> {
    let mut listed = 0;
    for value in headers.get_all(header::CONNECTION) {
        for token in value.as_bytes().split(|&b| b == b',').map(<[u8]>::trim_ascii) {
            if token.is_empty()
                || token.eq_ignore_ascii_case(b"keep-alive")
                || token.eq_ignore_ascii_case(b"close")
            {
                continue;
            }
            listed += 1;
            if listed > MOST_LISTED {
                return Err(Reason::Malformed);
            }
            let Ok(name) = HeaderName::from_bytes(token) else { continue };
            let class = class(name.as_str());
            if class.is_protected() {
                dropped(DropReason::ConnectionListed);
                continue;
            }
            if class.may_trail_answer() {
                may_trail.push(name.clone());
            }
            remove.push(name);
        }
    }
    Ok(())
}

fn has_token(headers: &HeaderMap, name: &HeaderName, token: &[u8]) -> bool {
    headers
        .get_all(name)
        .iter()
        .flat_map(|value| value.as_bytes().split(|&b| b == b','))
        .any(|t| t.trim_ascii().eq_ignore_ascii_case(token))
}

/// Names that `Connection` may list: each costs a look-up.
pub const MOST_LISTED: usize = 64;

#[cfg(test)]
#[path = "headers_tests.rs"]
mod tests;
