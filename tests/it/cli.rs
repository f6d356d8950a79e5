//! What an operator types: checks, references, explanations, and the exit codes that scripts rely on.

use serde_json::Value;

use crate::support::cli::kelisim;

#[test]
fn the_help_of_every_verb_is_a_contract() {
    let mut all = String::new();
    for verb in [
        &[][..],
        &["demo"],
        &["run"],
        &["check"],
        &["config"],
        &["config", "print"],
        &["config", "reference"],
        &["logs"],
        &["logs", "tail"],
        &["logs", "query"],
        &["logs", "top"],
        &["logs", "hist"],
        &["logs", "sql"],
        &["logs", "fields"],
        &["logs", "export"],
        &["logs", "audit"],
        &["logs", "audit", "verify"],
        &["subject"],
        &["subject", "find"],
        &["subject", "export"],
        &["subject", "block"],
        &["subject", "unblock"],
        &["subject", "erase"],
        &["cookies"],
        &["cookies", "report"],
        &["cookies", "explain"],
        &["consent"],
        &["consent", "verify"],
        &["consent", "stats"],
        &["test-request"],
        &["geoip"],
        &["geoip", "lookup"],
        &["geoip", "info"],
    ] {
        let said = kelisim(&[verb, &["--help"]].concat());
        assert_eq!((said.code, said.err.as_str()), (0, ""), "{verb:?}");
        all.push_str(&format!("=== kelisim {}\n{}\n", [verb, &["--help"]].concat().join(" "), said.out));
    }
    insta::assert_snapshot!("help", all);
}

#[test]
fn the_reference_of_all_keys_is_a_contract() {
    let said = kelisim(&["config", "reference"]);
    assert_eq!(said.code, 0);
    let snapshot =
        include_str!("../../src/config/snapshots/kelisim__config__reference__tests__reference.snap");
    let expected = snapshot.splitn(3, "---\n").nth(2).expect("a snapshot with a head");
    assert_eq!(said.out.trim_end(), expected.trim_end());
}

#[test]
fn all_mistakes_of_a_configuration_are_told_with_their_place() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("kelisim.toml");
    let config = "\
[[listen]]
address = \"127.0.0.1:99999\"

[[site]]
hosts = [\"kz.example\"]
upstream = [\"ftp://127.0.0.1\"]

[limits]
head_byte = 1
";
    std::fs::write(&path, config).unwrap();
    let path = path.to_str().unwrap();
    let said = kelisim(&["check", "--config", path]);
    assert_eq!(said.code, 1);
    for place in [
        "kelisim.toml:2:",
        "kelisim.toml:6:",
        "kelisim.toml:9:1:",
        "did you mean `head_bytes`?",
        "3 problems",
    ] {
        assert!(said.out.contains(place), "{place} in {}", said.out);
    }
    let said = kelisim(&["check", "--config", path, "--json"]);
    let problems: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!((said.code, problems.as_array().map(Vec::len)), (1, Some(3)));
    assert_eq!((&problems[2]["line"], &problems[2]["column"]), (&9.into(), &1.into()));
    let said = kelisim(&["run", "--config", path]);
    assert_eq!(said.code, 64, "a bad configuration at start");
    assert!(said.err.contains("head_byte"), "{}", said.err);
}

/// Each of these files is there, and would stop the start.
#[test]
fn files_that_cannot_be_used_are_told_at_their_keys() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &[u8]| std::fs::write(folder.path().join(name), text).unwrap();
    file("cookies.toml", b"colour = 1\n");
    ["text.mmdb", "text.pem", "text.key"].iter().for_each(|name| file(name, b"a text"));
    let country = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/geoip/country.mmdb")).unwrap();
    file("country.mmdb", &country);
    let path = folder.path().join("kelisim.toml");
    let write = |listen: &str, site: &str, tables: &str| {
        let config = format!(
            "admin.address = \"127.0.0.1:0\"\n[records]\ndir = \"records\"\n\
             [[listen]]\naddress = \"127.0.0.1:0\"\n{listen}\n\
             [[site]]\nhosts = [\"kz.example\"]\nupstream = [\"https://127.0.0.1:1\"]\n{site}\n{tables}"
        );
        std::fs::write(&path, config).unwrap();
    };
    let tls = "tls = { certificate = \"text.pem\", key = \"text.key\" }";
    let ca = "upstream_tls = { ca = \"text.pem\" }";
    let unverified = "upstream_tls = { verify = false }";
    let cases = [
        (tls, unverified, "", "6:23: listen[0].tls.certificate: "),
        ("", ca, "", "10:23: site[0].upstream_tls.ca: "),
        ("", unverified, "[cookies]\nrules = \"cookies.toml\"", "12:9: cookies.rules: "),
        ("", unverified, "[geoip]\ncountry = \"text.mmdb\"", "12:11: geoip.country: "),
        ("", unverified, "[geoip]\nasn = \"country.mmdb\"", "12:7: geoip.asn: "),
        (
            "",
            unverified,
            "[log]\naccess = \"json\"\naccess_file = \"none/access.log\"",
            "13:15: log.access_file: ",
        ),
    ];
    let arguments = ["--config", path.to_str().unwrap()];
    for (listen, site, tables, expected) in cases {
        write(listen, site, tables);
        let said = kelisim(&[&["check"][..], &arguments].concat());
        assert_eq!(said.code, 1, "{expected}: {said:?}");
        assert!(said.out.contains(&format!("kelisim.toml:{expected}")), "{expected}: {}", said.out);
        let started = kelisim(&[&["run"][..], &arguments].concat());
        assert_eq!(started.code, 64, "{expected}: {started:?}");
    }
    write(tls, ca, "[geoip]\ncountry = \"text.mmdb\"\n[cookies]\nrules = \"cookies.toml\"");
    let all = kelisim(&[&["check"][..], &arguments].concat()).out;
    assert!(all.contains("4 problems"), "{all}");
    write("", unverified, "[log]\naccess = \"json\"\naccess_file = \"access.log\"");
    assert_eq!(kelisim(&[&["check"][..], &arguments].concat()).code, 0);
    assert!(!folder.path().join("access.log").exists(), "a check makes no file");
}

#[test]
fn a_configuration_that_is_not_there_is_told_without_a_hint() {
    let said = kelisim(&["check", "--config", "nofile.toml"]);
    assert!(
        said.code == 1 && said.out.contains("there is no file") && !said.out.contains("hint"),
        "{said:?}"
    );
}

#[test]
fn a_filter_of_the_log_that_is_none_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("kelisim.toml");
    std::fs::write(&path, "[[listen]]").unwrap();
    for (filter, told) in [("kelisim=loud", true), ("kelisim=debug", false)] {
        let mut command = crate::support::cli::command();
        command.env("KELISIM_LOG", filter).args(["run", "--config"]).arg(&path);
        let output = crate::support::gateway::run(&mut command);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(said.contains("KELISIM_LOG is no filter"), told, "{said}");
    }
}

#[test]
fn a_good_configuration_is_printed_and_checked() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("kelisim.toml");
    let good = "[[listen]]\naddress = \"127.0.0.1:0\"\n[[site]]\nhosts = [\"kz.example\"]\nupstream = [\"http://127.0.0.1:1\"]\n";
    std::fs::write(&path, good).unwrap();
    let path = path.to_str().unwrap();
    let said = kelisim(&["-t", "-c", path]);
    assert_eq!((said.code, said.out.ends_with(": fine\n")), (0, true), "{said:?}");
    assert_eq!(kelisim(&["check", "--config", path, "--json"]).out, "[]\n");
    let printed = kelisim(&["config", "print", "--config", path]);
    assert!(printed.out.contains("kz.example") && printed.out.contains("durability"), "{}", printed.out);
    // Defaults that other keys make are there, too.
    for derived in ["keys_dir = ", "upstream_connections_per_client = ", "body_bytes = "] {
        assert!(printed.out.contains(derived), "{derived} in {}", printed.out);
    }
    // What was printed is itself a good configuration that says the same, now without any default.
    let again = folder.path().join("again.toml");
    std::fs::write(&again, &printed.out).unwrap();
    let again = kelisim(&["config", "print", "--config", again.to_str().unwrap()]);
    assert_eq!(again.out, printed.out.replace("  # default", ""));
}

/// Paths in what is printed are whole: the output may be saved in another folder.
#[test]
fn what_is_printed_means_the_same_files_elsewhere() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("etc")).unwrap();
    std::fs::write(folder.path().join("etc/cookies.toml"), "").unwrap();
    let good = "[cookies]\nrules = \"cookies.toml\"\n[[listen]]\naddress = \"127.0.0.1:0\"\n[[site]]\nhosts = [\"kz.example\"]\nupstream = [\"http://127.0.0.1:1\"]\n";
    std::fs::write(folder.path().join("etc/kelisim.toml"), good).unwrap();
    let mut print = crate::support::cli::command();
    print.current_dir(folder.path()).args(["config", "print", "--config", "etc/kelisim.toml"]);
    let printed = crate::support::gateway::run(&mut print).stdout;
    std::fs::write(folder.path().join("etc/saved.toml"), printed).unwrap();
    let mut check = crate::support::cli::command();
    check.current_dir(folder.path()).args(["check", "--config", "etc/saved.toml"]);
    let said = crate::support::gateway::run(&mut check);
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stdout));
}

/// A mistake in one place had hidden what only opening a file can tell in another.
#[test]
fn files_that_cannot_be_used_are_told_beside_other_mistakes() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    file("cookies.toml", "colour = 1\n");
    file("text.pem", "a text");
    let config = "[cookies]\nrules = \"cookies.toml\"\n[limits]\nhead_bytes = 5\n\
                  [[listen]]\naddress = \"here\"\n\
                  [[listen]]\naddress = \"127.0.0.1:0\"\ntls = { certificate = \"text.pem\", key = \"text.pem\" }\n\
                  [[site]]\nhosts = [\"a.example\"]\nupstream = [\"ftp://127.0.0.1\"]\n\
                  [[site]]\nhosts = [\"b.example\"]\nupstream = [\"https://127.0.0.1:1\"]\nupstream_tls = { ca = \"text.pem\" }\n";
    file("kelisim.toml", config);
    let said = kelisim(&["check", "--config", folder.path().join("kelisim.toml").to_str().unwrap()]);
    for told in [
        "kelisim.toml:2:9: cookies.rules: ",
        "kelisim.toml:4:14: limits.head_bytes: ",
        "kelisim.toml:6:11: listen[0].address: ",
        "kelisim.toml:9:23: listen[1].tls.certificate: ",
        "kelisim.toml:12:13: site[0].upstream[0]: ",
        "kelisim.toml:16:23: site[1].upstream_tls.ca: ",
        "6 problems",
    ] {
        assert!(said.out.contains(told), "{told} in {}", said.out);
    }
}

#[test]
fn what_of_the_machine_keeps_a_gateway_from_starting_is_warned_of() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("file"), "").unwrap();
    let config = "admin.address = \"192.0.2.1:0\"\n[records]\ndir = \"file\"\n\
                  [[listen]]\naddress = \"unix:/nowhere/kelisim.sock\"\n\
                  [[site]]\nhosts = [\"kz.example\"]\nupstream = [\"http://127.0.0.1:1\"]\n";
    let path = folder.path().join("kelisim.toml");
    std::fs::write(&path, config).unwrap();
    let said = kelisim(&["check", "--config", path.to_str().unwrap()]);
    assert_eq!(said.code, 0, "{said:?}");
    for told in
        ["records.dir: ", "listen[0].address: there is no folder /nowhere", "admin.address: this machine"]
    {
        assert!(said.err.contains(&format!("warning: {told}")), "{told} in {}", said.err);
    }
}

#[test]
fn output_that_nobody_takes_is_told_and_one_that_is_cut_is_fine() {
    let run = |words: &str, to: &str| {
        let script = format!("set -o pipefail; \"$0\" {words} {to}");
        let program = env!("CARGO_BIN_EXE_kelisim");
        let output =
            crate::support::gateway::run(std::process::Command::new("bash").args(["-c", &script, program]));
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    for words in ["--help", "cookies explain _fbp", "config reference"] {
        let (code, said) = run(words, "> /dev/full");
        assert!(code == Some(70) && said.contains("kelisim: "), "{words}: {code:?} {said}");
        assert_eq!(run(words, "| true"), (Some(0), String::new()), "{words}");
    }
}

#[test]
fn the_example_of_cookie_rules_is_good() {
    let rules = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/cookies.toml");
    let text = std::fs::read_to_string(rules).unwrap();
    // With its comments taken away every example counts.
    let all: String = text
        .lines()
        .map(|line| {
            format!(
                "{}\n",
                line.strip_prefix("    # {").map_or_else(|| line.to_owned(), |rest| format!("    {{{rest}"))
            )
        })
        .collect();
    let folder = tempfile::tempdir().unwrap();
    let uncommented = folder.path().join("cookies.toml");
    std::fs::write(&uncommented, &all).unwrap();
    for (file, name, category) in [
        (rules, "shop_view", "functional"),
        (uncommented.to_str().unwrap(), "Promo_77", "advertising"),
        (uncommented.to_str().unwrap(), "partner_id", "advertising"),
    ] {
        let said = kelisim(&["cookies", "explain", name, "--rules", file, "--format", "json"]);
        let explained: Value = serde_json::from_str(&said.out).unwrap_or_else(|e| panic!("{e}: {said:?}"));
        assert_eq!(explained["category"], category, "{name}: {said:?}");
    }
}

#[test]
fn the_example_in_deploy_is_good() {
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/kelisim.toml");
    let said = kelisim(&["check", "--config", example, "--json"]);
    let problems: Value = serde_json::from_str(&said.out).expect("JSON");
    // The files that it names are the operator's; everything else must be right.
    for problem in problems.as_array().expect("a list") {
        let message = problem["message"].as_str().unwrap_or_default();
        assert!(message.starts_with("there is no file"), "{problem}");
    }
}

#[test]
fn cookies_are_explained() {
    let explained = |name: &str| -> Value {
        let said = kelisim(&["cookies", "explain", name, "--format", "json"]);
        assert_eq!(said.code, 0, "{said:?}");
        serde_json::from_str(&said.out).expect("JSON")
    };
    assert_eq!(
        (&explained("_fbp")["category"], &explained("_fbp")["protected"]),
        (&"advertising".into(), &false.into())
    );
    assert_eq!(explained("sessionid")["protected"], true);
    assert_eq!(explained("no-such-cookie")["category"], "unknown");
    assert!(kelisim(&["cookies", "explain", "_gcl_au"]).out.contains("Google"));
}

#[test]
fn the_location_database_can_be_asked() {
    let said = kelisim(&["geoip", "info", "--format", "json"]);
    let info: Value = serde_json::from_str(&said.out).unwrap_or_else(|e| panic!("{e}: {said:?}"));
    assert_eq!(said.code, 0);
    assert!(info["country"]["nodes"].as_u64().is_some_and(|nodes| nodes > 0), "{info}");
    let said = kelisim(&["geoip", "lookup", "8.8.8.8", "--format", "json"]);
    let place: Value = serde_json::from_str(&said.out).expect("JSON");
    assert_eq!((said.code, &place["country"]), (0, &"US".into()));
    let said = kelisim(&["geoip", "lookup", "127.0.0.1", "--fail"]);
    assert_eq!(said.code, 1, "nobody's country");
}

#[test]
fn wrong_usage_is_2_and_what_is_missing_is_told() {
    for arguments in [
        &["nonsense"][..],
        &["run"],
        &["run", "--config", "a", "--upstream", "http://b"],
        &["check"],
        &["logs", "query", "--purpose", "curiosity"],
        &["geoip", "lookup", "not-an-address"],
    ] {
        let said = kelisim(arguments);
        assert_eq!(said.code, 2, "{arguments:?}: {said:?}");
        assert!(said.out.is_empty() && !said.err.is_empty(), "{arguments:?}");
    }
    assert_eq!(kelisim(&["run", "--config", "/nonexistent/kelisim.toml"]).code, 64);
    let version = kelisim(&["--version"]);
    assert_eq!((version.code, version.out.trim()), (0, concat!("kelisim ", env!("CARGO_PKG_VERSION"))));
}
