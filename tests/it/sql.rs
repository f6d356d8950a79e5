//! SQL over the permitted rows, by the real duckdb: what it answers, what it cannot reach, what is left afterwards.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::support::cli::Said;
use crate::support::gateway::interrupt;
use crate::support::{Answer, Gateway, Origin, Protocol, Visitor, ask, cli, program, wait_for};

/// The path of duckdb, or `None` with a line that says so.
pub(crate) fn duckdb() -> Option<PathBuf> {
    program("duckdb", &[concat!(env!("CARGO_MANIFEST_DIR"), "/target/ci-venv/bin/duckdb")])
}

const AGENT: &str = "SecretAgent/11 (unique)";

/// A gateway with requests of several sorts, in segments and in the journal.
fn filled() -> Gateway {
    let origin = Origin::start(|seen| {
        Answer::new(if seen.target.contains("7?") { 503 } else { 200 }).body(seen.target.clone())
    });
    let gateway = Gateway::of(&origin);
    let some = |gateway: &Gateway, from: usize| {
        let mut client = gateway.client();
        for n in from..from + 20 {
            let method = ["GET", "POST", "HEAD"][n % 3];
            let path = ["/a/It's", "/b/caf%C3%A9", "/C/Admin", "/d"][n % 4];
            let question = ask(method, &format!("{path}/{n}?x=1")).header("user-agent", AGENT);
            let question = if n % 5 == 0 { question.header("sec-gpc", "1") } else { question };
            client.fetch(&question);
        }
    };
    some(&gateway, 0);
    Visitor::with_ads(&gateway, Protocol::Http1).open("/cookies");
    gateway.record_count("/cookies", 1);
    let gateway = gateway.end_and_restart();
    wait_for("a segment", || {
        let manifest = records(&gateway).join("segments/MANIFEST");
        std::fs::read_to_string(manifest).is_ok_and(|text| text.contains("\"add\"")).then_some(())
    });
    some(&gateway, 20);
    gateway.record_count("/d/39", 1);
    gateway
}

fn records(gateway: &Gateway) -> PathBuf {
    let data = gateway.data();
    [data.join("records"), data].into_iter().find(|d| d.join("journal").is_dir()).expect("a journal")
}

struct Asked<'g> {
    data: String,
    duckdb: String,
    _gateway: &'g Gateway,
}

impl<'g> Asked<'g> {
    fn of(gateway: &'g Gateway, duckdb: &Path) -> Self {
        Self {
            data: gateway.data().display().to_string(),
            duckdb: duckdb.display().to_string(),
            _gateway: gateway,
        }
    }

    fn arguments<'a>(&'a self, more: &[&'a str]) -> Vec<&'a str> {
        [&["logs", "sql", "--data", &self.data, "--duckdb", &self.duckdb], more].concat()
    }

    fn said(&self, more: &[&str]) -> Said {
        cli::kelisim(&self.arguments(more))
    }

    /// The lines of an answer as JSON.
    fn rows(&self, more: &[&str]) -> Vec<Value> {
        let said = self.said(&[&["--format", "json"], more].concat());
        assert_eq!(said.code, 0, "{said:?}");
        said.out.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }
}

const SECURITY: [&str; 4] = ["--purpose", "security", "--reason", "a test"];

#[test]
fn the_view_has_exactly_the_permitted_columns_with_their_types() {
    let Some(duckdb) = duckdb() else { return };
    let gateway = filled();
    let asked = Asked::of(&gateway, &duckdb);
    let columns = |more: &[&str]| -> Vec<(String, String)> {
        let rows = asked.rows(&[&["DESCRIBE records"], more].concat());
        let text = |row: &Value, name: &str| row[name].as_str().expect("text").to_owned();
        rows.iter().map(|row| (text(row, "column_name"), text(row, "column_type"))).collect()
    };
    let plain = columns(&[]);
    let of = |name: &str| plain.iter().find(|c| c.0 == name).map(|c| c.1.as_str());
    assert_eq!(of("start_ts"), Some("TIMESTAMP"));
    assert_eq!(of("cookie_names"), Some("VARCHAR[]"));
    assert_eq!(of("http_response_status_code"), Some("BIGINT"));
    assert_eq!(of("gpc"), Some("BOOLEAN"));
    assert_eq!(
        (of("client_address"), of("user_agent_original"), of("geo_country_iso_code")),
        (None, None, None)
    );
    let security = columns(&SECURITY);
    assert!(security.contains(&("client_address".to_owned(), "VARCHAR".to_owned())));
    assert!(!security.iter().any(|c| c.0 == "user_agent_original"));
    let everything = asked.rows(&["SELECT * FROM records"]);
    assert_eq!(
        (everything.len(), everything[0].as_object().map(serde_json::Map::len)),
        (41, Some(plain.len()))
    );
    // Sealed columns are refused before anything is opened.
    let refused = asked.said(&["SELECT 1", "ip:10.0.0.0/8"]);
    assert_eq!((refused.code, refused.out.as_str()), (2, ""), "{refused:?}");
    let address = asked.rows(&[&["SELECT DISTINCT client_address a FROM records"], &SECURITY[..]].concat());
    assert_eq!(address, [serde_json::json!({"a": "127.0.0.1"})]);
}

#[test]
fn answers_come_in_every_format_and_refusals_with_their_reason() {
    let Some(duckdb) = duckdb() else { return };
    let gateway = filled();
    let asked = Asked::of(&gateway, &duckdb);
    let count = "SELECT http_response_status_code s, count(*) n, NULL x FROM records GROUP BY 1 ORDER BY 1";
    let table = asked.said(&[count]).out;
    assert!(table.contains("503") && table.contains('│') && !table.contains("41"), "{table}");
    assert_eq!(asked.said(&[count, "--format", "csv"]).out, "s,n,x\r\n200,37,\r\n503,4,\r\n");
    assert_eq!(
        asked.said(&[count, "--format", "json"]).out,
        "{\"s\":200,\"n\":37,\"x\":null}\n{\"s\":503,\"n\":4,\"x\":null}\n"
    );
    // A filter and a time narrow what is handed over.
    let filtered = ["SELECT count(*) n FROM records", "status>=500", "path~^/", "--since", "1h"];
    assert_eq!(asked.rows(&filtered)[0]["n"], 4);
    assert_eq!(asked.rows(&["SELECT count(*) n FROM records", "--since", "2100-01-01"])[0]["n"], 0);
    // The answer counts, not what was handed over for it.
    for format in ["table", "json", "csv"] {
        let code = |sql: &str, filter: &str| asked.said(&[sql, "--fail", "--format", format, filter]).code;
        assert_eq!(code("SELECT 1", "path=/nowhere"), 0, "{format}");
        assert_eq!(code("SELECT url_path FROM records", "path=/nowhere"), 1, "{format}");
        assert_eq!(
            code("SELECT url_path FROM records WHERE url_path = '/nowhere'", "path~^/"),
            1,
            "{format}"
        );
    }
    let fewer = asked.rows(&["--fields", "path", "SELECT * FROM records LIMIT 1"]);
    assert_eq!(fewer[0].as_object().map(serde_json::Map::len), Some(1));
    for (wrong, told) in [
        ("SELEC 1", "syntax error"),
        ("SELECT client_address FROM records", "client_address"),
        ("SELECT 'a", "quote"),
    ] {
        let said = asked.said(&[wrong]);
        assert_eq!((said.code, said.out.as_str()), (2, ""), "{said:?}");
        assert!(said.err.contains(told), "{said:?}");
    }
    let said =
        cli::kelisim(&["logs", "sql", "--data", &asked.data, "--duckdb", "/nowhere/duckdb", "SELECT 1"]);
    assert_eq!(said.code, 2);
    assert!(said.err.contains("pip install duckdb-cli"), "{said:?}");
    assert_eq!(asked.said(&["--explain-access", "SELECT 1"]).code, 0);
    assert_eq!(asked.said(&[]).code, 2);
    // What a site's visitors wrote does not act on the terminal.
    let hostile = asked.said(&["SELECT chr(27) || '[2J' AS x, '=1+1' AS y"]).out;
    assert!(!hostile.contains('\x1b') && hostile.contains("\\x1b[2J"), "{hostile:?}");
    let csv = asked.said(&["SELECT '=1+1' AS y", "--format", "csv"]).out;
    assert_eq!(csv, "y\r\n'=1+1\r\n");
}

#[test]
fn a_statement_reaches_nothing_but_the_rows() {
    let Some(duckdb) = duckdb() else { return };
    let gateway = filled();
    let asked = Asked::of(&gateway, &duckdb);
    let segment = format!("{}/segments/dt=*/*.parquet", records(&gateway).display());
    let outside = tempfile::tempdir().unwrap();
    let out = outside.path().join("out").display().to_string();
    for statement in [
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT content FROM read_text('/etc/hostname')",
        "SELECT * FROM glob('/etc/*')",
        &format!("SELECT url_path FROM read_parquet('{segment}')"),
        &format!("COPY records TO '{out}'"),
        &format!("ATTACH '{out}'"),
        &format!("EXPORT DATABASE '{out}'"),
        "INSTALL httpfs",
        "LOAD httpfs",
        "SELECT * FROM 'http://127.0.0.1:9/x.csv'",
        "SET enable_external_access = true",
        "SET temp_directory = '/tmp'",
        "SELECT getenv('PATH')",
        ".shell id",
        ".read /etc/passwd",
        &format!(".output {out}"),
        &format!(".open {out}"),
        ".once |id",
        ".import /etc/passwd t",
        ".cd /",
    ] {
        let said = asked.said(&["--format", "csv", statement]);
        assert_eq!((said.code, said.out.as_str()), (2, ""), "{statement}: {said:?}");
    }
    assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 0);
}

#[test]
fn a_filter_finds_the_same_records_as_its_condition_in_duckdb() {
    let Some(duckdb) = duckdb() else { return };
    let gateway = filled();
    let asked = Asked::of(&gateway, &duckdb);
    let filters = [
        "",
        "status>=500",
        "status!=200",
        "-status=200,404",
        "status>18446744073709551614",
        "path=/d/3",
        "path:ADMIN",
        "path:admin,IT'S",
        "path!~^/[ab]",
        "path~(?i)it's",
        "-path~[0-9]7$",
        "method=GET,HEAD",
        "gpc=true",
        "-gpc=true",
        "gpc!=true",
        "gpc:*",
        "-gpc:*",
        "error:*",
        "cookie=_fbp",
        "cookie:FB",
        "cookie!=_fbp",
        "stripped~^_g",
        "stripped=_fbp,none",
        "-stripped:*",
        "duration<1h bytes>=0",
        "duration>1h",
        "since:1h",
        "-since:1h",
        "until:1h",
        "since:2020-01-01 until:2100-01-01",
        "start_ts>2020-01-01",
        "start_ts<2020-01-01",
        "ip:127.0.0.0/8",
        "-ip:127.0.0.1",
        "ip=127.0.0.1",
        "ip:10.0.0.0/8,127.0.0.0/31",
        "net:127.0.0.0/8",
        "net:127.0.0.9",
        "-net:127.0.0.0/25",
        "net=127.0.0.0/24",
        "ip:::/0",
        "seq>0",
        "host=kz.example",
        "kind=access",
        "path:\"é\"",
        "path=\"/b/caf%C3%A9/1\"",
    ];
    let mut statement = String::new();
    for (n, filter) in filters.iter().enumerate() {
        let spelled = cli::kelisim(&["logs", "query", "--as", "sql", "--", filter]);
        assert_eq!(spelled.code, 0, "{filter}: {spelled:?}");
        let union = if n == 0 { "" } else { " UNION ALL " };
        statement += &format!("{union}SELECT {n} AS n, seq FROM records WHERE {}", spelled.out.trim());
    }
    let found = asked.rows(&[&[statement.as_str()], &SECURITY[..]].concat());
    for (n, filter) in filters.iter().enumerate() {
        let arguments = [&SECURITY[..], &["--fields", "seq", "--", filter]].concat();
        let ours = cli::records(&gateway.data(), &arguments);
        let mut ours: Vec<u64> = ours.iter().map(|r| r["seq"].as_u64().expect("a number")).collect();
        let mut theirs: Vec<u64> =
            found.iter().filter(|r| r["n"] == n).map(|r| r["seq"].as_u64().expect("a number")).collect();
        ours.sort_unstable();
        theirs.sort_unstable();
        assert_eq!(ours, theirs, "{filter}");
    }
}

#[test]
fn every_statement_is_in_the_audit_log_without_sealed_values() {
    let Some(duckdb) = duckdb() else { return };
    let gateway = filled();
    let asked = Asked::of(&gateway, &duckdb);
    asked.rows(&["SELECT count(*) FROM records WHERE url_path = '/d/3'", "status=200"]);
    let sealed = "SELECT count(*) n FROM records WHERE client_address = '127.0.0.1'";
    assert_eq!(asked.rows(&[&[sealed], &SECURITY[..]].concat())[0]["n"], 41);
    cli::records(&gateway.data(), &[&SECURITY[..], &["ip=127.0.0.1"]].concat());
    let log = std::fs::read_to_string(records(&gateway).join("audit/audit.log")).expect("a log");
    assert!(!log.contains("127.0.0.1"), "{log}");
    let entries: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let sql: Vec<&Value> = entries.iter().filter(|e| e["command"] == "logs sql").collect();
    assert_eq!(sql[0]["sql"], "SELECT count(*) FROM records WHERE url_path = '/d/3'");
    assert_eq!(sql[0]["filter"], "http.response.status_code=200");
    assert_eq!(sql[0]["columns"], serde_json::json!(["*"]));
    let hashed = sql[1]["sql"].as_str().expect("a statement");
    let hash = hashed.rsplit(' ').next().expect("a hash");
    assert!(hash.starts_with("hmac:"), "{hashed}");
    // The same value has the same hash as in a filter.
    assert!(entries.iter().any(|e| e["filter"] == format!("client.address={hash}")), "{hash}\n{log}");
    let end = entries.iter().find(|e| e["of"] == sql[1]["n"]).expect("an end");
    assert_eq!((&end["rows"], &end["outcome"]), (&Value::from(41), &Value::from("complete")));
    // Without an entry there is no answer.
    std::fs::set_permissions(records(&gateway).join("audit"), std::fs::Permissions::from_mode(0o700))
        .unwrap();
    std::fs::rename(records(&gateway).join("audit"), records(&gateway).join("audit.away")).unwrap();
    std::fs::write(records(&gateway).join("audit"), "no folder").unwrap();
    let said = asked.said(&["SELECT 1"]);
    assert_eq!((said.code, said.out.as_str()), (70, ""), "{said:?}");
}

/// The private folders that there are.
fn private(gateway: &Gateway) -> Vec<PathBuf> {
    let folders = std::fs::read_dir(records(gateway).join("sql")).into_iter().flatten().flatten();
    folders.map(|entry| entry.path()).filter(|path| path.is_dir()).collect()
}

/// A question that never ends, once its rows are handed over.
fn endless(gateway: &Gateway, asked: &Asked<'_>) -> (std::process::Child, PathBuf) {
    let statement =
        "SELECT count(*) FROM range(1000000000000) a, range(1000000) b WHERE a.range % 7 = b.range % 11";
    let arguments = asked.arguments(&[&[statement], &SECURITY[..]].concat()).join("\u{1f}");
    let mut command = cli::command();
    command.args(arguments.split('\u{1f}')).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let child = command.spawn().expect("started");
    let folder = wait_for("duckdb at work", || {
        let folder = private(gateway).into_iter().next()?;
        let children = format!("/proc/{0}/task/{0}/children", child.id());
        let busy = std::fs::read_to_string(children).is_ok_and(|pids| !pids.trim().is_empty());
        busy.then_some(folder)
    });
    (child, folder)
}

#[test]
fn nothing_is_left_after_an_answer_an_interrupt_or_a_kill() {
    let Some(duckdb) = duckdb() else { return };
    let gateway = filled();
    let asked = Asked::of(&gateway, &duckdb);
    asked.rows(&["SELECT 1"]);
    assert_eq!(private(&gateway), Vec::<PathBuf>::new());
    assert_eq!(asked.said(&["SELEC"]).code, 2);
    assert_eq!(private(&gateway), Vec::<PathBuf>::new());

    let (mut child, folder) = endless(&gateway, &asked);
    assert_eq!(folder.metadata().unwrap().permissions().mode() & 0o777, 0o700);
    interrupt(&child);
    assert_eq!(child.wait().expect("ended").code(), Some(130));
    assert_eq!(private(&gateway), Vec::<PathBuf>::new());

    let (mut child, folder) = endless(&gateway, &asked);
    let duckdb = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", child.id())).unwrap();
    child.kill().expect("killed");
    child.wait().expect("ended");
    // The rows went with the process that held them; nothing else of them was written.
    for file in std::fs::read_dir(&folder).expect("left").flatten().filter(|file| file.path().is_file()) {
        let bytes = std::fs::read(file.path()).expect("readable");
        for clear in [&b"127.0.0.1"[..], b"/d/", b"GET", b"PAR1"] {
            assert!(!bytes.windows(clear.len()).any(|window| window == clear), "{file:?}");
        }
    }
    cli::records(&gateway.data(), &[]);
    assert_eq!(private(&gateway), Vec::<PathBuf>::new());
    // Nobody is left to end it.
    for pid in duckdb.split_whitespace() {
        let _ = Command::new("kill").arg(pid).status();
    }
}

#[test]
fn a_shell_has_the_same_view_and_the_same_walls() {
    let Some(duckdb) = duckdb() else { return };
    let gateway = filled();
    let asked = Asked::of(&gateway, &duckdb);
    let typed = "SELECT 'rows: ' || count(*) AS n FROM records;\n\
                 SELECT 'leak: ' || count(*) AS n FROM read_csv('/etc/passwd');\n\
                 .shell echo leak:\n\
                 SELECT 'leak: ' || client_address FROM records;\n";
    let mut command = cli::command();
    command.args(asked.arguments(&["-i", "status>=500"])).stdin(Stdio::piped());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("started");
    std::io::Write::write_all(&mut child.stdin.take().expect("piped"), typed.as_bytes()).expect("typed");
    let output = child.wait_with_output().expect("ended");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(out.contains("rows: 4") && !out.contains("leak: "), "{out}\n{err}");
    assert_eq!(private(&gateway), Vec::<PathBuf>::new());
    let log = std::fs::read_to_string(records(&gateway).join("audit/audit.log")).expect("a log");
    assert!(log.contains("logs sql -i"));
}
