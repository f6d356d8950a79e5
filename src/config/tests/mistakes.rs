//! Each kind of mistake at its place, and all of them at once.

use super::*;

/// The mistakes as `line:column key: message`, one a line. Lines count from the beginning of `toml`.
fn told(toml: &str) -> Vec<String> {
    let problems = parse_pure(toml.as_bytes()).expect_err("there should be a mistake");
    let show = |p: &Problem| match p.line.zip(p.column) {
        Some((line, column)) => format!("{line}:{column} {}: {}", p.key, p.message),
        None => format!("- {}: {}", p.key, p.message),
    };
    problems.list().iter().map(show).collect()
}

/// The only mistake after [`FINE`], whose six lines are not counted.
fn one(extra: &str) -> String {
    let told = told(&format!("{FINE}{extra}"));
    assert_eq!(told.len(), 1, "{told:#?}");
    let (line, rest) = told[0].split_once(':').unwrap();
    match line.parse::<usize>() {
        Ok(line) => format!("{}:{rest}", line - 6),
        Err(_) => told[0].clone(),
    }
}

#[test]
fn a_syntax_error_is_one_problem_with_its_place() {
    let told = told("[[listen]]\naddress = \n");
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].starts_with("2:11 : "), "{told:?}");
}

#[test]
fn bytes_that_are_no_text_and_a_file_too_large_are_refused() {
    assert_eq!(parse_pure(b"a\xff").unwrap_err().list()[0].message, "not UTF-8 at byte 1");
    let large = "#".repeat(MAX_TEXT + 1);
    assert!(told(&large)[0].contains("at most 1 MiB"));
    assert!(told(&large[1..]).iter().all(|t| !t.contains("1 MiB")));
}

#[test]
fn all_mistakes_are_told_at_once_in_the_order_of_the_file() {
    let told = told(
        "colour = 1\n[[listen]]\naddress = \"here\"\nproxy_protocol_from = [\"::1\"]\n[[site]]\nhosts = [\"A\", \"b:1\"]\n\
         [limits]\nhead_byte = 1\nconnections = \"many\"\n[risk.action]\nlow = \"deny\"\n",
    );
    let expected = [
        "1:1 colour: unknown key",
        "3:11 listen[0].address: `here` is not an address with port",
        "4:23 listen[0].proxy_protocol_from: without a PROXY header this has no effect",
        "5:1 site[0].upstream: is required and missing",
        "6:10 site[0].hosts[0]: a host name must be in lower case",
        "6:15 site[0].hosts[1]: a host must not have a port",
        "8:1 limits.head_byte: unknown key",
        "9:15 limits.connections: expected an integer from 1 to 10000000, found a string",
        "11:7 risk.action.low: `deny` needs days of observation first",
    ];
    assert_eq!(told, expected);
}

#[test]
fn an_empty_file_lacks_a_listener_and_a_site() {
    assert_eq!(told(""), ["- listen: nothing to listen on", "- site: no site to serve"]);
}

#[test]
fn unknown_keys_are_suggested_or_shown_their_place() {
    let hint = |toml: &str| {
        let problems = parse_pure(toml.as_bytes()).unwrap_err();
        let unknown = problems.list().iter().find(|p| p.message == "unknown key");
        unknown.and_then(|p| p.hint.clone()).unwrap()
    };
    assert_eq!(hint("[limits]\nhead-bytes = 1"), "did you mean `head_bytes`?");
    assert_eq!(hint("[timeouts]\nhead_bytes = 1"), "`head_bytes` belongs in `limits`");
    assert_eq!(hint("[admin]\ncolour = 1"), "known here: address, hosts");
    assert_eq!(
        hint("[[listen]]\n\"tls.key\" = 1"),
        "known here: address, mode, tls, proxy_protocol, proxy_protocol_from"
    );
}

#[test]
fn types_that_do_not_fit() {
    assert_eq!(told(&format!("limits = 1\n{FINE}"))[0], "1:10 limits: expected a table, found an integer");
    assert_eq!(
        one("[timeouts]\ndrain = 30"),
        "2:9 timeouts.drain: expected a duration from 1ms to 1h, found an integer"
    );
    assert_eq!(one("[site.policy.versions]"), "1:1 site[0].policy.versions: expected an array of tables");
    assert!(one("policy = \"least\"").starts_with("1:10 site[0].policy: expected a table"));
}

#[test]
fn addresses_and_hosts_are_unique() {
    let told = told(
        "[[listen]]\naddress = \"127.0.0.1:80\"\n[[listen]]\naddress = \"127.0.0.1:80\"\n[[listen]]\n\
         address = \"127.0.0.1:9180\"\n[[site]]\nhosts = [\"a\", \"b\"]\nupstream = [\"http://c\"]\n[[site]]\n\
         hosts = [\"c\", \"b\"]\nupstream = [\"http://c\", \"http://c/\"]\n",
    );
    let expected = [
        "4:11 listen[1].address: 127.0.0.1:80 is already taken by listen[0].address",
        "11:15 site[1].hosts[1]: `b` is already served by site[0].hosts[1]",
        "12:25 site[1].upstream[1]: the same as site[1].upstream[0]",
        "- admin.address: 127.0.0.1:9180 is already taken by listen[2].address",
    ];
    assert_eq!(told, expected);
}

#[test]
fn one_bad_element_hides_nothing_about_the_others() {
    let told = told(
        "[[listen]]\naddress = \"127.0.0.1:80\"\n[[site]]\nhosts = [\"a\"]\nupstream = [\"http://c\"]\n[[site]]\n\
         hosts = [\"b:1\", \"a\"]\nupstream = [\"ftp://c\", \"http://d\", \"http://d\", \"http://127.0.0.1\"]\n\
         upstream_tls = { verify = false }\n",
    );
    let places: Vec<&str> = told.iter().map(|line| line.split(": ").next().unwrap_or_default()).collect();
    let expected = [
        "7:10 site[1].hosts[0]",
        "7:17 site[1].hosts[1]",
        "8:13 site[1].upstream[0]",
        "8:36 site[1].upstream[2]",
        "8:48 site[1].upstream[3]",
    ];
    assert_eq!(places, expected, "{told:#?}");
}

#[test]
fn notices_are_told_apart_and_are_shown_some_day() {
    let notice = "[[site.notice]]\nid = \"a\"\ntext.en = \"A\"\n";
    assert_eq!(
        one(&format!("{notice}{notice}")),
        "5:6 site[0].notice[1].id: the same as site[0].notice[0].id"
    );
    for until in ["2026-11-14", "2026-11-15"] {
        assert_eq!(
            one(&format!("{notice}from = 2026-11-15\nuntil = {until}\n")),
            "5:9 site[0].notice[0].until: the notice would never be shown"
        );
    }
    fine(&format!("{notice}from = 2026-11-15\nuntil = 2026-11-16\n"));
}

#[test]
fn the_hint_for_a_prefix_is_one() {
    for (text, hint) in [("kelisim", "write \"/kelisim/\""), ("/a", "write \"/a/\""), ("/a?/", "for example")]
    {
        let text = format!("{FINE}prefix = \"{text}\"\n");
        let problems = parse_pure(text.as_bytes()).unwrap_err();
        assert!(problems.list()[0].hint.as_deref().is_some_and(|h| h.starts_with(hint)), "{problems}");
    }
}

#[test]
fn an_upstream_is_not_the_gateway_itself() {
    let toml = |listen: &str, upstream: &str| {
        format!(
            "[[listen]]\naddress = \"{listen}\"\n[[site]]\nhosts = [\"a\"]\nupstream = [\"{upstream}\"]\n"
        )
    };
    let told = told(&toml("0.0.0.0:8080", "http://localhost:8080"));
    assert_eq!(told, ["5:13 site[0].upstream[0]: this is the gateway's own address 0.0.0.0:8080"]);
    assert!(parse_pure(toml("0.0.0.0:8080", "http://192.0.2.1:8080").as_bytes()).is_ok());
    assert!(parse_pure(toml("192.0.2.1:8080", "http://127.0.0.1:8080").as_bytes()).is_ok());
}

#[test]
fn unix_sockets_have_paths_permissions_and_one_owner() {
    let toml = |listen: &str, upstream: &str| {
        format!(
            "[[listen]]\naddress = \"127.0.0.1:80\"\nmode = \"0600\"\n[[listen]]\n{listen}\n\
             [[site]]\nhosts = [\"a\"]\nupstream = [\"{upstream}\"]\n"
        )
    };
    let port = "3:8 listen[0].mode: a port has no permissions";
    let same = "address = \"unix:/k\"\n[[listen]]\naddress = \"unix:/k\"";
    let taken = "7:11 listen[2].address: unix:/k is already taken by listen[1].address";
    assert_eq!(told(&toml(same, "http://b")), [port, taken]);
    let itself = "9:13 site[0].upstream[0]: this is the gateway's own address unix:/k";
    assert_eq!(told(&toml("address = \"unix:/k\"\nmode = \"0666\"", "unix:/k")), [port, itself]);
    for (listen, message) in [
        ("address = \"unix:k\"", "5:11 listen[1].address: the path of a Unix socket begins with `/`"),
        ("address = \"unix:/k\"\nmode = \"660\"", "6:8 listen[1].mode: `660` are no permissions"),
        ("address = \"unix:/k\"\nmode = \"0888\"", "6:8 listen[1].mode: `0888` are no permissions"),
    ] {
        let told = told(&toml(listen, "http://b"));
        assert!(told.iter().any(|line| line == message), "{told:?}");
    }
}

#[test]
fn passwords_in_an_upstream_are_refused_unquoted() {
    let toml = |url: &str| FINE.replace("http://127.0.0.1:3000", url);
    for scheme in ["http", "https"] {
        let problems = parse_pure(toml(&format!("{scheme}://user:secret@a")).as_bytes()).unwrap_err();
        assert!(!problems.to_string().contains("secret"), "{problems}");
    }
}

#[test]
fn tls_to_the_upstream_fits_together() {
    let site = |url: &str, tls: &str| {
        let toml = FINE.replace("http://127.0.0.1:3000", url);
        format!("{toml}\n[site.upstream_tls]\n{tls}\n")
    };
    for (url, tls, wrong) in [
        ("http://a", "verify = false", "site[0].upstream_tls: no server of this site speaks TLS"),
        ("https://a", "certificate = \"a.pem\"", "certificate: a certificate without its `key`"),
        ("https://a", "key = \"a.key\"", "key: a key without its `certificate`"),
        ("https://a", "verify = false\nca = \"a.pem\"", "ca: nothing is compared with it"),
        ("https://a", "server_name = \"A\"", "server_name: a host name must be in lower case"),
    ] {
        let told = told(&site(url, tls));
        assert!(told.len() == 1 && told[0].contains(wrong), "{tls}: {told:?}");
    }
    let config = parse_pure(site("https://a", "verify = false").as_bytes()).unwrap();
    assert!(config.warnings()[0].starts_with("site[0].upstream_tls.verify = false: "));
    assert!(parse_pure(site("https://a", "").as_bytes()).unwrap().warnings().is_empty());
}

#[test]
fn a_trusted_certificate_must_be_there() {
    let toml = "[[listen]]\naddress = \"[::]:80\"\n[[site]]\nhosts = [\"a\"]\nupstream = [\"https://b\"]\n\
                upstream_tls.ca = \"missing.pem\"\n";
    let problems = parse(toml, "f", Path::new("/nowhere"), no_env()).unwrap_err();
    let told = problems.to_string();
    assert!(told.contains("upstream_tls.ca: there is no file `/nowhere/missing.pem`"), "{told}");
}

#[test]
fn health_checks_have_a_path_and_time_to_end() {
    let told = |health: &str| told(&format!("{FINE}\n[site.health]\n{health}\n"));
    for (health, wrong) in [
        ("interval = \"1s\"", "site[0].health.path: is required and missing"),
        ("path = \"healthz\"", "site[0].health.path: a path begins with `/`"),
        (
            "path = \"/\"\ntimeout = \"6s\"",
            "site[0].health.timeout: a check may take 6s, but the next begins after 5s",
        ),
        (
            "path = \"/\"\ninterval = \"1s\"",
            "site[0].health.timeout: a check may take 2s, but the next begins after 1s",
        ),
        ("path = \"/\"\nstatuses = [\"20\"]", "site[0].health.statuses[0]: `20` is not a status"),
        ("path = \"/\"\nstatuses = []", "site[0].health.statuses: must not be empty"),
        ("path = \"/\"\nhealthy = 0", "site[0].health.healthy: out of bounds"),
    ] {
        let told = told(health);
        let expected: Vec<_> = told.iter().filter(|line| line.contains(wrong)).collect();
        assert!(expected.len() == 1 && told.len() <= 2, "{health}: {told:?}");
    }
}

#[test]
fn policies_are_complete_and_consistent() {
    let version = |id: &str, language: &str, day: &str| {
        format!("{{ id = \"{id}\", file = \"p\", language = \"{language}\", effective = {day} }}")
    };
    let policy = |versions: &[String], rest: &str| {
        format!("[site.policy]\nversions = [\n{}\n]\n{rest}", versions.join(",\n"))
    };
    let kk = version("v1", "kk", "2026-11-22");
    assert!(fine(&policy(std::slice::from_ref(&kk), "")).sites[0].policy.is_some());
    assert_eq!(one("[site.policy]"), "1:7 site[0].policy: a policy needs a version");
    assert_eq!(
        one("[site.policy]\ngate = [\"/a\"]"),
        "2:8 site[0].policy.gate: a gate without a policy version to accept"
    );
    assert_eq!(
        one(&policy(&[kk.clone(), kk.clone()], "")),
        "4:1 site[0].policy.versions[1]: version `v1` in `kk` is already there as site[0].policy.versions[0]"
    );
    assert!(one(&policy(&[kk.clone(), version("v1", "ru", "2026-11-23")], "")).starts_with(
        "4:55 site[0].policy.versions[1].effective: version `v1` comes into force on another day"
    ));
    assert_eq!(
        one(&policy(std::slice::from_ref(&kk), "default_language = \"en\"")),
        "5:20 site[0].policy.default_language: there is no document in `en`"
    );
    assert!(
        one(&policy(&[version("v 1", "kk", "2026-11-22")], ""))
            .contains("3:8 site[0].policy.versions[0].id: `v 1` is not 1 to 32")
    );
    assert!(
        one(&policy(&[version("v1", "de", "2026-11-22")], ""))
            .contains("`de` is not one of \"kk\", \"ru\", \"en\"")
    );
    assert!(
        one(&policy(&[version("v1", "kk", "\"2026-02-30\"")], ""))
            .starts_with("3:55 site[0].policy.versions[0].effective: `2026-02-30` is not a date")
    );
    assert!(
        one(&policy(std::slice::from_ref(&kk), "gate = [\"register\"]"))
            .starts_with("5:9 site[0].policy.gate[0]: a path begins with `/`")
    );
}

#[test]
fn what_is_not_supported_yet_is_said() {
    assert!(one("[geoip]\ncity = \"city.mmdb\"").ends_with("this is not supported yet"));
    let told = told(&format!("{FINE}[consent]\nsources = [\"own\", \"tcf\", \"onetrust\", \"shampoo\"]"));
    assert!(told.len() == 1 && told[0].contains("`shampoo` is not one of"), "{told:#?}");
}

#[test]
fn only_categories_with_a_choice_wait_for_consent() {
    assert!(one("[cookies.actions]\nsecurity = \"consent\"").contains("is not one of \"allow\", \"strip\""));
}

#[test]
fn deny_needs_days_of_observation() {
    assert!(one("[risk.action]\nhigh = \"deny\"").starts_with("2:8 risk.action.high: "));
    fine("[risk]\nobserve_days = 7\naction.high = \"deny\"");
    assert!(one("[risk]\noff = [\"velocty\"]").starts_with("2:8 risk.off[0]: `velocty` is not one of"));
}

#[test]
fn signals_are_capped_by_their_names() {
    assert!(
        one("[risk.cap]\nvelocity = \"high\"").starts_with("2:12 risk.cap.velocity: `high` is not one of")
    );
    assert_eq!(one("[risk.cap]\nvelocty = \"low\""), "2:1 risk.cap.velocty: unknown key");
    fine("[risk.cap]\nvelocity = \"low\"");
}

#[test]
fn what_a_failed_login_is_answered_with_is_a_status() {
    let told = one("[risk]\nfailed_login_statuses = [\"20\"]");
    assert!(told.starts_with("2:26 risk.failed_login_statuses[0]: `20` is not a status"), "{told}");
    assert!(one("[risk]\nfailed_login_statuses = []").ends_with("must not be empty"));
}

#[test]
fn shared_networks_are_networks_and_numbers_need_their_database() {
    assert!(one("[risk]\nshared_networks = [\"AS1\"]").starts_with("2:20 risk.shared_networks[0]: "));
    assert_eq!(
        one("[risk]\nshared_asns = [1]"),
        "2:15 risk.shared_asns: without an ASN database this has no effect"
    );
    let numbers = |list: &str| format!("[geoip]\nasn = \"asn.mmdb\"\n[risk]\nshared_asns = {list}");
    fine(&numbers("[1, 4294967295]"));
    for (list, wrong) in [
        ("[0]", "risk.shared_asns[0]: out of bounds: expected an integer from 1 to 4294967295"),
        ("[4294967296]", "risk.shared_asns[0]: out of bounds: expected an integer from 1 to 4294967295"),
        ("[7, 7]", "risk.shared_asns[1]: the same as risk.shared_asns[0]"),
        ("[\"AS7\"]", "risk.shared_asns[0]: expected an integer from 1 to 4294967295, found a string"),
    ] {
        assert!(one(&numbers(list)).ends_with(wrong), "{list}: {}", one(&numbers(list)));
    }
}

#[test]
fn the_site_is_told_of_places_for_a_purpose_only() {
    let purpose = "headers_purpose = \"checks of orders\"\n";
    let country = "[geoip]\nheaders = [\"country\"]\n";
    fine(&format!("{country}{purpose}headers_as = \"cloudflare\""));
    assert_eq!(one(country), "2:11 geoip.headers: telling the site where visitors are needs a purpose");
    let blank = format!("{country}headers_purpose = \" \"");
    assert_eq!(one(&blank), "3:19 geoip.headers_purpose: this is no purpose");
    for (key, place) in
        [(purpose, "2:19 geoip.headers_purpose"), ("headers_as = \"cloudflare\"", "2:14 geoip.headers_as")]
    {
        assert_eq!(
            one(&format!("[geoip]\n{key}")),
            format!("{place}: nothing is told, so this has no effect")
        );
    }
    let network = format!("[geoip]\nheaders = [\"network\"]\n{purpose}headers_as = \"cloudflare\"");
    assert_eq!(one(&network), "4:14 geoip.headers_as: this writes the country, which is not told");
    for never in ["city", "coordinates", "asn"] {
        let told = one(&format!("[geoip]\nheaders = [{never:?}]\n{purpose}headers_as = \"cloudflare\""));
        let expected = format!("2:12 geoip.headers[0]: `{never}` is not one of \"country\", \"network\"");
        assert_eq!(told, expected);
    }
}

#[test]
fn no_sealed_class_outlives_security() {
    assert_eq!(
        one("[records.retention]\ndiagnostics = \"31d\""),
        "2:15 records.retention.diagnostics: diagnostics (31d) outlives security (30d)"
    );
    let told = told(&format!("{FINE}[records.retention]\nsecurity = \"20d\""));
    assert_eq!(told.len(), 2, "{told:#?}");
    assert!(told.iter().all(|t| t.starts_with("8:12 records.retention.")), "{told:#?}");
    let config = fine("[records.retention]\nsupport = \"1d\"\nsecurity = \"40d\"");
    assert_eq!(config.records.retention.security, 40);
    assert_eq!(
        one("[records.minimum]\nfraud = \"31d\""),
        "2:9 records.minimum.fraud: fraud (31d) outlives security (30d)"
    );
    fine("[records.minimum]\nfraud = \"31d\"\nsecurity = \"31d\"");
}

#[test]
fn a_legal_hold_has_days_in_order_and_keeps_what_finds_a_person() {
    let hold = "[[records.legal_hold]]\nname = \"case 7\"\nfrom = 2026-11-01\n";
    let config = fine(&format!("{hold}until = 2026-11-30\nclasses = [\"security\", \"fraud\"]"));
    let [held] = &config.records.legal_holds[..] else { panic!("one hold") };
    assert_eq!((held.name.as_str(), held.classes.len()), ("case 7", 2));
    assert_eq!((held.from.to_string(), held.until.to_string()), ("2026-11-01".into(), "2026-11-30".into()));
    assert_eq!(
        one(&format!("{hold}until = 2026-10-31")),
        "4:9 records.legal_hold[0].until: the last day is before the first"
    );
    assert_eq!(
        one(&format!("{hold}until = 2026-11-30\nclasses = [\"fraud\"]")),
        "5:11 records.legal_hold[0].classes: these classes would outlive security"
    );
    assert!(one("[[records.legal_hold]]\nname = \"a\"\nfrom = 2026-11-01").contains("until"));
    assert_eq!(
        one(&format!("{hold}until = 2026-11-30\n{hold}until = 2026-11-30\n")),
        "6:8 records.legal_hold[1].name: the same as records.legal_hold[0].name"
    );
}

#[test]
fn limits_that_cannot_be_reached_are_told() {
    assert!(
        one("[limits]\nh2_stream_window = \"2MiB\"").starts_with("2:20 limits.h2_stream_window: larger than")
    );
    fine("[limits]\nconnections = 100");
    assert!(one("[records]\nmax_bytes = \"100MiB\"").starts_with("2:13 records.max_bytes: smaller than 8"));
}

/// At two files every closed one went before it became a segment, and the check had called that fine.
#[test]
fn two_journal_files_are_no_room_for_records() {
    let with =
        |max: &str, more: &str| format!("[records]\nfile_bytes = \"1MiB\"\nmax_bytes = \"{max}\"\n{more}");
    assert!(one(&with("7MiB", "")).starts_with("3:13 records.max_bytes: smaller than 8 journal files"));
    fine(&with("8MiB", ""));
    assert!(one(&with("3MiB", "segments = false")).starts_with("3:13 records.max_bytes: smaller than 4"));
    fine(&with("4MiB", "segments = false"));
}

#[test]
fn files_must_be_there() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("site.pem"), "x").unwrap();
    fs::write(dir.path().join("policy.md"), b"\xff").unwrap();
    let text = format!(
        "{FINE}policy = {{ versions = [{{ id = \"a\", file = \"policy.md\", language = \"kk\", effective = 2026-01-01 }}] }}\n\
         [[listen]]\naddress = \"127.0.0.1:8443\"\ntls = {{ certificate = \"site.pem\", key = \"site.key\" }}\n\
         [cookies]\nrules = \".\"\n"
    );
    let problems = parse(&text, "kelisim.toml", dir.path(), no_env()).unwrap_err();
    let keys: Vec<_> = problems.list().iter().map(|p| (p.line.unwrap(), p.key.as_str())).collect();
    let expected = [(7, "site[0].policy.versions[0].file"), (10, "listen[1].tls.key"), (12, "cookies.rules")];
    assert_eq!(keys, expected, "{problems}");
}

#[test]
fn an_array_of_tables_has_a_limit() {
    let versions = "{ id = \"a\", file = \"p\", language = \"kk\", effective = 2026-01-01 },".repeat(1025);
    let told = one(&format!("[site.policy]\nversions = [{versions}]"));
    assert_eq!(told, "2:12 site[0].policy.versions: 1025 tables; at most 1024 are read");
}

#[test]
fn no_cookie_of_a_login_and_none_of_advertising_can_be_recorded_with_its_value() {
    let listed = |name: &str| {
        let text = format!("{FINE}[records]\ncookie_values = [{name:?}]\n");
        parse_pure(text.as_bytes()).err().map(|problems| problems.list()[0].message.clone())
    };
    for name in
        ["PHPSESSID", "sid", "my_session", "__Host-user", "Auth", "csrftoken", "remember_me", "kelisim_vid"]
    {
        let said = listed(name);
        assert!(said.is_some_and(|said| said.contains("logins, carts or protection")), "{name}");
    }
    for name in ["_fbp", "_gcl_au"] {
        assert!(listed(name).is_some_and(|said| said.contains("advertising")), "{name}");
    }
    for name in ["a b", "a;b", "a=b"] {
        assert!(listed(name).is_some_and(|said| said.contains("no cookie has such a name")), "{name:?}");
    }
    for name in ["lang", "theme", "residence", "_ga"] {
        assert_eq!(listed(name), None, "{name}");
    }
}
