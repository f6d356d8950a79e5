//! nginx twice: forwarding only, and with as much of the same job as it can be configured to do.
//!
//! The equal one looks up the country in the same database, strips the same advertising cookies with a chain of maps,
//! gives a visitor cookie and a request id, and writes a JSON line per request, buffered and not synced. What it does
//! not do: consent, `Set-Cookie`, risk, metrics. Bound: two files.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::child::{Child, PEER_CORE, free_address, says};
use crate::mode::Mode;
use crate::peer::{Evidence, Job, Peer, Setting, Started};
use crate::{Fallible, workload};

/// Cookies that the equal configuration strips: those of the requests, and as many that are as common.
pub(crate) const STRIPPED: [&str; 10] = [
    "_fbp",
    "_fbc",
    "_gcl_au",
    "__gads",
    "_uetsid",
    "_uetvid",
    "_ttp",
    "cto_bundle",
    "hubspotutk",
    "tmr_lvid",
];

/// Where systems put nginx's modules.
const MODULES: [&str; 4] = [
    "/usr/lib/nginx/modules",
    "/usr/lib64/nginx/modules",
    "/usr/share/nginx/modules",
    "/usr/local/lib/nginx/modules",
];

/// `proxy_pass` and nothing else.
pub(crate) fn plain(setting: &Setting<'_>) -> Fallible<Started> {
    start("nginx", Job::Forward, "", "    access_log off;\n", setting)
}

/// The same job as far as it goes.
pub(crate) fn equal(setting: &Setting<'_>) -> Fallible<Started> {
    let module =
        MODULES.iter().map(|dir| Path::new(dir).join("ngx_http_geoip2_module.so")).find(|p| p.exists());
    let Some(module) = module else {
        return Ok(Started::Absent(
            "its module geoip2 is not installed (libnginx-mod-http-geoip2)".to_owned(),
        ));
    };
    let load = format!("load_module {};\n", module.display());
    start("nginx-equal", Job::Full, &load, &job(setting.folder), setting)
}

fn start(
    name: &'static str,
    job: Job,
    modules: &str,
    http: &str,
    setting: &Setting<'_>,
) -> Fallible<Started> {
    let folder = setting.folder;
    // Debian keeps it where only root's PATH leads.
    let program = ["nginx", "/usr/sbin/nginx"].into_iter().find_map(|p| says(p, &["-v"]).map(|v| (p, v)));
    let Some((program, version)) = program else {
        return Ok(Started::Absent("nginx is not installed (nginx-light)".to_owned()));
    };
    let address = free_address()?;
    let config = folder.join("nginx.conf");
    std::fs::write(&config, configuration(modules, http, job, address, setting))?;
    let arguments = ["-p".into(), folder.as_os_str().into(), "-c".into(), config.into_os_string()];
    let errors: [OsString; 2] = ["-e".into(), folder.join("error.log").into_os_string()];
    let mut child =
        Child::start(PEER_CORE, program, arguments.into_iter().chain(errors), &folder.join("said"))?;
    child.await_listening(address, Duration::from_secs(5))?;
    let full = job == Job::Full;
    Ok(Started::Running(Box::new(Peer {
        name,
        version: version.trim_start_matches("nginx version: ").replace('/', " "),
        job,
        address,
        visitor_cookie: full.then_some("vid"),
        sites: 1,
        connections: None,
        evidence: if full { Evidence::Lines(log(folder)) } else { Evidence::None },
        child,
    })))
}

fn configuration(modules: &str, http: &str, job: Job, address: SocketAddr, setting: &Setting<'_>) -> String {
    let (here, origin) = (setting.folder.display(), setting.origin);
    // Started by root, workers would become somebody who may not enter the folder.
    let user = if rustix::process::getuid().is_root() { "user root;\n" } else { "" };
    let forwarded = if job == Job::Full { FORWARDED } else { "" };
    format!(
        "{modules}{user}daemon off;
worker_processes 1;
pcre_jit on;
pid {here}/pid;
error_log {here}/error.log warn;
events {{ worker_connections 1024; }}
http {{
    client_body_temp_path {here}/body;
    proxy_temp_path {here}/proxy;
    fastcgi_temp_path {here}/fastcgi;
    uwsgi_temp_path {here}/uwsgi;
    scgi_temp_path {here}/scgi;
    default_type text/html;
    keepalive_requests 1000000;
    upstream origin {{
        server {origin};
        keepalive 64;
        keepalive_requests 1000000;
    }}
    map_hash_bucket_size 128;
{http}
    server {{
        listen {address}{tls}
        server_name {host};
        location / {{
            proxy_pass http://origin;
            proxy_http_version 1.1;
            proxy_set_header Connection \"\";
            proxy_set_header Host $host;
            proxy_buffer_size 8k;
            proxy_buffers 16 8k;
            proxy_max_temp_file_size 0;
{forwarded}        }}
    }}
}}
",
        host = workload::HOST,
        tls = tls(setting),
    )
}

/// The rest of `listen`, and what it needs.
fn tls(setting: &Setting<'_>) -> String {
    let Some(certificate) = setting.certificate else { return ";".to_owned() };
    let http2 = if setting.mode == Mode::Http2 { " http2" } else { "" };
    format!(
        " ssl{http2};\n        ssl_certificate {};\n        ssl_certificate_key {};\n        \
         ssl_protocols TLSv1.2 TLSv1.3;",
        certificate.certificate.display(),
        certificate.key.display()
    )
}

const FORWARDED: &str = "            proxy_set_header Cookie $cookies_kept;
            proxy_set_header X-Forwarded-For $remote_addr;
            proxy_set_header X-Forwarded-Proto $scheme;
            proxy_set_header X-Forwarded-Host $host;
            proxy_set_header X-Request-Id $request_id;
            add_header X-Request-Id $request_id;
";

/// Client address from the trusted proxy, country, visitor cookie, cookie maps, log.
fn job(folder: &Path) -> String {
    let database = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("geoip/country.mmdb");
    format!(
        "    set_real_ip_from 127.0.0.1;
    real_ip_header X-Forwarded-For;
    geoip2 {database} {{ $country default=ZZ country_code; }}
    userid on;
    userid_name vid;
    userid_path /;
    userid_expires 30d;
{maps}{LOG}
    access_log {log} requests buffer=64k flush=1s;
",
        database = database.display(),
        maps = maps(),
        log = log(folder).display(),
    )
}

const LOG: &str = r#"    log_format requests escape=json '{"time":"$time_iso8601","id":"$request_id","method":"$request_method",'
        '"scheme":"$scheme","host":"$host","path":"$uri","status":$status,"bytes":$body_bytes_sent,'
        '"protocol":"$server_protocol","referer":"$http_referer","agent":"$http_user_agent",'
        '"language":"$http_accept_language","brands":"$http_sec_ch_ua","platform":"$http_sec_ch_ua_platform",'
        '"fetch_site":"$http_sec_fetch_site","fetch_mode":"$http_sec_fetch_mode","fetch_dest":"$http_sec_fetch_dest",'
        '"address":"$remote_addr","peer":"$realip_remote_addr","port":"$realip_remote_port","country":"$country",'
        '"visitor":"$uid_got$uid_set","cookies":"$cookies_kept","duration":$request_time,'
        '"upstream":"$upstream_addr","upstream_status":"$upstream_status","upstream_time":"$upstream_header_time"}';
"#;

/// Each map takes one cookie out of what the one before left.
fn maps() -> String {
    let mut text = String::new();
    let mut source = "$http_cookie".to_owned();
    for (i, name) in STRIPPED.iter().enumerate() {
        let last = i + 1 == STRIPPED.len();
        let target = if last { "$cookies_kept".to_owned() } else { format!("$cookies_{i}") };
        // Writing to a string cannot fail.
        let _ = write!(
            text,
            "    map {source} {target} {{
        default {source};
        \"~^{name}=[^;]*(?:; )?(?<first{i}>.*)$\" $first{i};
        \"~^(?<before{i}>.*); {name}=[^;]*(?<after{i}>.*)$\" $before{i}$after{i};
    }}\n"
        );
        source = target;
    }
    text
}

fn log(folder: &Path) -> PathBuf {
    folder.join("requests.log")
}
