//! The effective configuration as TOML that can be read again.
//!
//! Every key that has a value stands there, with a comment where it comes from the defaults or the environment; so do those
//! whose default is made from another key.
//! There is no secret among the keys, so nothing is masked. Bound: the values.

use std::fmt::Write;

use super::problem::Place;
use super::reference::{KEYS, Kind};
use super::syntax::{show_duration, show_size, show_statuses, show_upstream};
use super::value::Value;
use super::walk::{Values, View, join, names};

/// The whole configuration.
pub(super) fn render(values: &Values) -> String {
    let mut out = String::new();
    table(&mut out, &values.root(), &values.root(), "", "");
    out
}

/// One table: its own keys, then the tables below it.
fn table(out: &mut String, root: &View<'_>, view: &View<'_>, schema: &str, header: &str) {
    let mut lines = String::new();
    for name in names(schema) {
        let Some(entry) = view.entry(name) else {
            if let Some(value) = derived(root, view, &join(schema, name)) {
                let _ = writeln!(lines, "{name} = {value}  # default");
            }
            continue;
        };
        let note = match &entry.place {
            Place::Span(_) => String::new(),
            Place::Nowhere => "  # default".to_owned(),
            Place::Environment(variable) => format!("  # {variable}"),
        };
        // Writing to a String cannot fail.
        let _ = writeln!(lines, "{name} = {}{note}", literal(&entry.key.kind, &entry.value));
    }
    if !lines.is_empty() || header.starts_with("[[") {
        let gap = if out.is_empty() { "" } else { "\n" };
        let _ = write!(out, "{gap}{header}{}{lines}", if header.is_empty() { "" } else { "\n" });
    }
    for name in names(schema) {
        let path = join(schema, name);
        if is_below(&format!("{path}[]")) {
            let plain = path.replace("[]", "");
            for row in view.rows(name) {
                table(out, root, &row, &format!("{path}[]"), &format!("[[{plain}]]"));
            }
        } else if is_below(&path) {
            table(out, root, &view.table(name), &path, &format!("[{}]", path.replace("[]", "")));
        }
    }
}

/// What holds where the key at `path` of the table of keys says nothing, as `build` makes it.
fn derived(root: &View<'_>, view: &View<'_>, path: &str) -> Option<String> {
    let of = |view: &View<'_>, name: &str| {
        let entry = view.entry(name)?;
        Some(literal(&entry.key.kind, &entry.value))
    };
    match path {
        "records.keys_dir" => match &view.entry("dir")?.value {
            Value::Path(dir) => {
                let keys = dir.join(crate::seal::local::FOLDER);
                Some(toml::Value::from(keys.display().to_string()).to_string())
            }
            _ => None,
        },
        "limits.upstream_connections_per_client" => {
            Some(view.number("upstream_connections")?.div_ceil(2).to_string())
        }
        "site[].rate_limit.burst" => of(view, "requests"),
        "site[].body_bytes" => of(&root.table("limits"), "body_bytes"),
        "site[].policy.default_language" => of(&view.rows("versions").next()?, "language"),
        _ => None,
    }
}

/// Whether keys lie below that path.
fn is_below(path: &str) -> bool {
    KEYS.iter().any(|key| key.path.strip_prefix(path).is_some_and(|rest| rest.starts_with('.')))
}

fn literal(kind: &Kind, value: &Value) -> String {
    let quoted = |text: &str| toml::Value::from(text).to_string();
    match value {
        Value::Duration(time) => quoted(&show_duration(*time)),
        Value::Number(bytes) if matches!(kind, Kind::Size { .. }) => quoted(&show_size(*bytes)),
        Value::Number(mode) if matches!(kind, Kind::Mode) => quoted(&format!("{mode:04o}")),
        Value::Number(number) => number.to_string(),
        Value::Bool(yes) => yes.to_string(),
        Value::Text(text) => quoted(text),
        Value::Path(path) => quoted(&path.display().to_string()),
        Value::Socket(address) => quoted(&address.to_string()),
        Value::Listen(address) => quoted(&address.to_string()),
        Value::Endpoint(endpoint) => quoted(&show_upstream(endpoint)),
        Value::Statuses(range) => quoted(&show_statuses(range)),
        Value::Network(network) => quoted(&network.to_string()),
        Value::Day(seconds) => match jiff::Timestamp::from_second(*seconds) {
            Ok(midnight) => midnight.strftime("%Y-%m-%d").to_string(),
            Err(_) => quoted("a day out of range"),
        },
        // What has one is not printed.
        Value::Unreadable => String::new(),
        Value::List(list) => {
            let elements: Vec<String> = list.iter().map(|(value, _)| literal(kind, value)).collect();
            format!("[{}]", elements.join(", "))
        }
    }
}
