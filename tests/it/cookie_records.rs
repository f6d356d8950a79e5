//! What records say of cookies and of the page before is true, and holds no value.

use serde_json::{Value, json};

use crate::support::{Answer, Gateway, Origin, Protocol, Visitor, ask, cli};

#[test]
fn of_a_cookie_without_a_name_nothing_is_recorded() {
    let origin = Origin::start(|_| {
        Answer::page().header("Set-Cookie", "_gcl_SECRET; Path=/").header("Set-Cookie", "=_gcl_SECRET=SECRET")
    });
    let gateway = Gateway::of(&origin);
    for (n, protocol) in Protocol::ALL.into_iter().enumerate() {
        let path = format!("/{n}");
        let reply = Visitor::new(&gateway, protocol).open(&path);
        assert!(
            !reply.set_cookies().iter().any(|field| field.contains("SECRET")),
            "{:?}",
            reply.set_cookies()
        );
        let record = gateway.record(&path);
        assert_eq!(record["set_cookie.blocked"], json!(["", ""]));
        assert!(!record.to_string().contains("SECRET"), "{record}");
    }
}

#[test]
fn a_site_that_speaks_in_our_name_is_counted_and_recorded() {
    let origin = Origin::start(|_| Answer::page().header("Set-Cookie", "kelisim_consent=forged; Path=/"));
    let gateway = Gateway::of(&origin);
    for (n, protocol) in Protocol::ALL.into_iter().enumerate() {
        let path = format!("/{n}");
        let reply = Visitor::new(&gateway, protocol).open(&path);
        assert!(!reply.set_cookies().iter().any(|field| field.starts_with("kelisim_consent=")));
        assert_eq!(gateway.record(&path)["set_cookie.blocked"], json!(["kelisim_consent"]));
    }
    let count = |labels: &[&str]| gateway.metric("kelisim_cookies_total", labels);
    assert_eq!(count(&["direction=\"response\""]), 2.0);
    assert_eq!(count(&["direction=\"response\"", "action=\"stripped\""]), 2.0);
}

#[test]
fn the_path_of_the_page_before_is_recorded_as_a_path_of_ours_is() {
    let origin = Origin::pages();
    let other = format!("[[site]]\nhosts = [\"other.example\"]\nupstream = [{:?}]\n", origin.url());
    let gateway = Gateway::build(&[&origin])
        .site("routes = [\"/user/{id}\"]")
        .tables(&format!("{other}routes = [\"/file/{{name*}}\"]\n"))
        .start();
    let hex = "0123456789abcdef0123456789abcdef";
    let pages = [
        ("http://kz.example/user/SECRET?SECRET=1".to_owned(), json!("http://kz.example/user/~")),
        ("https://WWW.kz.example:8443/user/SECRET".to_owned(), json!("https://WWW.kz.example:8443/user/~")),
        ("https://other.example/file/SECRET/x".to_owned(), json!("https://other.example/file/~")),
        ("https://third.example/user/7".to_owned(), json!("https://third.example/user/7")),
        ("https://third.example/SECRET@mail.example/a".to_owned(), json!("https://third.example/~/a")),
        (format!("https://third.example/reset/{hex}"), json!("https://third.example/reset/~")),
        ("https://SECRET:SECRET@third.example/".to_owned(), Value::Null),
    ];
    for (n, (page, _)) in pages.iter().enumerate() {
        gateway.client().fetch(&ask("GET", &format!("/{n}")).header("referer", page));
        gateway.record(&format!("/{n}"));
        assert_eq!(origin.last().headers.one("referer"), Some(page.as_str()), "the site gets it as it is");
    }
    let data = gateway.data().display().to_string();
    let why = ["--purpose", "diagnostics", "--reason", "test"];
    let said = cli::kelisim(&[&["logs", "query", "--format", "json", "--data", &data], &why[..]].concat());
    assert!(!said.out.contains("SECRET") && !said.out.contains(hex), "{}", said.out);
    let records: Vec<Value> =
        said.out.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    for (n, (page, kept)) in pages.iter().enumerate() {
        let record = records.iter().find(|record| record["url.path"] == format!("/{n}")).expect("a record");
        assert_eq!(&record["referer.full"], kept, "{page}");
    }
}

#[test]
fn a_dry_run_is_told_as_one() {
    let origin = Origin::start(|_| {
        Answer::page()
            .header("Set-Cookie", "_fbp=fb.1.2.3; Path=/")
            .header("Set-Cookie", "kelisim_x=1; Path=/")
    });
    origin.grant_advertising(true);
    let gateway = Gateway::build(&[&origin]).key("cookies.mode", "\"dry-run\"").start();
    for (n, protocol) in Protocol::ALL.into_iter().enumerate() {
        let path = format!("/{n}");
        let mut visitor = Visitor::new(&gateway, protocol);
        visitor.hold("_gcl_au", "1");
        visitor.open(&path);
        assert!(origin.last().cookies().contains("_gcl_au=1"), "the site gets it");
        let record = gateway.record(&path);
        assert_eq!(record["cookies.stripped"], json!(["_gcl_au"]));
        assert_eq!(record["set_cookie.blocked"], json!(["_fbp", "kelisim_x"]));
        assert_eq!(record["decision.log"], json!(["dry-run"]));
    }
    let report = |format: &str| {
        let data = gateway.data().display().to_string();
        cli::kelisim(&["cookies", "report", "--format", format, "--data", &data]).out
    };
    let report_of = |name: &str| {
        let report: Value = serde_json::from_str(&report("json")).expect("JSON");
        let all = report["cookies"].as_array().expect("a list");
        let found = all.iter().find(|cookie| cookie["name"] == name).expect("a name");
        ["stripped", "blocked", "would_be_stripped", "would_be_blocked"].map(|key| found[key].as_u64())
    };
    assert_eq!(report_of("_gcl_au"), [0, 0, 2, 0].map(Some));
    assert_eq!(report_of("_fbp"), [0, 0, 0, 2].map(Some));
    assert_eq!(report_of("kelisim_x"), [0, 2, 0, 0].map(Some));
    assert!(
        report("table")
            .starts_with("    sent  stripped   blocked  would be stripped  would be blocked  category")
    );
    let page = gateway.client().get("/.kelisim/?lang=en").text();
    assert!(page.contains("none is removed yet"), "{page}");
}

#[test]
fn where_nothing_would_be_removed_a_dry_run_is_not_told() {
    let origin = Origin::pages();
    let gateway = Gateway::build(&[&origin]).key("cookies.mode", "\"dry-run\"").start();
    let mut visitor = Visitor::new(&gateway, Protocol::Http1);
    visitor.hold("a", "1");
    visitor.open("/");
    assert_eq!(gateway.record("/")["decision.log"], Value::Null);
}
