//! Small texts in the configuration: durations, sizes, hosts, upstream URLs, networks, path prefixes, dates.
//!
//! Each function takes the text and gives the value or a [`Fault`] with a hint. Pure; never looks at the network or
//! the disk. Bound: the text.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::{IpNet, Ipv4Net};
use jiff::civil;
use jiff::tz::TimeZone;
use toml::value::Datetime;

use super::problem::{Fault, shown};
use super::{Endpoint, ListenAddress};

/// `200ms`, `15s`, `10m`, `1h`, `30d`.
pub(super) fn duration(text: &str) -> Result<Duration, Fault> {
    let (number, unit) = split_number(text);
    let millis_each = DURATIONS.iter().find(|(name, _)| *name == unit).map(|(_, millis)| *millis);
    let (Ok(number), Some(each)) = (number.parse::<u64>(), millis_each) else {
        return Err(Fault::new(format!("`{}` is not a duration", shown(text)))
            .hint("write a whole number and one of ms, s, m, h, d, for example \"15s\""));
    };
    number.checked_mul(each).map(Duration::from_millis).ok_or_else(|| Fault::new("this duration is too long"))
}

/// The shortest exact spelling of a duration, in the syntax of [`duration`].
pub(super) fn show_duration(duration: Duration) -> String {
    let millis = duration.as_millis();
    let exact =
        DURATIONS.iter().rev().find(|(_, each)| millis > 0 && millis.is_multiple_of(u128::from(*each)));
    exact
        .map_or_else(|| format!("{millis}ms"), |(unit, each)| format!("{}{unit}", millis / u128::from(*each)))
}

/// `64KiB`, `100MiB`, `4096B`, `4096`.
pub(super) fn size(text: &str) -> Result<u64, Fault> {
    let (number, unit) = split_number(text);
    let bytes_each = SIZES.iter().find(|(name, _)| *name == unit).map(|(_, bytes)| *bytes);
    let (Ok(number), Some(each)) = (number.parse::<u64>(), bytes_each) else {
        return Err(Fault::new(format!("`{}` is not a size", shown(text)))
            .hint("write bytes, or a whole number and one of KiB, MiB, GiB, TiB, for example \"64KiB\""));
    };
    number.checked_mul(each).ok_or_else(|| Fault::new("this size is too large"))
}

/// The shortest exact spelling of a size, in the syntax of [`size`].
pub(super) fn show_size(bytes: u64) -> String {
    let exact = SIZES.iter().rev().find(|(_, each)| bytes > 0 && bytes.is_multiple_of(*each));
    exact.map_or_else(|| bytes.to_string(), |(unit, each)| format!("{}{unit}", bytes / each))
}

/// A host name in lower case without port, or an address; IPv6 gets its brackets.
pub(super) fn host(text: &str) -> Result<String, Fault> {
    if let Ok(ip) = text.parse::<IpAddr>() {
        return Ok(show_host(ip));
    }
    if let Some(rest) = text.strip_prefix('[') {
        return match rest.split_once(']').map(|(inside, tail)| (inside.parse::<Ipv6Addr>(), tail)) {
            Some((Ok(ip), "")) => Ok(show_host(IpAddr::V6(ip))),
            Some((Ok(ip), _)) => {
                Err(Fault::new("a host must not have a port").hint(format!("write \"[{ip}]\"")))
            }
            _ => Err(Fault::new(format!("`{}` is not an IPv6 address", shown(text)))),
        };
    }
    if text.contains("://") {
        return Err(Fault::new("expected a host name, found a URL").hint("leave out the scheme and the path"));
    }
    if let Some((name, _port)) = text.split_once(':') {
        return Err(Fault::new("a host must not have a port").hint(format!("write \"{}\"", shown(name))));
    }
    if text.contains('*') {
        return Err(Fault::new("wildcards are not supported").hint("list every host name"));
    }
    if !text.is_ascii() {
        return Err(Fault::new("a host name must be ASCII").hint("write the form that begins with \"xn--\""));
    }
    if text.bytes().any(|b| b.is_ascii_uppercase()) {
        let lower = text.to_ascii_lowercase();
        return Err(
            Fault::new("a host name must be in lower case").hint(format!("write \"{}\"", shown(&lower)))
        );
    }
    if let Some(name) = text.strip_suffix('.') {
        return Err(
            Fault::new("a host name must not end with a dot").hint(format!("write \"{}\"", shown(name)))
        );
    }
    if is_name(text) {
        Ok(text.to_owned())
    } else {
        Err(Fault::new(format!("`{}` is not a host name", shown(text))))
    }
}

/// `http://host[:port]` or `https://host[:port]`, nothing behind it but one `/`; or `unix:/path`.
pub(super) fn upstream(text: &str) -> Result<Endpoint, Fault> {
    if let Some(path) = text.strip_prefix("unix:") {
        return unix(path).map(Endpoint::Unix);
    }
    let Some((scheme, rest)) = text.split_once("://") else {
        return Err(Fault::new("an upstream is a URL")
            .hint("for example \"http://127.0.0.1:3000\" or \"unix:/run/app.sock\"")
            .unquoted());
    };
    let tls = match scheme.to_ascii_lowercase().as_str() {
        "http" => false,
        "https" => true,
        "h2" | "h2c" | "grpc" | "grpcs" => {
            return Err(Fault::new("an upstream URL begins with http:// or https://")
                .hint("HTTP/2 is chosen with upstream_protocol = \"h2\"")
                .unquoted());
        }
        "http+unix" => {
            return Err(Fault::new("an upstream URL begins with http:// or https://")
                .hint("write \"unix:/run/app.sock\"")
                .unquoted());
        }
        _ => return Err(Fault::new("an upstream URL begins with http:// or https://").unquoted()),
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, tail) = rest.split_at(end);
    if authority.contains('@') {
        return Err(Fault::new("an upstream URL must not hold a user name or password").unquoted());
    }
    let (name, port) = split_port(authority);
    let port = match port {
        None if tls => 443,
        None => 80,
        Some(port) => match port.parse::<u16>() {
            Ok(port) if port > 0 => port,
            _ => return Err(Fault::new("the port of an upstream is a number from 1 to 65535")),
        },
    };
    if !matches!(tail, "" | "/") {
        return Err(Fault::new("an upstream URL has no path, query or fragment")
            .hint("requests keep the path that the visitor asked for")
            .unquoted());
    }
    let inside = name.strip_prefix('[').and_then(|n| n.strip_suffix(']'));
    let host = match inside {
        Some(inside) => inside.parse::<Ipv6Addr>().ok().map(|ip| ip.to_string()),
        None => Some(name.to_ascii_lowercase()).filter(|name| is_name(name)),
    };
    host.map(|host| Endpoint::Host { host, port, tls })
        .ok_or_else(|| Fault::new(format!("`{}` is not a host name or address", shown(name))))
}

/// `unix:/path` as an address to listen on.
pub(super) fn unix_listener(text: &str) -> Result<ListenAddress, Fault> {
    unix(text.strip_prefix("unix:").unwrap_or(text)).map(ListenAddress::Unix)
}

/// Permissions of a file such as `0660`, in octal digits.
pub(super) fn mode(text: &str) -> Result<u64, Fault> {
    let digits = text.len() == 4 && text.starts_with('0') && text.bytes().all(|b| (b'0'..=b'7').contains(&b));
    match u64::from_str_radix(text, 8) {
        Ok(mode) if digits => Ok(mode),
        _ => Err(Fault::new(format!("`{}` are no permissions", shown(text)))
            .hint("write four octal digits, for example \"0660\"")),
    }
}

/// The path of a Unix socket; `///path` is how a URL spells it.
fn unix(path: &str) -> Result<PathBuf, Fault> {
    let path = path.strip_prefix("//").unwrap_or(path);
    if !path.starts_with('/') {
        return Err(Fault::new("the path of a Unix socket begins with `/`")
            .hint("for example \"unix:/run/app.sock\"")
            .unquoted());
    }
    if path.len() > MAX_UNIX || path.contains('\0') || path.ends_with('/') {
        return Err(Fault::new(format!("the path of a Unix socket is a file, and at most {MAX_UNIX} bytes")));
    }
    Ok(path.into())
}

/// An endpoint in the syntax of [`upstream`].
pub(super) fn show_upstream(endpoint: &Endpoint) -> String {
    match endpoint {
        Endpoint::Host { tls: true, .. } => format!("https://{endpoint}"),
        Endpoint::Host { .. } => format!("http://{endpoint}"),
        Endpoint::Unix(_) => endpoint.to_string(),
    }
}

/// A path to ask for: visible ASCII, and no fragment.
pub(super) fn target(text: &str) -> Result<String, Fault> {
    if !text.starts_with('/') {
        return Err(Fault::new("a path begins with `/`").hint(format!("write \"/{}\"", shown(text))));
    }
    if text.len() > 1024 || !text.bytes().all(|b| b.is_ascii_graphic()) || text.contains('#') {
        return Err(Fault::new("a path to ask for is at most 1024 bytes of visible ASCII without `#`")
            .hint("write other characters as %XX"));
    }
    Ok(text.to_owned())
}

/// `200`, `2xx` or `200-399`.
pub(super) fn statuses(text: &str) -> Result<RangeInclusive<u16>, Fault> {
    let number = |text: &str| text.parse::<u16>().ok().filter(|n| (100..=599).contains(n));
    let range = match (text.strip_suffix("xx"), text.split_once('-')) {
        (Some(class), _) => number(&format!("{class}00")).map(|first| first..=first + 99),
        (None, Some((first, last))) => number(first).zip(number(last)).map(|(first, last)| first..=last),
        (None, None) => number(text).map(|one| one..=one),
    };
    range.filter(|range| !range.is_empty()).ok_or_else(|| {
        Fault::new(format!("`{}` is not a status from 100 to 599", shown(text)))
            .hint("for example \"200\", \"2xx\" or \"200-399\"")
    })
}

/// Statuses in the syntax of [`statuses`].
pub(super) fn show_statuses(range: &RangeInclusive<u16>) -> String {
    if range.start() == range.end() {
        range.start().to_string()
    } else {
        format!("{}-{}", range.start(), range.end())
    }
}

/// `10.0.0.0/8` or one address. IPv4-mapped networks become IPv4, as client addresses do.
pub(super) fn network(text: &str) -> Result<IpNet, Fault> {
    let parsed = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    let Ok(net) = parsed else {
        return Err(
            Fault::new(format!("`{}` is not a network", shown(text))).hint("for example \"10.0.0.0/8\"")
        );
    };
    if net.prefix_len() == 0 {
        return Err(Fault::new("this network holds every address: anybody could choose their own address")
            .hint("name the networks of your own proxies"));
    }
    if net.trunc() != net {
        return Err(Fault::new("bits are set behind the prefix length")
            .hint(format!("write \"{}\", or the address alone", net.trunc())));
    }
    let IpNet::V6(v6) = net else { return Ok(net) };
    let mapped = v6.addr().to_ipv4_mapped().zip(v6.prefix_len().checked_sub(96));
    Ok(mapped.and_then(|(v4, len)| Ipv4Net::new(v4, len).ok()).map_or(net, IpNet::V4))
}

/// A path prefix that begins with `/` and can occur in a request path.
pub(super) fn prefix(text: &str) -> Result<String, Fault> {
    if !text.starts_with('/') {
        let hint = format!("write \"/{}\"", shown(text));
        return Err(Fault::new("a path begins with `/`").hint(hint));
    }
    if text.contains(['?', '#', '\\']) || text.chars().any(|c| c.is_control() || c == ' ') {
        return Err(Fault::new("a path has no query, fragment, backslash, blank or control character"));
    }
    if text.contains("//") || text.split('/').any(|segment| matches!(segment, "." | "..")) {
        return Err(Fault::new("a path without `//`, `/./` and `/../` is compared; this one never matches"));
    }
    Ok(text.to_owned())
}

/// A template of paths, with braces around what varies.
pub(super) fn route(text: &str) -> Result<String, Fault> {
    let text = prefix(text)?;
    match crate::record::route::check(&text) {
        Ok(()) => Ok(text),
        Err(why) => Err(Fault::new(why).hint("for example \"/user/{id}\" or \"/files/{rest*}\"")),
    }
}

/// The prefix of the gateway's own endpoints: slashes at both ends, at least one character between.
pub(super) fn own_prefix(text: &str) -> Result<String, Fault> {
    let fits = |text: &str| {
        let plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || b"/._~-".contains(&b));
        text.len() > 2 && text.len() <= 64 && text.ends_with('/') && plain && prefix(text).is_ok()
    };
    if fits(text) {
        return Ok(text.to_owned());
    }
    let fault = Fault::new("the prefix is 3 to 64 of A-Z a-z 0-9 . _ ~ - and `/`, with a slash at both ends");
    let meant = format!("/{}/", text.trim_matches('/'));
    Err(match fits(&meant) {
        true => fault.hint(format!("write \"{meant}\"")),
        false => fault.hint("for example \"/.kelisim/\""),
    })
}

/// A text of 1 to 32 characters, letters, digits and those of `extra`.
pub(super) fn id(text: &str, extra: &[u8]) -> Result<String, Fault> {
    let fits = text.bytes().all(|b| b.is_ascii_alphanumeric() || extra.contains(&b));
    if fits && (1..=32).contains(&text.len()) && !text.starts_with('.') {
        return Ok(text.to_owned());
    }
    let extra: String = extra.iter().flat_map(|b| [' ', char::from(*b)]).collect();
    Err(Fault::new(format!("`{}` is not 1 to 32 of A-Z a-z 0-9{extra}", shown(text))))
}

/// A day without time; gives its midnight UTC in seconds since 1970.
pub(super) fn day(date: &Datetime) -> Result<i64, Fault> {
    let hint = "write the day alone, for example 2026-11-22";
    let (Some(date), None, None) = (date.date, date.time, date.offset) else {
        return Err(Fault::new("a document comes into force at midnight UTC of a day").hint(hint));
    };
    let day =
        i16::try_from(date.year).ok().zip(i8::try_from(date.month).ok()).zip(i8::try_from(date.day).ok());
    day.and_then(|((year, month), day)| civil::Date::new(year, month, day).ok())
        .filter(|date| (1990..2200).contains(&date.year()))
        .and_then(|date| date.to_zoned(TimeZone::UTC).ok())
        .map(|midnight| midnight.timestamp().as_second())
        .ok_or_else(|| Fault::new("there is no such day between 1990 and 2199").hint(hint))
}

fn split_number(text: &str) -> (&str, &str) {
    text.split_at(text.bytes().take_while(u8::is_ascii_digit).count())
}

/// Splits `host:port`, `[v6]:port`, `host`.
fn split_port(authority: &str) -> (&str, Option<&str>) {
    match authority.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => (name, Some(port)),
        _ => (authority, None),
    }
}

fn show_host(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    }
}

/// RFC 1123 labels; `_` too, since names inside a cluster have it. A last label of digits means a bad address.
fn is_name(text: &str) -> bool {
    let label = |l: &str| {
        (1..=63).contains(&l.len())
            && l.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_')
            && !l.starts_with('-')
            && !l.ends_with('-')
    };
    let numeric = text.rsplit('.').next().is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()));
    text.len() <= 253 && text.split('.').all(label) && (!numeric || text.parse::<Ipv4Addr>().is_ok())
}

/// Bytes of the path of a Unix socket: what the system has room for.
const MAX_UNIX: usize = 107;
/// Units of durations in milliseconds, ascending.
const DURATIONS: [(&str, u64); 5] =
    [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];
/// Units of sizes in bytes, ascending.
const SIZES: [(&str, u64); 6] =
    [("", 1), ("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1 << 40)];

#[cfg(test)]
#[path = "syntax_tests.rs"]
mod tests;
