//! Before anything is timed: every peer must really do its job.
//!
//! One request through each peer to the origin's echo shows what the site gets, what the visitor gets, and whether a
//! record exists. A peer that does less than it claims ends the bench. Bound: two requests per peer.

use std::net::SocketAddr;

use crate::client::{Answer, Client, field, fields};
use crate::mode::Mode;
use crate::peer::{Evidence, Job, Peer};
use crate::tls::Certificate;
use crate::workload::Request;
use crate::{Fallible, http2, origin, workload};

/// How a peer is spoken to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Way<'a> {
    /// The mode.
    pub(crate) mode: Mode,
    /// What the peer shows; there is one if the mode has TLS.
    pub(crate) certificate: Option<&'a Certificate>,
}

impl Way<'_> {
    /// One request on a connection of its own.
    pub(crate) fn ask(&self, address: SocketAddr, request: &Request<'_>) -> Fallible<Answer> {
        let mut client = match (self.mode, self.certificate) {
            (Mode::Http2, Some(certificate)) => return http2::exchange(address, certificate, request),
            (_, Some(certificate)) => Client::connect_tls(address, certificate.client("http/1.1")?)?,
            (_, None) => Client::connect(address)?,
        };
        client.exchange(&request.text())
    }

    /// The visitor cookie that a peer gives, as the pair that a browser returns.
    pub(crate) fn visitor_cookie(
        &self,
        address: SocketAddr,
        name: &str,
        request: &Request<'_>,
    ) -> Fallible<String> {
        given(&self.ask(address, request)?, name).ok_or_else(|| format!("no cookie {name} was given").into())
    }
}

/// Ends the bench if the peer does not do its job.
pub(crate) fn job(peer: &Peer, way: Way<'_>, body: usize) -> Fallible<()> {
    verify(peer, way, body).map_err(|error| format!("{} does not do its job: {error}", peer.name).into())
}

fn verify(peer: &Peer, way: Way<'_>, body: usize) -> Fallible<()> {
    let target = format!("{}{}-{}", origin::ECHO, peer.name.replace([' ', ','], "-"), std::process::id());
    let answer = way.ask(peer.address, &Request { target: &target, ..Request::of(0) })?;
    ensure(answer.status == 200, || format!("status {}", answer.status))?;
    let seen = String::from_utf8_lossy(&answer.body).into_owned();
    ensure(seen.starts_with(&format!("GET {target} HTTP/1.1\r\n")), || "another request line".to_owned())?;
    cookies(peer.job, &seen)?;
    if peer.job.is_whole() {
        forwarded(&seen, way.mode.scheme())?;
        ensure(field(&answer.head, "x-request-id").is_some(), || "no request id for the visitor".to_owned())?;
        let name = peer.visitor_cookie.unwrap_or_default();
        ensure(given(&answer, name).is_some(), || "no visitor cookie".to_owned())?;
    }
    if matches!(peer.evidence, Evidence::Journal(_)) {
        let set = |name: &str| given(&answer, name).filter(|pair| !pair.ends_with('='));
        ensure(set("_fbp").is_some() == (peer.job == Job::Unstripped), || {
            format!("the browser got the advertising cookie {}", set("_fbp").unwrap_or_default())
        })?;
        ensure(set("lang").is_some(), || "the site's own cookie was not set".to_owned())?;
    }
    peer.await_record(&target)?;
    let page = way.ask(peer.address, &Request { closes: way.mode.closes(), ..Request::of(0) })?;
    ensure(page.status == 200 && page.body.len() == body, || format!("a page of {} bytes", page.body.len()))
}

/// The site gets exactly the cookies that it may see, byte for byte and in order.
fn cookies(job: Job, seen: &str) -> Fallible<()> {
    let stripped = |pair: &&str| {
        let name = pair.split('=').next().unwrap_or_default();
        job == Job::Full && workload::ADVERTISING.contains(&name)
    };
    let expected: Vec<&str> = workload::COOKIES.into_iter().filter(|pair| !stripped(pair)).collect();
    let found: Vec<&str> =
        fields(seen, "cookie").flat_map(|f| f.split("; ")).filter(|p| !p.is_empty()).collect();
    ensure(found == expected, || format!("the site sees these cookies: {}", found.join(" | ")))
}

fn forwarded(seen: &str, scheme: &str) -> Fallible<()> {
    let address = workload::address(0).to_string();
    let expected = [
        ("host", workload::HOST),
        ("x-forwarded-for", &address),
        ("x-forwarded-proto", scheme),
        ("x-forwarded-host", workload::HOST),
    ];
    for (name, value) in expected {
        let found: Vec<&str> = fields(seen, name).collect();
        // Who trusts a proxy may name it after the visitor's address.
        let first = found.first().and_then(|value| value.split(',').next());
        ensure(found.len() == 1 && first == Some(value), || format!("{name} is {}", found.join(" | ")))?;
    }
    ensure(field(seen, "x-request-id").is_some_and(|id| id.len() >= 32), || {
        "no request id for the site".to_owned()
    })
}

fn given(answer: &Answer, name: &str) -> Option<String> {
    let pairs = fields(&answer.head, "set-cookie").filter_map(|value| value.split(';').next());
    pairs.filter(|pair| pair.split('=').next() == Some(name)).map(str::to_owned).next()
}

fn ensure(fine: bool, problem: impl FnOnce() -> String) -> Fallible<()> {
    if fine { Ok(()) } else { Err(problem().into()) }
}
