//! `kelisim check`: all mistakes of a configuration at once, for people or as JSON.
//!
//! What the configuration names is opened as at a start, and warnings tell what of this machine would be in its way. Never
//! starts anything. Bound: the configuration.

use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;

use crate::agents::{Data, Role};
use crate::clock;
use crate::config::{self, Problems, Records};
use crate::server::{certificates, surroundings, trial};

/// Checks the file and writes the answer to standard output: exit code 0 if it is fine, 1 if not. Warnings go to
/// standard error.
///
/// # Errors
/// When standard output cannot be written.
pub fn check(file: &Path, json: bool) -> io::Result<ExitCode> {
    let mut out = io::stdout().lock();
    let colour = is_coloured(out.is_terminal());
    let read = config::read_and_open(file, config::environment(), trial::unusable);
    if let Ok(config) = &read {
        let rules = rule_files(&config.records);
        let certificates = certificates::of_files(config, clock::now());
        let obstacles = surroundings::obstacles(config);
        let all = config.warnings().into_iter().chain(certificates).chain(rules).chain(obstacles);
        all.for_each(|warning| eprintln!("warning: {warning}"));
    }
    let problems = read.err();
    report(file, problems.as_ref(), json, colour, &mut out)?;
    Ok(if problems.is_some() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Whether to colour what goes to a terminal: unless `NO_COLOR` is set and not empty.
pub(super) fn is_coloured(terminal: bool) -> bool {
    terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// What is wrong with the rules for user agents: a gateway starts without them.
fn rule_files(records: &Records) -> Vec<String> {
    let files = [(Role::Agents, &records.user_agent_data), (Role::Bots, &records.bot_data)];
    let looked = files.into_iter().filter_map(|(role, path)| {
        let path = path.as_ref()?;
        let error = Data::load(role, path).err()?;
        let why = crate::error::chain(&error);
        Some(format!(
            "{}: {} cannot be used: {why}; the built-in table would be used",
            role.key(),
            path.display()
        ))
    });
    looked.collect()
}

fn report(
    file: &Path,
    problems: Option<&Problems>,
    json: bool,
    colour: bool,
    out: &mut impl Write,
) -> io::Result<()> {
    match problems {
        None if json => writeln!(out, "[]"),
        None => writeln!(out, "{}: fine", file.display()),
        Some(problems) if json => writeln!(out, "{}", problems.to_json().map_err(io::Error::other)?),
        Some(problems) => {
            let count = problems.list().len() + problems.more();
            let plural = if count == 1 { "" } else { "s" };
            writeln!(out, "{}\n{count} problem{plural}", problems.render(colour))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(toml: &str, json: bool) -> String {
        let problems = config::parse_pure(toml.as_bytes()).err();
        let mut out = Vec::new();
        report(Path::new("kelisim.toml"), problems.as_ref(), json, false, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    const FINE: &str =
        "[[listen]]\naddress = \"[::]:8080\"\n[[site]]\nhosts = [\"a\"]\nupstream = [\"http://b\"]\n";

    #[test]
    fn fine_is_said_in_a_word() {
        assert_eq!(said(FINE, false), "kelisim.toml: fine\n");
        assert_eq!(said(FINE, true), "[]\n");
    }

    #[test]
    fn problems_are_told_with_line_caret_and_hint() {
        let expected = "\
kelisim.toml:7:1: limits.head_byte: unknown key
   7 | head_byte = 1
     | ^^^^^^^^^
   hint: did you mean `head_bytes`?

1 problem
";
        assert_eq!(said(&format!("{FINE}[limits]\nhead_byte = 1\n"), false), expected);
    }

    #[test]
    fn json_has_six_fields() {
        let json: serde_json::Value = serde_json::from_str(&said("a = 1", true)).unwrap();
        let first = json[0].as_object().unwrap();
        let mut names: Vec<&str> = first.keys().map(String::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["column", "file", "hint", "key", "line", "message"]);
        assert_eq!((&first["line"], &first["column"], &first["key"]), (&1.into(), &1.into(), &"a".into()));
    }
}
