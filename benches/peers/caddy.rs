//! Caddy with part of the job, if it is installed.
//!
//! It strips the same cookies, gives a visitor cookie and a request id, and writes a line of JSON per request with all
//! its fields. What Debian's package cannot do: the country. What it does not do either: consent, `Set-Cookie`, risk.
//! Bound: two files.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use crate::Fallible;
use crate::child::{Child, PEER_CORE, free_address, says};
use crate::peer::{Evidence, Job, Peer, Setting, Started};
use crate::{nginx, workload};

/// Starts it.
pub(crate) fn start(setting: &Setting<'_>) -> Fallible<Started> {
    let Some(version) = says("caddy", &["version"]) else {
        return Ok(Started::Absent("it is not installed (caddy)".to_owned()));
    };
    let address = free_address()?;
    let (config, log) = (setting.folder.join("Caddyfile"), setting.folder.join("requests.log"));
    std::fs::write(&config, configuration(address, &log, setting))?;
    let folder = setting.folder.display();
    // It keeps its configuration in the user's home otherwise.
    let home = format!("XDG_CONFIG_HOME={folder}");
    let run = ["caddy", "run", "--adapter", "caddyfile", "--config"].map(OsString::from);
    let arguments = std::iter::once(home.into()).chain(run).chain([config.into_os_string()]);
    let mut child = Child::start(PEER_CORE, "env", arguments, &setting.folder.join("said"))?;
    child.await_listening(address, Duration::from_secs(10))?;
    Ok(Started::Running(Box::new(Peer {
        name: "caddy",
        version: format!("caddy {}", version.split(' ').next().unwrap_or_default().trim_start_matches('v')),
        job: Job::Full,
        address,
        visitor_cookie: Some("vid"),
        sites: 1,
        connections: None,
        evidence: Evidence::Lines(log),
        child,
    })))
}

fn configuration(address: SocketAddr, log: &Path, setting: &Setting<'_>) -> String {
    let mut strip = String::new();
    for name in nginx::STRIPPED {
        // Writing to a string cannot fail.
        let _ = writeln!(strip, "        header_up Cookie \"^(.*; |){name}=[^;]*(?:; |$)(.*)$\" \"$1$2\"");
    }
    let tls = setting.certificate.map(|certificate| {
        format!("    tls \"{}\" \"{}\"\n", certificate.certificate.display(), certificate.key.display())
    });
    format!(
        r#"{{
    admin off
    auto_https off
    default_sni {host}
    storage file_system "{here}"
    servers {{
        protocols h1 h2
    }}
}}
{scheme}://:{port} {{
    bind {ip}
{tls}    log {{
        output file "{log}" {{
            roll_disabled
        }}
        format json
    }}
    @new not header_regexp Cookie "(?:^|; )vid="
    header @new +Set-Cookie "vid={{http.request.uuid}}; Path=/; Max-Age=2592000; HttpOnly; SameSite=Lax"
    header X-Request-Id {{http.request.uuid}}
    reverse_proxy {origin} {{
        trusted_proxies 127.0.0.1/32
        header_up X-Request-Id {{http.request.uuid}}
{strip}        header_up Cookie "^(.*); ?$" "$1"
        transport http {{
            keepalive 60s
            keepalive_idle_conns_per_host 64
        }}
    }}
}}
"#,
        host = workload::HOST,
        here = setting.folder.display(),
        scheme = setting.mode.scheme(),
        port = address.port(),
        ip = address.ip(),
        tls = tls.unwrap_or_default(),
        log = log.display(),
        origin = setting.origin,
    )
}
