//! Before anything is timed: every peer must really do its job.
//!
//! One request through each peer to the origin's echo shows what the site gets, what the visitor gets, and whether a
//! record exists. A peer that does less than it claims ends the bench. Bound: two requests per peer.

use std::net::SocketAddr;

use crate::client::{Answer, Client, field, fields};
use crate::peer::{Job, Peer};
use crate::{Fallible, origin, workload};

/// Ends the bench if the peer does not do its job.
pub(crate) fn job(peer: &Peer, body: usize) -> Fallible<()> {
    verify(peer, body).map_err(|error| format!("{} does not do its job: {error}", peer.name).into())
}

/// The visitor cookie that a peer gives, as the pair that a browser returns.
pub(crate) fn visitor_cookie(address: SocketAddr, name: &str, visitor: u32) -> Fallible<String> {
    let request = workload::request("/", visitor, None);
    let answer = Client::connect(address)?.exchange(&request)?;
    given(&answer, name).ok_or_else(|| format!("no cookie {name} was given").into())
}

fn verify(peer: &Peer, body: usize) -> Fallible<()> {
    let target = format!("{}{}-{}", origin::ECHO, peer.name, std::process::id());
    let mut client = Client::connect(peer.address)?;
    let answer = client.exchange(&workload::request(&target, 0, None))?;
    ensure(answer.status == 200, || format!("status {}", answer.status))?;
    let seen = String::from_utf8_lossy(&answer.body).into_owned();
    ensure(seen.starts_with(&format!("GET {target} HTTP/1.1\r\n")), || "another request line".to_owned())?;
    cookies(peer.job, &seen)?;
    if peer.job == Job::Full {
        forwarded(&seen)?;
        ensure(field(&answer.head, "x-request-id").is_some(), || "no request id for the visitor".to_owned())?;
        let name = peer.visitor_cookie.unwrap_or_default();
        ensure(given(&answer, name).is_some(), || "no visitor cookie".to_owned())?;
    }
    if peer.name == "kelisim" {
        let set = |name: &str| given(&answer, name).filter(|pair| !pair.ends_with('='));
        ensure(set("_fbp").is_none(), || "an advertising cookie was set".to_owned())?;
        ensure(set("lang").is_some(), || "the site's own cookie was not set".to_owned())?;
    }
    peer.await_record(&target)?;
    let page = client.exchange(&workload::request("/", 0, None))?;
    ensure(page.status == 200 && page.body.len() == body, || format!("a page of {} bytes", page.body.len()))
}

/// The site gets exactly the cookies that it may see, byte for byte and in order.
fn cookies(job: Job, seen: &str) -> Fallible<()> {
    let stripped = |pair: &&str| {
        let name = pair.split('=').next().unwrap_or_default();
        job == Job::Full && workload::ADVERTISING.contains(&name)
    };
    let expected: Vec<&str> = workload::COOKIES.into_iter().filter(|pair| !stripped(pair)).collect();
    let found: Vec<&str> = fields(seen, "cookie").flat_map(|f| f.split("; ")).filter(|p| !p.is_empty()).collect();
    ensure(found == expected, || format!("the site sees these cookies: {}", found.join(" | ")))
}

fn forwarded(seen: &str) -> Fallible<()> {
    let address = workload::address(0).to_string();
    let expected =
        [("host", workload::HOST), ("x-forwarded-for", &address), ("x-forwarded-proto", "http"), ("x-forwarded-host", workload::HOST)];
    for (name, value) in expected {
        let found: Vec<&str> = fields(seen, name).collect();
        ensure(found.len() == 1 && found[0].starts_with(value), || format!("{name} is {}", found.join(" | ")))?;
    }
    ensure(field(seen, "x-request-id").is_some_and(|id| id.len() >= 32), || "no request id for the site".to_owned())
}

fn given(answer: &Answer, name: &str) -> Option<String> {
    let pairs = fields(&answer.head, "set-cookie").filter_map(|value| value.split(';').next());
    pairs.filter(|pair| pair.split('=').next() == Some(name)).map(str::to_owned).next()
}

fn ensure(fine: bool, problem: impl FnOnce() -> String) -> Fallible<()> {
    if fine { Ok(()) } else { Err(problem().into()) }
}
