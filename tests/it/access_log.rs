//! The access log: what a line says, what it never says, and what becomes of lines that cannot be written.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use rustix::process::Signal;
use serde_json::Value;

use crate::support::{Answer, Gateway, Origin, ask, wait_for};

fn lines(path: &Path, count: usize) -> Vec<String> {
    wait_for("the lines", || {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        assert!(lines.len() <= count, "{lines:#?}");
        (lines.len() == count && text.ends_with('\n')).then_some(lines)
    })
}

fn start(origin: &Origin, format: &str) -> Gateway {
    Gateway::build(&[origin]).key("log.access", format).key("log.access_file", "\"access.log\"").start()
}

#[test]
fn a_line_of_json_for_each_request_of_a_site_and_nothing_secret_in_it() {
    let origin = Origin::start(|_| Answer::text("hello").header("Set-Cookie", "word-set=1"));
    origin.tolerate("cookie");
    let gateway = start(&origin, "\"json\"");
    let secret = ask("POST", "/a/b?word-query=1")
        .header("Cookie", "word-cookie=1; _fbp=word-ads")
        .header("Authorization", "Bearer word-token")
        .header("Referer", "https://kz.example/word-referer")
        .header("User-Agent", "Agent \"x\"")
        .header("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
        .body("12345");
    let reply = gateway.client().fetch(&secret);
    assert_eq!(reply.status, 200);
    assert_eq!(gateway.http2().fetch(&ask("HEAD", "/head")).status, 200);
    assert_eq!(gateway.client().fetch(&ask("GET", "/").host("other.example")).status, 421);
    let path = gateway.folder().join("access.log");
    // Each worker has a queue of its own, so lines of different ones are in no order.
    let mut lines = lines(&path, 2);
    lines.sort_by_key(|line| line.contains("HEAD"));
    assert!(lines.iter().all(|line| !line.contains("word-") && !line.contains("127.0.0.1\"")), "{lines:#?}");
    let first: Value = serde_json::from_str(&lines[0]).unwrap();
    for (name, value) in [
        ("http.request.method", "POST"),
        ("url.path", "/a/b"),
        ("url.scheme", "http"),
        ("network.protocol.version", "1.1"),
        ("server.address", "kz.example"),
        ("client.address", "127.0.0.0/24"),
        ("user_agent.original", "Agent \"x\""),
        ("trace.id", "0af7651916cd43dd8448eb211c80319c"),
        ("request.id", reply.id()),
        ("kelisim.consent", "denied"),
        ("kelisim.upstream", &origin.address.to_string()),
    ] {
        assert_eq!(first[name], value, "{name} in {first}");
    }
    for (name, value) in [
        ("http.response.status_code", 200),
        ("http.request.body.size", 5),
        ("http.response.body.size", 5),
        ("kelisim.cookies.dropped", 1),
        ("kelisim.retry", 0),
    ] {
        assert_eq!(first[name], value, "{name} in {first}");
    }
    assert!(first["@timestamp"].as_str().unwrap().ends_with('Z') && first["event.duration"].is_u64());
    let second: Value = serde_json::from_str(&lines[1]).unwrap();
    assert_eq!(
        (&second["network.protocol.version"], &second["http.response.body.size"]),
        (&"2".into(), &0.into())
    );
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_failure_has_its_reason_in_its_line() {
    let origin = Origin::raw(drop);
    let gateway = start(&origin, "\"json\"");
    assert_eq!(gateway.client().get("/").status, 502);
    let line: Value = serde_json::from_str(&lines(&gateway.folder().join("access.log"), 1)[0]).unwrap();
    assert_eq!(
        (&line["http.response.status_code"], &line["error.type"]),
        (&502.into(), &"upstream_closed".into())
    );
}

#[test]
fn the_combined_format_is_there_for_tools_that_want_it() {
    let origin = Origin::pages();
    let gateway = start(&origin, "\"combined\"");
    gateway.client().fetch(&ask("GET", "/page?a=b").header("User-Agent", "Agent \"x\""));
    let line = lines(&gateway.folder().join("access.log"), 1).remove(0);
    assert!(line.starts_with("127.0.0.0/24 - - ["), "{line}");
    assert!(line.contains("] \"GET /page HTTP/1.1\" 200 "), "{line}");
    assert!(line.ends_with(" \"-\" \"Agent \\x22x\\x22\""), "{line}");
}

#[test]
fn the_user_agent_can_be_left_out_of_either_format() {
    let origin = Origin::pages();
    for format in ["\"json\"", "\"combined\""] {
        let gateway = Gateway::build(&[&origin])
            .key("log.access", format)
            .key("log.access_file", "\"access.log\"")
            .key("log.access_user_agent", "false")
            .start();
        gateway.client().fetch(&ask("GET", "/page").header("User-Agent", "word-agent"));
        let line = lines(&gateway.folder().join("access.log"), 1).remove(0);
        assert!(line.contains("/page") && !line.contains("word-agent"), "{line}");
        assert!(
            !line.contains("user_agent") && (format != "\"combined\"" || line.ends_with("\"-\" \"-\"")),
            "{line}"
        );
    }
}

#[test]
fn a_renamed_file_is_opened_again_on_usr1_and_no_line_is_lost() {
    let origin = Origin::pages();
    let gateway = start(&origin, "\"json\"");
    let (path, old) = (gateway.folder().join("access.log"), gateway.folder().join("access.log.1"));
    let mut client = gateway.client();
    client.get("/before");
    lines(&path, 1);
    std::fs::rename(&path, &old).unwrap();
    client.get("/between");
    lines(&old, 2);
    gateway.signal(Signal::USR1);
    gateway.wait_for_log(0, "the file", |line| line.contains("opened again"));
    client.get("/after");
    assert!(lines(&path, 1)[0].contains("/after"));
    // Lines are counted behind the write.
    wait_for("the count", || {
        let written = gateway.metric("kelisim_access_log_lines_total", &["result=\"written\""]);
        assert!(written <= 3.0, "{written}");
        (written == 3.0).then_some(())
    });
    gateway.finish();
}

#[test]
fn a_log_that_stands_still_costs_lines_and_never_a_request() {
    let origin = Origin::pages();
    let builder = Gateway::build(&[&origin])
        .key("workers", "1")
        .key("log.access", "\"json\"")
        .key("log.access_file", "\"fifo\"")
        .key("log.access_queue", "16");
    assert!(
        std::process::Command::new("mkfifo").arg(builder.folder().join("fifo")).status().unwrap().success()
    );
    let gateway = builder.start();
    let mut client = gateway.client();
    let agent = "a".repeat(8000);
    wait_for("a dropped line", || {
        (0..20).for_each(|_| {
            assert_eq!(client.fetch(&ask("GET", "/").header("User-Agent", &agent)).status, 200);
        });
        (gateway.metric("kelisim_access_log_lines_total", &["result=\"dropped\""]) > 0.0).then_some(())
    });
    gateway.finish();
}

#[test]
fn a_log_that_cannot_be_opened_stops_the_start() {
    let origin = Origin::pages();
    let builder = Gateway::build(&[&origin])
        .key("log.access", "\"json\"")
        .key("log.access_file", "\"/nowhere/at/all\"");
    let config = builder.folder().join("kelisim.toml");
    std::fs::write(&config, builder.toml()).unwrap();
    let said = crate::support::cli::kelisim(&["run", "--config", config.to_str().unwrap()]);
    assert!(said.code != 0 && said.err.contains("access log"), "{said:?}");
}
