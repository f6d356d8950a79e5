//! HAProxy twice, if it is installed: forwarding only, and with about the same job.
//!
//! With the job the country comes from a map that is made of the same database, cookies are stripped by one rule each, the log is
//! a JSON line per request. What it does not do: consent, `Set-Cookie`, risk. Bound: three files.

use std::fmt::Write as _;
use std::io::{BufWriter, Write as _};
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use maxminddb::{PathElement, Reader, WithinOptions};

use crate::Fallible;
use crate::child::{Child, PEER_CORE, free_address, says};
use crate::nginx;
use crate::peer::{Evidence, Job, Peer, Setting, Started};

/// A frontend and a backend, and nothing else.
pub(crate) fn plain(setting: &Setting<'_>) -> Fallible<Started> {
    start("haproxy", Job::Forward, "", setting)
}

/// The same job as far as it goes.
pub(crate) fn equal(setting: &Setting<'_>) -> Fallible<Started> {
    let countries = setting.folder.join("countries.map");
    write_countries(&countries)?;
    start("haproxy-equal", Job::Full, &job(&countries, setting.mode.scheme()), setting)
}

fn start(name: &'static str, job: Job, frontend: &str, setting: &Setting<'_>) -> Fallible<Started> {
    let program = ["haproxy", "/usr/sbin/haproxy"].into_iter().find_map(|p| says(p, &["-v"]).map(|v| (p, v)));
    let Some((program, version)) = program else {
        return Ok(Started::Absent("it is not installed (haproxy)".to_owned()));
    };
    let address = free_address()?;
    let config = setting.folder.join("haproxy.cfg");
    std::fs::write(&config, configuration(address, frontend, setting))?;
    let log = setting.folder.join("requests.log");
    let mut child = Child::start(PEER_CORE, program, ["-f".into(), config.into_os_string()], &log)?;
    child.await_listening(address, Duration::from_secs(20))?;
    let version = version.split(' ').nth(2).unwrap_or_default().split('-').next().unwrap_or_default();
    let full = job == Job::Full;
    Ok(Started::Running(Box::new(Peer {
        name,
        version: format!("haproxy {version}"),
        job,
        address,
        visitor_cookie: full.then_some("vid"),
        sites: 1,
        connections: None,
        evidence: if full { Evidence::Lines(log) } else { Evidence::None },
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

fn configuration(address: SocketAddr, frontend: &str, setting: &Setting<'_>) -> String {
    // By default it offers what it speaks to all who ask for it: HTTP/2 and HTTP/1.1.
    let tls = setting.certificate.map(|certificate| certificate.both.display());
    let tls = tls.map(|both| format!(" ssl crt {both} alpn h2,http/1.1")).unwrap_or_default();
    format!(
        "global
    nbthread 1
    maxconn 2000
    log stdout len 4096 format raw local0
defaults
    mode http
    timeout connect 3s
    timeout client 60s
    timeout server 60s
    timeout http-keep-alive 60s
    timeout http-request 15s
    http-reuse always
frontend site
    bind {address}{tls}
{frontend}    default_backend origin
backend origin
    server origin {origin} pool-max-conn 64
",
        origin = setting.origin,
    )
}

/// Client address from the trusted proxy, country, visitor cookie, cookie rules, log.
fn job(countries: &Path, scheme: &str) -> String {
    let mut strip = String::new();
    for name in nginx::STRIPPED {
        // Writing to a string cannot fail.
        let _ = writeln!(
            strip,
            "    http-request replace-header Cookie '^(.*; |){name}=[^;]*(; |$)(.*)$' '\\1\\3'"
        );
    }
    format!(
        r#"    log global
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
    http-request set-header X-Forwarded-Proto {scheme}
    http-request set-header X-Forwarded-Host %[req.hdr(Host)]
    http-response add-header Set-Cookie "vid=%[uuid()]; Path=/; Max-Age=2592000; HttpOnly; SameSite=Lax" unless {{ var(txn.visitor) -m found }}
    http-response set-header X-Request-Id %[unique-id]
    log-format '{{"time":"%tr","id":"%ID","method":"%HM","host":"%[var(txn.host),json(utf8s)]","path":"%[var(txn.path),json(utf8s)]","status":%ST,"bytes":%B,"protocol":"%HV","referer":"%[var(txn.referer),json(utf8s)]","agent":"%[var(txn.agent),json(utf8s)]","language":"%[var(txn.language),json(utf8s)]","brands":"%[var(txn.brands),json(utf8s)]","address":"%[src]","peer":"%[var(txn.peer)]","country":"%[var(txn.country)]","visitor":"%[var(txn.visitor),json(utf8s)]","cookies":"%[var(txn.cookies),json(utf8s)]","duration":%Ta,"upstream":"%s","upstream_time":%Tr}}'
"#,
        countries = countries.display(),
    )
}
