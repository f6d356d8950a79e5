//! The files of `deploy/` against the program and against the tools that will read them.
//!
//! A dashboard or an alert that asks for a figure which does not exist is silent for ever: every name and label in them
//! is looked up in the table. Tools that are not installed are skipped, visibly. Tests only.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use prometheus::proto::MetricType;
use regex::Regex;
use serde_json::Value;

use super::metrics::spec_of_series;
use crate::config::parse_pure;
use crate::config::reference::KEYS;

#[test]
fn the_dashboard_asks_only_for_figures_that_exist() {
    let dashboard: Value = serde_json::from_str(&read("grafana/kelisim.json")).unwrap();
    let mut queries = Vec::new();
    collect_queries(&dashboard, &mut queries);
    assert!(queries.len() > 40, "only {} queries found", queries.len());
    for (query, legend) in &queries {
        check_query(query);
        check_legend(query, legend);
    }
}

#[test]
fn the_alerts_ask_only_for_figures_that_exist() {
    for alert in read("prometheus/alerts.yml").split("- alert:").skip(1) {
        check_query(alert);
    }
    for series in read("prometheus/alerts_test.yml").lines().filter(|line| line.contains("series:")) {
        check_query(series);
    }
}

#[test]
fn the_texts_name_only_figures_that_exist() {
    check_query(&read("README.md"));
    check_query(&read("nginx.md"));
}

#[test]
fn every_alert_has_a_test() {
    let (alerts, tests) = (read("prometheus/alerts.yml"), read("prometheus/alerts_test.yml"));
    let names = Regex::new(r"- alert: (\w+)").unwrap();
    for name in names.captures_iter(&alerts).map(|c| c[1].to_owned()) {
        assert!(tests.contains(&name), "{name} is not in alerts_test.yml");
    }
}

#[test]
fn promtool_accepts_rules_and_configuration_and_the_alerts_fire() {
    let folder = deploy().join("prometheus");
    for arguments in [
        ["check", "config", "scrape.yml"],
        ["check", "rules", "alerts.yml"],
        ["test", "rules", "alerts_test.yml"],
    ] {
        let Some(mut promtool) = tool("promtool") else { return };
        succeed(promtool.args(arguments).current_dir(&folder));
    }
}

#[test]
fn promtool_can_read_every_query_of_the_dashboard() {
    let Some(mut promtool) = tool("promtool") else { return };
    let dashboard: Value = serde_json::from_str(&read("grafana/kelisim.json")).unwrap();
    let mut queries = Vec::new();
    collect_queries(&dashboard, &mut queries);
    let rules: Vec<_> = queries
        .iter()
        .filter(|(query, _)| !query.starts_with("label_values("))
        .enumerate()
        .map(|(i, (query, _))| {
            let query = Regex::new(r"\$__\w+").unwrap().replace_all(query, "5m").into_owned();
            serde_json::json!({ "record": format!("q:{i}"), "expr": query })
        })
        .collect();
    let folder = tempfile::tempdir().unwrap();
    // JSON is YAML.
    let file = serde_json::json!({ "groups": [{ "name": "dashboard", "rules": rules }] });
    fs::write(folder.path().join("queries.yml"), file.to_string()).unwrap();
    succeed(promtool.args(["check", "rules", "queries.yml"]).current_dir(folder.path()));
}

#[test]
fn systemd_accepts_the_units() {
    let Some(mut analyze) = tool("systemd-analyze") else { return };
    let folder = tempfile::tempdir().unwrap();
    // `verify` wants the program to exist.
    let service = read("kelisim.service").replace("/usr/local/bin/kelisim", "/bin/true");
    fs::write(folder.path().join("kelisim.service"), service).unwrap();
    fs::write(folder.path().join("kelisim.socket"), read("kelisim.socket")).unwrap();
    let said = succeed(
        analyze.args(["verify", "--man=no", "kelisim.service", "kelisim.socket"]).current_dir(folder.path()),
    );
    assert!(!said.contains("kelisim."), "{said}");
}

/// What is part of the service is stopped with it: a restart would close the sockets that are to outlive it.
#[test]
fn a_restart_of_the_service_leaves_the_sockets_open() {
    let socket = read("kelisim.socket");
    for tie in ["PartOf", "BindsTo", "Requires", "Requisite", "BindTo"] {
        assert!(!socket.lines().any(|line| line.starts_with(tie)), "{tie}");
    }
    assert!(read("kelisim.service").lines().any(|line| line == "Requires=kelisim.socket"));
}

/// The compactor's thread lowers its own priority, which is in the group that is denied as a whole.
#[test]
fn the_unit_lets_a_thread_lower_its_priority() {
    let unit = read("kelisim.service");
    let filters: Vec<_> = unit.lines().filter_map(|line| line.strip_prefix("SystemCallFilter=")).collect();
    let denied = filters.iter().position(|f| f.starts_with('~') && f.contains("@resources"));
    assert!(denied < filters.iter().position(|f| *f == "setpriority"), "{filters:?}");
}

/// Keys that nginx.md names in its table exist.
#[test]
fn what_stands_for_a_word_of_nginx_is_a_key() {
    let text = read("nginx.md");
    let table = text.split_once("| nginx | Kelisim |").unwrap().1;
    let (mut keys, name) = (0, Regex::new(r"^[a-z_.]+( = .*)?$").unwrap());
    for row in table.lines().filter_map(|line| line.strip_prefix("| ")?.split_once(" | ")) {
        for word in row.1.split('`').skip(1).step_by(2).filter(|word| name.is_match(word)) {
            let key = word.split(" = ").next().unwrap();
            let known = KEYS.iter().any(|k| {
                let plain = k.path.replace("[]", "");
                plain == key
                    || plain.strip_prefix("site.").is_some_and(|rest| {
                        rest == key || rest.strip_prefix(key).is_some_and(|rest| rest.starts_with('.'))
                    })
                    || plain
                        .strip_prefix("listen.")
                        .is_some_and(|rest| rest == key || rest.starts_with(&format!("{key}.")))
            });
            let verb = ["query", "top"].contains(&key);
            assert!(known || verb, "{key} is no key");
            keys += usize::from(known);
            if let Some((_, value)) = word.split_once(" = ") {
                let site = format!(
                    "[[listen]]\naddress = \"[::]:80\"\n[[site]]\nhosts = [\"a\"]\nupstream = [\"http://b\"]\n{key} = {value}\n"
                );
                assert!(parse_pure(site.as_bytes()).is_ok(), "{word}");
            }
        }
    }
    assert!(keys > 12, "only {keys} keys found");
}

/// A line that is looked up here is one that the gateway writes.
#[test]
fn log_lines_that_are_explained_are_written() {
    let text = read("README.md");
    let table = text.split_once("## Log lines and what to do").unwrap().1.split("\n## ").next().unwrap();
    let source = sources(&root().join("src"));
    let mut told = 0;
    for cell in table.lines().filter_map(|line| line.strip_prefix("| `")?.split_once(" | ")) {
        for line in format!("`{}", cell.0).split('`').skip(1).step_by(2) {
            assert!(source.contains(line), "nothing says: {line}");
            told += 1;
        }
    }
    assert!(told > 15, "only {told} lines found");
}

#[test]
fn systemd_finds_the_unit_hardened() {
    let Some(mut analyze) = tool("systemd-analyze") else { return };
    // Tenths: at most 1.5 of 10.
    succeed(
        analyze
            .args(["security", "--offline=true", "--threshold=15", "--no-pager"])
            .arg(file("kelisim.service")),
    );
}

#[test]
fn nginx_accepts_the_configurations() {
    let text = read("nginx.md");
    let blocks: Vec<_> =
        text.split("```nginx\n").skip(1).filter_map(|rest| Some(rest.split_once("\n```")?.0)).collect();
    assert_eq!(blocks.len(), 2);
    let key = rcgen::generate_simple_self_signed(vec!["kz.example".to_owned()]).unwrap();
    for block in blocks {
        let Some(mut nginx) = tool("nginx") else { return };
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        fs::write(at("site.pem"), key.cert.pem()).unwrap();
        fs::write(at("site.key"), key.signing_key.serialize_pem()).unwrap();
        let block = block
            .replace("/etc/ssl/site", &at("site"))
            .replace("include       fastcgi_params", "include /etc/nginx/fastcgi_params");
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .iter()
            .map(|name| format!("{name}_temp_path {};\n", at(name)))
            .collect();
        let whole = format!(
            "pid {};\nerror_log stderr;\nevents {{}}\nhttp {{\naccess_log off;\n{temporary}{block}\n}}\n",
            at("pid")
        );
        fs::write(at("nginx.conf"), whole).unwrap();
        let said = succeed(nginx.args(["-t", "-p", &at(""), "-c", &at("nginx.conf")]));
        assert!(!said.contains("[warn]"), "{said}");
    }
}

#[test]
fn the_image_is_built_with_the_declared_compiler_and_is_not_root() {
    let file = read("Containerfile");
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let version =
        Regex::new(r#"rust-version = "([^"]+)""#).unwrap().captures(&manifest).unwrap()[1].to_owned();
    assert!(file.contains(&format!("FROM rust:{version}-")), "another compiler than {version}");
    for (section, folder) in [("[[bench]]", "benches"), ("[[test]]", "tests"), ("[[example]]", "examples")] {
        let copied = file.contains(&format!("COPY {folder} {folder}"));
        assert!(!manifest.contains(section) || copied, "cargo wants {folder}, which the image does not copy");
    }
    let last = file.rsplit("\nFROM ").next().unwrap();
    let user = last.lines().find_map(|line| line.strip_prefix("USER ")).unwrap();
    assert!(user.split(':').all(|id| id.parse::<u32>().is_ok_and(|id| id > 1_000)), "{user}");
    for line in
        file.lines().filter_map(|line| line.strip_prefix("COPY ")).filter(|line| !line.starts_with("--"))
    {
        for source in line.split(' ').filter(|name| *name != "./") {
            assert!(root().join(source).exists(), "the image copies {source}, which does not exist");
        }
    }
}

#[test]
fn kubernetes_holds_this_version_and_readable_toml() {
    let file = read("kubernetes.yaml");
    assert!(file.contains(concat!("image: kelisim:", env!("CARGO_PKG_VERSION"))), "another version");
    let start = file.split_once("kelisim.toml: |\n").unwrap().1;
    let indented = start.lines().take_while(|line| line.is_empty() || line.starts_with("    "));
    let text: String = indented.map(|line| format!("{}\n", line.get(4..).unwrap_or(""))).collect();
    let config: toml::Table = text.parse().unwrap();
    assert_eq!(config["admin"]["address"].as_str(), Some("0.0.0.0:9180"));
    // Gateways with keys of their own do not know each other's visitors.
    assert!(file.contains("\n  replicas: 1\n") && file.contains("name: KELISIM_RECORDS__NODE"));
}

#[test]
fn the_socket_unit_opens_the_default_ports() {
    let unit = read("kelisim.socket");
    let streams: Vec<_> = unit.lines().filter_map(|line| line.strip_prefix("ListenStream=")).collect();
    assert_eq!(streams, ["0.0.0.0:8080", "0.0.0.0:8443"]);
}

/// Every figure in a query is in the table, and has the labels that it is asked for.
fn check_query(query: &str) {
    for name in names_in(query) {
        assert!(spec_of_series(name).is_some(), "{name} is not in the table, but in: {query}");
    }
    let selector = Regex::new(r"\b((?:kelisim|process)_[a-z0-9_]+)\{([^}]*)\}").unwrap();
    let label = Regex::new(r#"([a-z_]+)\s*(?:=~|!~|!=|=)\s*\\?""#).unwrap();
    for found in selector.captures_iter(query) {
        let spec = spec_of_series(&found[1]).unwrap();
        for label in label.captures_iter(&found[2]).map(|c| c[1].to_owned()) {
            let known = spec.labels.contains(&label.as_str())
                || matches!(label.as_str(), "instance" | "job")
                || (label == "le" && spec.kind == MetricType::HISTOGRAM);
            assert!(known, "{} has no label {label}, but in: {query}", spec.name);
        }
    }
    let has = labels_of(query);
    for label in grouped_by(query) {
        assert!(has.contains(&label), "nothing in this has a label {label}: {query}");
    }
}

/// A legend shows only labels that the result of its query has.
fn check_legend(query: &str, legend: &str) {
    let grouped = grouped_by(query);
    let has = if grouped.is_empty() { labels_of(query) } else { grouped };
    for label in Regex::new(r"\{\{(\w+)\}\}").unwrap().captures_iter(legend) {
        assert!(has.contains(&label[1]), "the legend {legend} has no label {} in: {query}", &label[1]);
    }
}

fn names_in(query: &str) -> Vec<&str> {
    let name = Regex::new(r"\b(?:kelisim|process)_[a-z0-9_]+").unwrap();
    name.find_iter(query).map(|found| found.as_str()).collect()
}

/// The labels of all figures in a query, with those that Prometheus adds.
fn labels_of(query: &str) -> BTreeSet<String> {
    let specs = names_in(query).into_iter().filter_map(spec_of_series);
    let own = specs.flat_map(|spec| spec.labels.iter().copied());
    own.chain(["instance", "job", "le"]).map(str::to_owned).collect()
}

fn grouped_by(query: &str) -> BTreeSet<String> {
    let by = Regex::new(r"\bby \(([^)]*)\)").unwrap();
    by.captures_iter(query)
        .flat_map(|c| c[1].split(',').map(|l| l.trim().to_owned()).collect::<Vec<_>>())
        .collect()
}

/// Every `expr` with its legend, and every query of a variable.
fn collect_queries(value: &Value, out: &mut Vec<(String, String)>) {
    match value {
        Value::Array(values) => values.iter().for_each(|value| collect_queries(value, out)),
        Value::Object(fields) => {
            let text = |key: &str| fields.get(key).and_then(Value::as_str);
            let legend = text("legendFormat").unwrap_or_default().to_owned();
            if let Some(expr) = text("expr") {
                out.push((expr.to_owned(), legend));
            } else if let Some(query) = text("query").filter(|query| query.starts_with("label_values(")) {
                out.push((query.to_owned(), legend));
            }
            fields.values().for_each(|value| collect_queries(value, out));
        }
        _ => {}
    }
}

/// A tool, if it is installed; it must be where `KELISIM_REQUIRE` is set.
fn tool(name: &str) -> Option<Command> {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&folders)
        .chain([PathBuf::from("/usr/sbin")])
        .map(|folder| folder.join(name))
        .find(|path| path.is_file());
    if found.is_none() {
        assert!(std::env::var_os("KELISIM_REQUIRE").is_none(), "required, but not installed: {name}");
        eprintln!("skipped: {name} not found");
    }
    found.map(Command::new)
}

/// Runs to success; returns everything said.
fn succeed(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {said}");
    said
}

/// All source text below a folder.
fn sources(folder: &Path) -> String {
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let text = |path: PathBuf| match path.is_dir() {
        true => sources(&path),
        false => fs::read_to_string(path).unwrap_or_default(),
    };
    paths.map(text).collect()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn deploy() -> PathBuf {
    root().join("deploy")
}

fn file(name: &str) -> PathBuf {
    deploy().join(name)
}

fn read(name: &str) -> String {
    fs::read_to_string(file(name)).unwrap_or_else(|error| panic!("deploy/{name}: {error}"))
}
