//! What the gateway leaves on the disk: nothing of a visitor in the clear, nothing that opens without its key.

use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use memchr::memmem;

use crate::sql::duckdb;
use crate::support::{Answer, Gateway, HOST, Origin, Protocol, Visitor, ask, cli, wait_for};

const ADDRESS: &str = "127.0.0.1";
const AGENT: &str = "SecretAgent/8.0 (never on the disk)";
const COOKIE: &str = "cookie-value-never-on-the-disk";
const PAGE: &str = "/page-never-on-the-disk";

/// All files below a folder, with their bytes.
fn files(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.is_file() {
            let bytes = std::fs::read(&path).unwrap();
            found.push((path, bytes));
        }
    }
    found
}

fn journal_files(gateway: &Gateway) -> Vec<PathBuf> {
    let all = files(&gateway.data().join("journal")).into_iter().map(|(path, _)| path);
    let mut all: Vec<_> = all.filter(|path| path.extension().is_some_and(|e| e == "kjl")).collect();
    all.sort();
    all
}

#[test]
fn nothing_of_a_visitor_lies_on_the_disk_in_the_clear() {
    let origin = Origin::pages();
    // The journal is meant: in a segment, what is of class clear is for any tool to read.
    let gateway = Gateway::build(&[&origin]).key("records.segments", "false").start();
    for n in 0..5 {
        let question = ask("GET", &format!("{PAGE}/{n}?key-never-on-the-disk=1"))
            .header("user-agent", AGENT)
            .header("cookie", &format!("sessionid={COOKIE}; _fbp=fb.1.1.1"));
        assert_eq!(gateway.client().fetch(&question).status, 200);
        gateway.record(&format!("{PAGE}/{n}"));
    }
    // Killed, and its last frame torn: what recovery puts aside is searched as well.
    let last = journal_files(&gateway).pop().unwrap();
    let newest = journal_files(&gateway)
        .into_iter()
        .find(|path| std::fs::read(path).unwrap().iter().any(|byte| *byte != 0));
    let path = newest.unwrap_or(last);
    let gateway = gateway.crash_and_edit(|| {
        let bytes = std::fs::read(&path).unwrap();
        let end = bytes.iter().rposition(|byte| *byte != 0).unwrap();
        std::fs::File::options().write(true).open(&path).unwrap().set_len(end as u64 - 20).unwrap();
    });
    gateway.client().fetch(&ask("GET", &format!("{PAGE}/after")).header("user-agent", AGENT));
    gateway.record(&format!("{PAGE}/after"));
    let all = files(&gateway.data());
    let quarantined = all.iter().filter(|(path, _)| path.extension().is_some_and(|e| e == "torn"));
    assert_eq!(quarantined.count(), 1);
    let address: [u8; 4] = [127, 0, 0, 1];
    let needles: [&[u8]; 9] = [
        PAGE.as_bytes(),
        AGENT.as_bytes(),
        b"SecretAgent",
        COOKIE.as_bytes(),
        b"sessionid",
        b"key-never-on-the-disk",
        ADDRESS.as_bytes(),
        HOST.as_bytes(),
        &address,
    ];
    for (path, bytes) in &all {
        for needle in needles {
            // Four bytes come by chance in sealed ones, once in some gigabytes; not here.
            let found = bytes.windows(needle.len()).any(|window| window == needle);
            assert!(!found, "{} holds {:?}", path.display(), String::from_utf8_lossy(needle));
        }
    }
    // It is all there for who may see it.
    let seen = cli::records_for(&gateway.data(), "diagnostics");
    assert!(seen.iter().any(|record| record["user_agent.original"] == AGENT));
    let seen = cli::records_for(&gateway.data(), "security");
    assert!(seen.iter().any(|record| record["client.address"] == ADDRESS));
}

/// What `strings` must find of two visitors in no file of the data folder.
const PERSONS: [Person; 2] = [
    Person {
        address: "2001:db8:77:1::1234",
        net: "2001:db8:77:",
        agent: "SecretAgent/8.1 (Anna)",
        session: "session-of-anna",
        account: "anna-4711",
    },
    Person {
        address: "203.0.113.77",
        net: "203.0.113.",
        agent: "SecretAgent/8.2 (Bolat)",
        session: "session-of-bolat",
        account: "bolat-4712",
    },
];

struct Person {
    address: &'static str,
    net: &'static str,
    agent: &'static str,
    session: &'static str,
    account: &'static str,
}

impl Person {
    /// Opens pages with and without consent; the cookies that they had at any time.
    fn visit(&self, gateway: &Gateway, protocol: Protocol, page: &str) -> Vec<String> {
        let mut visitor = Visitor::with_ads(gateway, protocol)
            .always("user-agent", self.agent)
            .always("x-forwarded-for", self.address)
            .always("x-test-account", self.account);
        visitor.hold("sessionid", self.session);
        visitor.hold("theme", &format!("theme-of-{}", self.account));
        let mut had = vec![visitor.cookies()];
        visitor.open(&format!("/{page}/{}?email=mail-of-{}", self.account.len(), self.account));
        had.push(visitor.cookies());
        visitor.grant();
        visitor.open(&format!("/{page}/granted"));
        had.push(visitor.cookies());
        visitor.withdraw();
        had.push(visitor.cookies());
        let pairs = had.iter().flat_map(|cookies| cookies.split("; "));
        let values = pairs.filter_map(|pair| Some(pair.split_once('=')?.1.to_owned()));
        values.filter(|value| value.len() > 5).collect()
    }
}

#[test]
fn strings_finds_no_address_no_user_agent_and_no_cookie_of_a_visitor_in_any_file_of_the_data_folder() {
    let origin = Origin::start(|seen| {
        let account = seen.headers.one("x-test-account").unwrap_or_default();
        Answer::page().header("X-Account", account).header("Set-Cookie", "cart=cart-value-of-somebody")
    });
    origin.grant_advertising(true);
    origin.tolerate("x-test-account");
    // Everything that writes is on; the access log is off, as it is unless somebody wants it.
    let gateway = Gateway::build(&[&origin])
        .key("records.account_header", "\"X-Account\"")
        .key("records.record_before_forward", "[\"/first\"]")
        .key("records.cookie_values", "[\"theme\"]")
        .site("trusted_proxies = [\"127.0.0.0/8\"]")
        .start();
    let data = gateway.data();
    let [anna, bolat] = &PERSONS;
    let mut secrets = anna.visit(&gateway, Protocol::Http1, "first");
    secrets.extend(bolat.visit(&gateway, Protocol::Http2, "second"));
    // Into a segment, and more into the journal; the second process is killed.
    let gateway = gateway.end_and_restart();
    wait_for("a segment", || (gateway.metric("kelisim_segments", &[]) >= 1.0).then_some(()));
    secrets.extend(anna.visit(&gateway, Protocol::Http2, "third"));
    secrets.extend(bolat.visit(&gateway, Protocol::Http1, "fourth"));
    let gateway = gateway.crash_and_restart();
    // Every command that leaves something in the folder: the audit log, the register, tombstones, certificates.
    let place = data.to_str().unwrap();
    let outside = tempfile::tempdir().unwrap();
    let out = |name: &str| outside.path().join(name).display().to_string();
    let run = |words: &[&str]| {
        let said = cli::kelisim(&[words, &["--data", place, "--reason", "case 17"]].concat());
        assert!([0, 1].contains(&said.code), "{words:?}: {said:?}");
    };
    let security = ["--purpose", "security"];
    run(&[&["logs", "query", "ip:2001:db8:77::/48"], &security[..]].concat());
    run(&[&["logs", "query", &format!("ip={}", bolat.address)], &security[..]].concat());
    run(&["logs", "query", "--purpose", "diagnostics", "user_agent.original~SecretAgent"]);
    let export = ["logs", "export", "--basis", "law", "--recipient", "court", "--addresses", "full"];
    run(&[&export[..], &security, &["-o", &out("export.json")]].concat());
    if let Some(duckdb) = duckdb() {
        let statement = format!("SELECT count(*) FROM records WHERE client_address = '{}'", bolat.address);
        let duckdb = duckdb.display().to_string();
        run(&[&["logs", "sql", &statement, "--duckdb", &duckdb], &security[..]].concat());
    }
    run(&["subject", "find", "--address", anna.address, "--account", anna.account]);
    run(&["subject", "block", "--address", bolat.address]);
    run(&["subject", "block", "--account", bolat.account]);
    run(&["subject", "erase", "--address", anna.address, "--yes", "--certificate", &out("certificate.txt")]);
    secrets.extend(bolat.visit(&gateway, Protocol::Http1, "fifth"));
    let _folder = gateway.finish_and_keep();
    for person in &PERSONS {
        let packed: IpAddr = person.address.parse().unwrap();
        let mapped = match packed {
            IpAddr::V4(four) => four.to_ipv6_mapped(),
            IpAddr::V6(six) => six,
        };
        secrets.extend([person.address, person.net, person.agent, person.account].map(str::to_owned));
        for (path, bytes) in files(&data) {
            assert!(memmem::find(&bytes, &mapped.octets()).is_none(), "{} holds an address", path.display());
        }
    }
    secrets.extend(["SecretAgent", "mail-of-", "theme-of-", "cart-value-of"].map(str::to_owned));
    let all = files(&data);
    for (path, bytes) in &all {
        for secret in &secrets {
            let found = memmem::find(bytes, secret.as_bytes());
            assert!(found.is_none(), "{} holds {secret}", path.display());
        }
    }
    // They were all looked at, and the export shows that there was something to find.
    for part in ["journal/", "segments/", "keys/", "audit/", "subjects/", "receipts/", "visit/"] {
        let inside = |path: &Path| path.strip_prefix(&data).is_ok_and(|path| path.starts_with(part));
        assert!(all.iter().any(|(path, _)| inside(path)), "no file in {part}");
    }
    let export = std::fs::read_to_string(out("export.json")).unwrap();
    for secret in [anna.address, bolat.address, "theme-of-anna"] {
        assert!(export.contains(secret), "{secret}");
    }
}

#[test]
fn keys_lie_where_the_configuration_says_and_only_they_open_the_records() {
    let origin = Origin::pages();
    let builder = Gateway::build(&[&origin]);
    let keys = builder.folder().join("elsewhere");
    let gateway = builder.key("records.keys_dir", &format!("{keys:?}")).start();
    gateway.client().get("/one");
    assert!(!gateway.data().join("keys/clear").exists());
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&keys), 0o700);
    for (path, bytes) in files(&keys) {
        assert_eq!(mode(&path), 0o600, "{}", path.display());
        assert!(path.extension().is_none() || bytes.len() == 32, "{}", path.display());
    }
    let (data, keys) = (gateway.data().to_str().unwrap().to_owned(), keys.to_str().unwrap().to_owned());
    let with = cli::records(&gateway.data(), &["--keys", &keys]);
    assert_eq!(with.len(), 1);
    let without = cli::kelisim(&["logs", "query", "--data", &data]);
    assert_eq!(without.code, 70, "{without:?}");
    assert!(without.err.contains("key clear/") && without.err.contains(".kjl"), "{without:?}");
    for class in ["clear", "sec", "fraud", "diag", "ads"] {
        let labels = [format!("class=\"{class}\""), "state=\"live\"".to_owned()];
        assert_eq!(
            gateway.metric("kelisim_record_keys", &labels.each_ref().map(String::as_str)),
            1.0,
            "{class}"
        );
    }
    assert_eq!(gateway.metric("kelisim_journal_errors_total", &["operation=\"seal\""]), 0.0);
}

#[test]
fn a_gateway_without_its_keys_does_not_start_and_says_why() {
    let origin = Origin::pages();
    let gateway = Gateway::of(&origin);
    let (folder, config) = (gateway.folder().to_owned(), gateway.folder().join("kelisim.toml"));
    let text = std::fs::read_to_string(&config).unwrap();
    let blocked = folder.join("blocked");
    std::fs::write(&blocked, "not a folder").unwrap();
    let own = folder.join("own.toml");
    let fresh = text.replace("/records\"", "/other-records\"");
    std::fs::write(&own, format!("records.keys_dir = {blocked:?}\n{fresh}")).unwrap();
    let said = cli::kelisim(&["run", "--config", own.to_str().unwrap()]);
    assert_eq!(said.code, 70, "{said:?}");
    assert!(said.err.contains("keys") && said.err.contains("blocked"), "{said:?}");
    gateway.finish();
}

#[test]
fn two_processes_of_an_upgrade_use_the_same_keys() {
    let origin = Origin::pages();
    let first = Gateway::of(&origin);
    first.client().get("/first");
    let second = first.successor();
    first.finish();
    second.client().get("/second");
    for path in ["/first", "/second"] {
        second.record(path);
    }
    assert_eq!(files(&second.data().join("keys/clear")).len(), 1);
}

#[test]
fn a_data_folder_that_others_can_look_into_is_told() {
    let origin = Origin::pages();
    let gateway = Gateway::of(&origin);
    let data = gateway.data();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&data), mode(&data.join("journal"))), (0o700, 0o700));
    let gateway = gateway.crash_and_edit(|| {
        for folder in [&data, &data.join("journal"), &data.join("keys")] {
            std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
    });
    gateway.wait_for_log(0, "the folder", |line| line.contains("others can look into the data folder"));
    // What is ours alone is narrowed; the folder itself is the operator's.
    assert_eq!((mode(&data.join("journal")), mode(&data.join("keys"))), (0o700, 0o700));
    assert_eq!(mode(&data), 0o755);
}
