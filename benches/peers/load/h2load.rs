//! `h2load`: what it is told, and what it tells.
//!
//! All its requests are the same, so they are of one visitor. Its `Cookie` is one field, where browsers send a field
//! for each cookie. Bound: one line of arguments.

use std::net::SocketAddr;
use std::time::Duration;

use super::Counted;
use crate::workload::Request;

/// Requests at a time on one connection.
pub(super) const STREAMS: u32 = 8;

/// As many requests at a time as `connections` of HTTP/1.1 would have.
pub(super) fn arguments(address: SocketAddr, request: &Request<'_>, connections: u32) -> Vec<String> {
    let mut arguments = vec![
        "--threads=1".to_owned(),
        format!("--clients={}", (connections / STREAMS).max(1)),
        format!("--max-concurrent-streams={}", connections.min(STREAMS)),
        format!("--connect-to={address}"),
    ];
    for (name, value) in request.fields() {
        arguments.extend(["--header".to_owned(), format!("{}: {value}", name.to_ascii_lowercase())]);
    }
    arguments.push(format!("https://{}{}", request.host, request.target));
    arguments
}

/// Its figures; none unless HTTP/2 was spoken.
pub(super) fn parse(text: &str) -> Option<Counted> {
    let after = |start: &str| text.lines().find_map(|line| line.strip_prefix(start));
    after("Application protocol: h2").filter(|rest| rest.is_empty())?;
    let time = after("finished in ")?.split(',').next()?;
    // requests: 41 total, 41 started, 41 done, 41 succeeded, 0 failed, 0 errored, 0 timeout
    let requests = after("requests: ")?;
    let succeeded = figure(requests, "succeeded")?;
    let failed = figure(requests, "failed")?;
    Some(Counted { requests: succeeded, time: duration(time)?, errors: failed })
}

fn figure(line: &str, name: &str) -> Option<u64> {
    line.split(", ").find_map(|part| part.strip_suffix(name)?.trim().parse().ok())
}

/// `3.00s`, `512.04ms`.
fn duration(text: &str) -> Option<Duration> {
    let seconds = match text.strip_suffix("ms") {
        Some(millis) => millis.parse::<f64>().ok()? / 1e3,
        None => text.strip_suffix('s')?.parse().ok()?,
    };
    Some(Duration::from_secs_f64(seconds))
}
