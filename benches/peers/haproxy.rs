//! HAProxy with about the same job, if it is installed.
//!
//! The country comes from a map that is made of the same database, cookies are stripped by one rule each, the log is
//! a JSON line per request. What it does not do: consent, `Set-Cookie`, risk. Bound: three files.

use std::fmt::Write as _;
use std::io::{BufWriter, Write as _};
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use maxminddb::{PathElement, Reader, WithinOptions};

use crate::child::{Child, PEER_CORE, free_address, says};
use crate::peer::{Evidence, Job, Peer, Started};
use crate::{Args, Fallible, nginx};

/// Starts it.
pub(crate) fn start(_: &Args, origin: SocketAddr, folder: &Path) -> Fallible<Started> {
    let program = ["haproxy", "/usr/sbin/haproxy"].into_iter().find_map(|p| says(p, &["-v"]).map(|v| (p, v)));
    let Some((program, version)) = program else {
        return Ok(Started::Absent("it is not installed (haproxy)".to_owned()));
    };
    let countries = folder.join("countries.map");
    write_countries(&countries)?;
    let address = free_address()?;
    let config = folder.join("haproxy.cfg");
    std::fs::write(&config, configuration(address, origin, &countries))?;
    let log = folder.join("requests.log");
    let mut child = Child::start(PEER_CORE, program, ["-f".into(), config.into_os_string()], &log)?;
    child.await_listening(address, Duration::from_secs(20))?;
    let version = version.split(' ').nth(2).unwrap_or_default().split('-').next().unwrap_or_default();
    Ok(Started::Running(Box::new(Peer {
        name: "haproxy",
        version: format!("haproxy {version}"),
        job: Job::Full,
        address,
        visitor_cookie: Some("vid"),
        evidence: Evidence::Lines(log),
        child,
    })))
}

fn write_countries(path: &Path) -> Fallible<()> {
    let reader = Reader::open_readfile(concat!(env!("CARGO_MANIFEST_DIR"), "/geoip/country.mmdb"))?;
    let mut out = BufWriter::new(std::fs::File::create(path)?);
    for network in reader.networks(WithinOptions::default())? {
        let network = network?;
        if let Some(country) = network.decode_path::<&str>(&[PathElement::Key("country_code")])? {
            writeln!(out, "{} {country}", network.network()?)?;
        }
    }
    Ok(out.flush()?)
}

fn configuration(address: SocketAddr, origin: SocketAddr, countries: &Path) -> String {
    let mut strip = String::new();
    for name in nginx::STRIPPED {
        // Writing to a string cannot fail.
        let _ = writeln!(strip, "    http-request replace-header Cookie '^(.*; |){name}=[^;]*(; |$)(.*)$' '\\1\\3'");
    }
    format!(
        r#"global
    nbthread 1
    maxconn 2000
    log stdout len 4096 format raw local0
defaults
    mode http
    log global
    timeout connect 3s
    timeout client 60s
    timeout server 60s
    timeout http-keep-alive 60s
    timeout http-request 15s
    http-reuse always
frontend site
    bind {address}
    unique-id-format %[uuid()]
    unique-id-header X-Request-Id
    http-request set-var(txn.peer) src
    http-request set-src hdr(X-Forwarded-For) if {{ src 127.0.0.1 }}
    http-request set-var(txn.country) src,map_ip({countries},ZZ)
    http-request set-var(txn.visitor) req.cook(vid)
    http-request set-var(txn.host) req.hdr(Host)
    http-request set-var(txn.path) path
    http-request set-var(txn.agent) req.fhdr(User-Agent)
    http-request set-var(txn.referer) req.fhdr(Referer)
    http-request set-var(txn.language) req.fhdr(Accept-Language)
    http-request set-var(txn.brands) req.fhdr(Sec-CH-UA)
{strip}    http-request replace-header Cookie '^(.*); ?$' '\1'
    http-request set-var(txn.cookies) req.fhdr(Cookie)
    http-request set-header X-Forwarded-For %[src]
    http-request set-header X-Forwarded-Proto http
    http-request set-header X-Forwarded-Host %[req.hdr(Host)]
    http-response add-header Set-Cookie "vid=%[uuid()]; Path=/; Max-Age=2592000; HttpOnly; SameSite=Lax" unless {{ var(txn.visitor) -m found }}
    http-response set-header X-Request-Id %[unique-id]
    log-format '{{"time":"%tr","id":"%ID","method":"%HM","host":"%[var(txn.host),json(utf8s)]","path":"%[var(txn.path),json(utf8s)]","status":%ST,"bytes":%B,"protocol":"%HV","referer":"%[var(txn.referer),json(utf8s)]","agent":"%[var(txn.agent),json(utf8s)]","language":"%[var(txn.language),json(utf8s)]","brands":"%[var(txn.brands),json(utf8s)]","address":"%[src]","peer":"%[var(txn.peer)]","country":"%[var(txn.country)]","visitor":"%[var(txn.visitor),json(utf8s)]","cookies":"%[var(txn.cookies),json(utf8s)]","duration":%Ta,"upstream":"%s","upstream_time":%Tr}}'
    default_backend origin
backend origin
    server origin {origin} pool-max-conn 64
"#,
        countries = countries.display(),
    )
}
