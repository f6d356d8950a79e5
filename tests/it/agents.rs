//! User agents and crawlers: classified by the built-in table and the operator's files, found again, never discarded.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{Answer, Gateway, Origin, PATIENCE, Protocol, Visitor, ask, cli, missing, wait_for};

/// One crawler of each sort, by what it is for.
const CRAWLERS: &[(&str, &str)] = &[
    ("search-engine", "Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)"),
    ("ai-crawler", "Mozilla/5.0 (compatible; GPTBot/1.2; +https://openai.com/gptbot)"),
    ("seo", "Mozilla/5.0 (compatible; AhrefsBot/7.0; +http://ahrefs.com/robot/)"),
    ("monitoring", "kube-probe/1.30"),
    ("social-preview", "TelegramBot (like TwitterBot)"),
    ("http-library", "curl/8.5.0"),
    ("scanner", "Mozilla/5.0 zgrab/0.x"),
    ("advertising", "AdsBot-Google (+http://www.google.com/adsbot.html)"),
    (
        "browser-automation",
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/140.0.0.0 Safari/537.36",
    ),
];

const PERSON: &str = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36";

fn visit(gateway: &Gateway, path: &str, agent: &str) -> Value {
    let reply = Visitor::new(gateway, Protocol::Http1).always("user-agent", agent).fetch(ask("GET", path));
    assert_eq!(reply.status, 200, "no crawler is turned away");
    gateway.record(path)
}

/// Visits until the user agent was parsed: a new text goes without while the writer has no time for it.
fn known(gateway: &Gateway, path: &str, agent: &str) -> Value {
    let mut n = 0;
    wait_for("a parsed user agent", || {
        n += 1;
        Some(visit(gateway, &format!("{path}/{n}"), agent))
            .filter(|record| !record["ua.data_version"].is_null())
    })
}

#[test]
fn crawlers_are_classified_and_never_discarded() {
    let origin = Origin::pages();
    let gateway = Gateway::of(&origin);
    for (n, (category, agent)) in CRAWLERS.iter().enumerate() {
        let record = known(&gateway, &format!("/c/{n}"), agent);
        assert_eq!((&record["bot.category"], &record["bot.is"]), (&json!(category), &json!(true)), "{agent}");
    }
    let person = known(&gateway, "/person", PERSON);
    assert_eq!((&person["bot.is"], &person["user_agent.family"]), (&json!(false), &json!("Chrome")));
    for (n, (category, _)) in CRAWLERS.iter().enumerate() {
        let found = cli::records(&gateway.data(), &[&format!("bot={category}")]);
        assert_eq!(found.len(), 1, "bot={category}");
        assert!(found[0]["url.path"].as_str().is_some_and(|path| path.starts_with(&format!("/c/{n}/"))));
    }
    assert_eq!(cli::records(&gateway.data(), &["bot.is=true"]).len(), CRAWLERS.len());
    assert_eq!(cli::records(&gateway.data(), &["bot.is=false"]).len(), 1);
    let data = gateway.data().display().to_string();
    let top = cli::kelisim(&["logs", "top", "bot.category", "--format", "csv", "--data", &data]);
    for (category, _) in CRAWLERS {
        assert!(top.out.contains(&format!("{category},1")), "{top:?}");
    }
}

const AGENTS: &str = "user_agent_parsers:\n  - regex: '(Mine)/(\\d+)'\n    family_replacement: '$1 Browser'\nos_parsers:\n  - regex: 'OurOS (\\d+)'\n    os_replacement: 'OurOS'\n    os_v1_replacement: '$1'\n";

fn loads(gateway: &Gateway, file: &str, result: &str) -> u64 {
    let labels = [format!("file=\"{file}\""), format!("result=\"{result}\"")];
    gateway.metric("kelisim_agent_data_loads_total", &[&labels[0], &labels[1]]) as u64
}

fn put(folder: &Path, name: &str, text: &str) {
    std::fs::write(folder.join("fresh"), text).expect("a file");
    std::fs::rename(folder.join("fresh"), folder.join(name)).expect("its name");
}

#[test]
fn rule_files_are_taken_when_they_change_and_on_a_reload_and_a_bad_one_leaves_the_old_in_force() {
    let origin = Origin::pages();
    let bots = |tag: &str| format!("[{{\"pattern\": \"MineBot\", \"tags\": [\"{tag}\"]}}]");
    let gateway = Gateway::build(&[&origin])
        .file("regexes.yaml", AGENTS)
        .file("bots.json", &bots("seo"))
        .key("records.user_agent_data", "\"regexes.yaml\"")
        .start();
    let wait = |file, result, n| wait_for("rules", || (loads(&gateway, file, result) >= n).then_some(()));
    wait("user_agent", "ok", 1);
    let record = known(&gateway, "/1", "Mine/7.1 (OurOS 3) MineBot");
    assert_eq!(
        ["user_agent.family", "user_agent.major", "os.family", "os.major", "bot.rule"]
            .map(|name| &record[name]),
        [&json!("Mine Browser"), &json!(7), &json!("OurOS"), &json!(3), &json!("no browser's beginning")]
    );
    let first = record["ua.data_version"].as_str().expect("a version").to_owned();
    assert!(first.contains("+user_agent."), "{first}");

    // On a reload.
    gateway.reload(|text| format!("records.bot_data = \"bots.json\"\n{text}"));
    wait("bot", "ok", 1);
    let record = known(&gateway, "/2", "Mine/7.1 (OurOS 3) MineBot");
    assert_eq!([&record["bot.category"], &record["bot.rule"]], [&json!("seo"), &json!("MineBot")]);
    assert_ne!(record["ua.data_version"], first);

    // When it changes.
    put(gateway.folder(), "bots.json", &bots("ai-crawler"));
    wait("bot", "ok", 2);
    let changed = known(&gateway, "/3", "Mine/7.1 (OurOS 3) MineBot");
    assert_eq!(changed["bot.category"], "ai-crawler");
    let found = cli::records(&gateway.data(), &["bot=ai-crawler"]);
    assert_eq!((found.len(), &found[0]["url.path"]), (1, &changed["url.path"]));

    // A bad one is told, with the key and whose fault it is, and changes nothing.
    let skip = gateway.log_lines().len();
    put(gateway.folder(), "bots.json", "{");
    wait("bot", "error", 1);
    let line = gateway.wait_for_log(skip, "the refusal", |line| line.contains("what was in force stays"));
    assert!(line.contains("records.bot_data") && line.contains("bots.json"), "{line}");
    let record = known(&gateway, "/4", "Mine/7.1 (OurOS 3) MineBot");
    assert_eq!(record["ua.data_version"], changed["ua.data_version"]);
    assert!(gateway.metric("kelisim_agent_data_rules", &["file=\"bot\"", "state=\"used\""]) == 1.0);
    assert!(gateway.metric("kelisim_agent_cache_total", &["result=\"miss\""]) >= 3.0);
}

/// The file of uap-core, if it is installed.
fn uap_core() -> Option<PathBuf> {
    let places = ["target/npm/node_modules/uap-core/regexes.yaml", "/usr/share/uap-core/regexes.yaml"];
    let given = std::env::var_os("KELISIM_UAP_CORE").map(PathBuf::from);
    let found = given.into_iter().chain(places.map(PathBuf::from)).find(|path| path.is_file());
    if found.is_none() {
        missing("uap-core");
    }
    found?.canonicalize().ok()
}

/// The file of crawler-user-agents, if it is installed.
fn crawler_list() -> Option<PathBuf> {
    let ask = "import crawleruseragents,os;print(os.path.dirname(crawleruseragents.__file__))";
    let said = Command::new("python3").args(["-c", ask]).output().ok().filter(|said| said.status.success());
    let folder = said.and_then(|said| String::from_utf8(said.stdout).ok());
    let found = folder.map(|folder| Path::new(folder.trim()).join("crawler-user-agents.json"));
    if found.is_none() {
        missing("crawler-user-agents");
    }
    found
}

#[test]
fn the_published_files_work_as_they_are() {
    let (Some(agents), Some(bots)) = (uap_core(), crawler_list()) else { return };
    let origin = Origin::pages();
    let gateway = Gateway::build(&[&origin])
        .key("records.user_agent_data", &format!("{agents:?}"))
        .key("records.bot_data", &format!("{bots:?}"))
        .start();
    for file in ["user_agent", "bot"] {
        // Without optimisation thousands of patterns take a while to compile, and their thread stands behind all others.
        let deadline = Instant::now() + 6 * PATIENCE;
        while loads(&gateway, file, "ok") == 0 {
            assert!(Instant::now() < deadline, "waited in vain for the rules of {file}");
            std::thread::sleep(Duration::from_millis(50));
        }
        assert_eq!(loads(&gateway, file, "error"), 0);
        let rules = |state: &str| {
            let labels = [format!("file=\"{file}\""), format!("state=\"{state}\"")];
            gateway.metric("kelisim_agent_data_rules", &[&labels[0], &labels[1]])
        };
        assert!(
            rules("used") > 400.0 && rules("unusable") < 10.0,
            "{file}: {} {}",
            rules("used"),
            rules("unusable")
        );
    }
    let record = known(&gateway, "/person", PERSON);
    assert_eq!(
        ["user_agent.family", "user_agent.major", "os.family", "os.major", "bot.is"]
            .map(|name| &record[name]),
        [&json!("Chrome"), &json!(142), &json!("Windows"), &json!(10), &json!(false)]
    );
    let record = known(&gateway, "/ai", "Mozilla/5.0 (compatible; GPTBot/1.2; +https://openai.com/gptbot)");
    assert_eq!([&record["bot.category"], &record["bot.name"]], [&json!("ai-crawler"), &json!("GPTBot")]);
    assert_eq!(cli::records(&gateway.data(), &["bot=ai-crawler"]).len(), 1);
    // With both files in memory the gateway is still small.
    let memory = gateway.memory() >> 20;
    eprintln!("resident with both files: {memory} MiB");
    assert!(memory < 200, "{memory} MiB");
}

#[test]
fn click_ids_stay_out_of_records_and_go_from_the_sites_url_only_where_it_is_asked_for() {
    let origin = Origin::start(|_| Answer::page());
    let long = "/p?a=%41&gclid=G.1&utm_source=news&u=https%3A%2F%2Fx.example%2F%3Fyclid%3DY.1&erid=2V&b=";
    for (strip, seen) in
        [(false, long), (true, "/p?a=%41&u=https%3A%2F%2Fx.example%2F%3Fyclid%3DY.1&erid=2V&b=")]
    {
        let mut builder =
            Gateway::build(&[&origin]).key("records.query_values", "[\"u\", \"gclid\", \"erid\"]");
        if strip {
            builder = builder.key("ingress.click_ids", "\"strip\"").key("ingress.campaign", "\"strip\"");
        }
        let gateway = builder.start();
        for (n, protocol) in Protocol::ALL.into_iter().enumerate() {
            let from = "https://x.example/from?gclid=G.1&u=%3Fyclid%3DY.1";
            let mut visitor = Visitor::new(&gateway, protocol).always("referer", from);
            let target = long.replace("/p?", &format!("/p{n}?"));
            visitor.fetch(ask("GET", &target));
            assert_eq!(origin.last().target, seen.replace("/p?", &format!("/p{n}?")), "{protocol:?}");
            let cut = "https://x.example/from?u=%3Fyclid%3DY.1";
            assert_eq!(origin.last().headers.one("referer"), Some(if strip { cut } else { from }));
            let record = gateway.record(&format!("/p{n}"));
            assert_eq!(record["url.query_keys"], json!(["a", "utm_source", "u", "erid", "b"]));
            assert_eq!(record["decision.log"].to_string().contains("request-click-ids"), strip, "{record}");
            origin.grant_advertising(true);
            visitor.grant();
            visitor.fetch(ask("GET", &target));
            assert_eq!(origin.last().target, target, "with consent nothing is touched");
            assert_eq!(origin.last().headers.one("referer"), Some(from));
            origin.grant_advertising(false);
        }
        // With a dot, which no tag has: two letters alone stand in one by chance.
        let data = gateway.data().display().to_string();
        for purpose in ["support", "diagnostics", "security", "advertising"] {
            let all = cli::kelisim(&[
                "logs",
                "query",
                "--format",
                "json",
                "--data",
                &data,
                "--purpose",
                purpose,
                "--reason",
                "test",
            ]);
            assert!(
                all.out.contains("erid") && !all.out.contains("G.1") && !all.out.contains("Y.1"),
                "{all:?}"
            );
        }
    }
}

#[test]
fn what_varies_in_a_path_is_not_recorded_where_a_template_says_so() {
    let origin = Origin::pages();
    let gateway = Gateway::build(&[&origin])
        .site("routes = [\"/user/{id}/orders\", \"/files/{rest*}\"]")
        .key("log.access", "\"json\"")
        .key("log.access_file", "\"access.log\"")
        .start();
    let mut client = gateway.client();
    for path in ["/user/4711/orders", "/files/ivan/4711.pdf", "/other/1"] {
        client.get(path);
        assert_eq!(origin.last().target, path, "the site gets it as it is");
    }
    for (path, route) in [
        ("/user/~/orders", json!("/user/{id}/orders")),
        ("/files/~", json!("/files/{rest*}")),
        ("/other/1", Value::Null),
    ] {
        assert_eq!(gateway.record(path)["http.route"], route);
    }
    let log = gateway.folder().join("access.log");
    let text = wait_for("the access log", || {
        std::fs::read_to_string(&log).ok().filter(|text| text.lines().count() == 3)
    });
    assert!(text.contains("/user/~/orders") && !text.contains("4711"), "{text}");
}

/// All that a reader of records with every purpose sees.
fn everything(gateway: &Gateway) -> String {
    let data = gateway.data().display().to_string();
    let read = |purpose| {
        let flags = ["--format", "json", "--data", &data, "--purpose", purpose, "--reason", "test"];
        cli::kelisim(&[&["logs", "query"], &flags[..]].concat()).out
    };
    ["support", "diagnostics", "security", "advertising"].map(read).concat()
}

#[test]
fn secrets_and_click_ids_in_a_path_reach_the_site_and_no_record() {
    let origin = Origin::pages();
    let gateway = Gateway::build(&[&origin])
        .key("log.access", "\"json\"")
        .key("log.access_file", "\"access.log\"")
        .start();
    let hex = "0A1B2C3D4E5F60718293A4B5C6D7E8F9";
    let cases = [
        ("/v2/out/https%3A%2F%2Fs.example%2F%3Fyclid%3DS3cret".to_owned(), "/v2/out/~"),
        ("/landing&gclid=S3cret".to_owned(), "/landing&~"),
        ("/three/gclid/S3cret".to_owned(), "/three/gclid/~"),
        (format!("/cart;jsessionid={hex}.S3cret"), "/cart;jsessionid=~"),
        (format!("/app/x-{hex}.html"), "/app/x-~.html"),
        ("/u/S3cret%2540b.example".to_owned(), "/u/~"),
        ("/verify/eyJhbGciOiJub25lIn0.S3cret".to_owned(), "/verify/~"),
        (
            "/plain/123e4567-e89b-12d3-a456-426614174000".to_owned(),
            "/plain/123e4567-e89b-12d3-a456-426614174000",
        ),
    ];
    for (n, (path, kept)) in cases.iter().enumerate() {
        let protocol = Protocol::ALL[n % Protocol::ALL.len()];
        let from = format!("https://x.example{path}");
        Visitor::new(&gateway, protocol).always("referer", &from).fetch(ask("GET", path));
        assert_eq!(origin.last().target, *path, "the site gets it as it is");
        assert_eq!(origin.last().headers.one("referer"), Some(&*from));
        assert_eq!(gateway.record(kept)["http.request.header.referer"], "https://x.example");
        assert!(everything(&gateway).contains(&format!("https://x.example{kept}")), "{kept}");
    }
    let log = gateway.folder().join("access.log");
    let text = wait_for("the access log", || {
        std::fs::read_to_string(&log).ok().filter(|text| text.lines().count() == cases.len())
    });
    for all in [text, everything(&gateway)] {
        assert!(all.contains("/landing&~") && !all.contains("S3cret") && !all.contains(hex), "{all}");
    }
}

#[test]
fn a_text_of_the_clients_choice_finds_no_column_without_a_key() {
    let origin = Origin::pages();
    let gateway = Gateway::of(&origin);
    let mut client = gateway.client();
    let honest = ask("GET", "/honest?page=1&b[0]=2")
        .header("Referer", "https://x.example:8443/from")
        .header("Sec-CH-UA", r#""Chromium";v="148", "Not A Brand";v="24""#)
        .header("Sec-CH-UA-Platform", r#""Chrome OS""#);
    client.fetch(&honest);
    let record = gateway.record("/honest");
    assert_eq!(record["url.query_keys"], json!(["page", "b[0]"]));
    for (column, value) in [
        ("http.request.method", "GET"),
        ("http.request.header.referer", "https://x.example:8443"),
        ("sec_ch_ua.brands", r#""Chromium";v="148", "Not A Brand";v="24""#),
        ("sec_ch_ua.platform", r#""Chrome OS""#),
    ] {
        assert_eq!(record[column], value, "{column}");
    }
    let query = "U2VjcmV0S2V5U2VjcmV0==&eyJhbGciOiJub25lIn0.Secret=&0123456789abcdef0123456789abcdef=1&Secret%40x.kz=1";
    let forged = ask("SECRET", &format!("/forged?{query}"))
        .header("Referer", "https://x.example:zSecret/")
        .header("Sec-CH-UA", r#""Secret@x.kz";v="1""#)
        .header("Sec-CH-UA-Platform", r#""Secret@x.kz""#);
    client.fetch(&forged);
    assert_eq!(origin.last().target, format!("/forged?{query}"));
    let record = gateway.record("/forged");
    assert_eq!(record["http.request.method"], "_OTHER");
    for column in ["url.query_keys", "http.request.header.referer", "sec_ch_ua.brands", "sec_ch_ua.platform"]
    {
        assert_eq!(record[column], Value::Null, "{column}");
    }
    let seen = everything(&gateway).to_ascii_lowercase();
    assert!(!seen.contains("secret") && !seen.contains("0123456789abcdef"), "{seen}");
}
