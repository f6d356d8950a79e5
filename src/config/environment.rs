//! `KELISIM_*` variables that override keys.
//!
//! `KELISIM_LIMITS__HEAD_BYTES=131072` stands for `limits.head_bytes`, with `_` for a hyphen. A variable with `__` that names
//! no key is a mistake, and so is a key's with one `_` too few; any other may belong to somebody else (Kubernetes sets
//! `KELISIM_PORT` for a service of that name) and is left alone. Never reads keys inside arrays of tables. Bound: the
//! environment.

use toml::Spanned;
use toml::de::{DeArray, DeValue};

use super::problem::{Fault, Mistakes, Place, shown};
use super::reference::{ENVIRONMENT_PREFIX, KEYS, Key, Kind};
use super::value::{Author, Reader, nearest};
use super::walk::Values;

/// The variables of this process that begin with `KELISIM_`; bytes that are not UTF-8 become U+FFFD, which no key
/// accepts.
pub fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os().filter_map(|(name, value)| {
        let name = name.into_string().ok()?;
        name.starts_with(ENVIRONMENT_PREFIX).then(|| (name, value.to_string_lossy().into_owned()))
    })
}

/// Reads the overrides into `values`.
pub(super) fn overrides(
    env: impl Iterator<Item = (String, String)>,
    values: &mut Values,
    reader: &mut Reader<'_>,
) {
    for (name, text) in env.filter(|(name, _)| name.starts_with(ENVIRONMENT_PREFIX)) {
        let found = KEYS.iter().find(|key| key.environment().as_deref() == Some(name.as_str()));
        let Some(key) = found else {
            if name.contains("__") {
                unknown(&name, reader.mistakes);
            } else if let Some(meant) =
                KEYS.iter().filter_map(Key::environment).find(|k| k.replace("__", "_") == name)
            {
                let fault = Fault::new("no key has this variable").hint(format!("did you mean {meant}?"));
                reader.mistakes.add(&Place::Environment(shown(&name)), "", fault);
            }
            continue;
        };
        let parsed = parse(&key.kind, &text);
        if let Some(value) = reader.read(key.path, &key.kind, &parsed, Author::Environment(&name)) {
            values.insert(key, value, Place::Environment(name));
        }
    }
}

fn unknown(name: &str, mistakes: &mut Mistakes) {
    let path = name[ENVIRONMENT_PREFIX.len()..].to_ascii_lowercase().replace("__", ".");
    let fault = if KEYS.iter().any(|key| key.path.contains("[]") && key.path.replace("[]", "") == path) {
        Fault::new("keys inside arrays of tables cannot be overridden").hint("set it in the file")
    } else {
        let names: Vec<String> = KEYS.iter().filter_map(Key::environment).collect();
        let fault = Fault::new("no key has this variable");
        match nearest(name, names.iter().map(String::as_str)) {
            Some(near) => fault.hint(format!("did you mean {near}?")),
            None => fault.hint("`kelisim config reference` lists them"),
        }
    };
    mistakes.add(&Place::Environment(shown(name)), "", fault);
}

/// The text as the TOML value that a key of that kind wants; what does not fit stays a string and is told as such.
fn parse<'t>(kind: &Kind, text: &'t str) -> Spanned<DeValue<'t>> {
    let text = text.trim();
    let string = |text: &'t str| Spanned::new(0..0, DeValue::String(text.into()));
    match kind {
        Kind::Bool | Kind::Integer { .. } => DeValue::parse(text).unwrap_or_else(|_| string(text)),
        Kind::List { of, .. } => {
            let mut list = DeArray::new();
            for element in text.split(',').map(str::trim).filter(|e| !e.is_empty()) {
                list.push(parse(of, element));
            }
            Spanned::new(0..0, DeValue::Array(list))
        }
        _ => string(text),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::value::Value;

    fn with(pairs: &[(&str, &str)]) -> (Values, String) {
        let (mut values, mut mistakes) = (Values::default(), Mistakes::default());
        let mut reader = Reader { base: Path::new("/base"), mistakes: &mut mistakes };
        let env = pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        overrides(env, &mut values, &mut reader);
        (values, mistakes.finish("f", "").to_string())
    }

    #[test]
    fn every_kind_outside_arrays_can_be_set() {
        let (values, told) = with(&[
            ("KELISIM_LIMITS__HEAD_BYTES", "131072"),
            ("KELISIM_LIMITS__HEAD_FIELDS", " 300 "),
            ("KELISIM_TIMEOUTS__DRAIN", "5s"),
            ("KELISIM_CONSENT__GPC_OVER_OWN_GRANT", "true"),
            ("KELISIM_CONSENT__SOURCES", "own, gpc"),
            ("KELISIM_CONSENT__TCF_PURPOSES", "1, 2,3"),
            ("KELISIM_RECORDS__RETENTION__SUPPORT", "10d"),
            ("KELISIM_RECORDS__DIR", "data"),
            ("KELISIM_WORKERS", "2"),
            ("KELISIM_RISK__CAP__NEW_COUNTRY", "low"),
        ]);
        assert_eq!(told, "");
        let root = values.root();
        assert_eq!(root.number("limits.head_bytes"), Some(131_072));
        assert_eq!(root.number("limits.head_fields"), Some(300));
        assert_eq!(root.list("consent.sources").len(), 2);
        let purposes = root.list("consent.tcf_purposes").iter().map(|(value, _)| value.clone());
        assert_eq!(purposes.collect::<Vec<_>>(), [1, 2, 3].map(Value::Number));
        assert_eq!(root.entry("records.dir").unwrap().value, Value::Path("/base/data".into()));
        assert_eq!(root.number("workers"), Some(2));
        assert_eq!(root.text("risk.cap.new-country"), Some("low"));
    }

    #[test]
    fn a_wrong_value_names_the_variable() {
        let (_, told) = with(&[("KELISIM_LIMITS__HEAD_FIELDS", "many")]);
        assert!(told.starts_with(
            "environment: KELISIM_LIMITS__HEAD_FIELDS: limits.head_fields: expected an integer"
        ));
        let (_, list) = with(&[("KELISIM_CONSENT__TCF_PURPOSES", "1,two")]);
        assert!(list.contains("consent.tcf_purposes[1]: expected an integer"), "{list}");
        // There are no quotes to leave out.
        assert!(!told.contains("hint") && !list.contains("hint"), "{told}{list}");
    }

    #[test]
    fn unknown_variables_are_told_only_if_they_can_be_ours() {
        let (_, told) = with(&[("KELISIM_LIMITS__HEAD_BYTE", "1")]);
        assert!(told.contains("did you mean KELISIM_LIMITS__HEAD_BYTES?"), "{told}");
        let (_, told) = with(&[("KELISIM_LIMITS_HEAD_BYTES", "1")]);
        assert!(told.contains("did you mean KELISIM_LIMITS__HEAD_BYTES?"), "{told}");
        let others =
            [("KELISIM_PORT", "tcp://10.0.0.1:80"), ("KELISIM_SERVICE_HOST", "x"), ("OTHER__THING", "1")];
        assert_eq!(with(&others).1, "");
        assert!(with(&[("KELISIM_LISTEN__ADDRESS", "x")]).1.contains("cannot be overridden"));
    }
}
