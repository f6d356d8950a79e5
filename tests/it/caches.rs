//! A real shared cache in front of the gateway: what was taken out of an answer must not make it everybody's.

use std::process::Command;

use tempfile::TempDir;

use crate::support::server::{Server, free_port};
use crate::support::{Answer, Client, Gateway, Origin, Seen, ask, program};

/// A site whose answers may all be shared, by every word that there is for it.
fn site(seen: &Seen) -> Answer {
    let page = Answer::page().body(format!("<p>{}</p>", seen.cookies()));
    match seen.target.as_str() {
        "/ads" => page
            .header("Cache-Control", "public, max-age=600, s-maxage=600")
            .header("Set-Cookie", "_fbp=1; Path=/; Max-Age=1000"),
        "/ads-and-session" => page
            .header("Cache-Control", "public, max-age=600")
            .header("Set-Cookie", "_gcl_au=1; Path=/")
            .header("Set-Cookie", "sid=2; Path=/"),
        "/expires" => {
            page.header("Expires", "Fri, 01 Jan 2198 00:00:00 GMT").header("Set-Cookie", "_fbp=1; Path=/")
        }
        "/accel" => page.header("X-Accel-Expires", "600").header("Set-Cookie", "_fbp=1; Path=/"),
        "/private" => page.header("Cache-Control", "private, max-age=600"),
        "/no-store" => page.header("Cache-Control", "no-store"),
        "/asset" => Answer::text("body{}")
            .header("Content-Type", "text/css")
            .header("Cache-Control", "public, max-age=600"),
        _ => page,
    }
}

/// nginx as a shared cache before an address; `X-Cache` tells hits.
fn cache(folder: &TempDir, upstream: std::net::SocketAddr) -> Option<Server> {
    let binary = program("nginx", &["/usr/sbin/nginx"])?;
    let address = free_port();
    let root = folder.path().display();
    let config = format!(
        "daemon off; master_process off; pid {root}/pid; error_log {root}/error.log;
         events {{ worker_connections 64; }}
         http {{
           access_log off; proxy_cache_path {root}/cache keys_zone=shared:1m;
           client_body_temp_path {root}/b; proxy_temp_path {root}/p; fastcgi_temp_path {root}/f;
           uwsgi_temp_path {root}/u; scgi_temp_path {root}/s;
           server {{ listen {address};
             location / {{ proxy_pass http://{upstream}; proxy_set_header Host $host; proxy_cache shared;
               proxy_cache_key $request_uri; add_header X-Cache $upstream_cache_status always; }} }}
         }}"
    );
    let path = folder.path().join("nginx.conf");
    std::fs::write(&path, config).unwrap();
    Some(Server::start(Command::new(binary).arg("-c").arg(&path).arg("-p").arg(folder.path()), address))
}

#[test]
fn a_shared_cache_keeps_nothing_from_which_a_cookie_was_removed() {
    let origin = Origin::start(site);
    origin.tolerate("connection");
    let gateway = Gateway::of(&origin);
    let folder = TempDir::new().unwrap();
    let Some(cache) = cache(&folder, gateway.addresses[0]) else { return };
    let ask_twice = |path: &str, cookie: &str| {
        let mut statuses = Vec::new();
        for _ in 0..2 {
            let mut client = Client::connect(cache.address);
            let question = ask("GET", path).header("cookie", cookie).header("sec-fetch-dest", "empty");
            statuses.push(client.fetch_unsuspecting(&question).header("x-cache").to_owned());
        }
        statuses
    };
    for path in ["/ads", "/ads-and-session", "/expires", "/accel", "/private", "/no-store"] {
        assert!(!ask_twice(path, "a=1").contains(&"HIT".to_owned()), "{path} was shared");
    }
    // The cache does share what may be shared: otherwise this test would say nothing.
    assert_eq!(ask_twice("/asset", "a=1"), ["MISS", "HIT"]);
}

#[test]
fn nothing_becomes_more_cacheable_on_its_way() {
    let origin = Origin::start(site);
    let gateway = Gateway::of(&origin);
    let mut client = gateway.client();
    let mut directives = |path: &str| {
        let reply = client.fetch(&ask("GET", path).header("sec-fetch-dest", "empty"));
        reply.headers.all("cache-control").join(", ")
    };
    assert_eq!(directives("/ads"), "private, max-age=600");
    assert_eq!(directives("/ads-and-session"), "private, max-age=600");
    assert_eq!(directives("/expires"), "private");
    assert_eq!(directives("/private"), "private, max-age=600");
    assert_eq!(directives("/no-store"), "no-store");
    assert_eq!(directives("/asset"), "public, max-age=600");
    assert_eq!(directives("/nothing"), "");
}
