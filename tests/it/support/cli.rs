//! The program's other verbs, and what they print.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::gateway::run;

/// What a command came to.
#[derive(Debug)]
pub struct Said {
    /// Exit code.
    pub code: i32,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

/// The program, without what the environment of the tests would tell it.
pub fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kelisim"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("KELISIM_") {
            command.env_remove(name);
        }
    }
    command.env("NO_COLOR", "1").env("COLUMNS", "100");
    command
}

/// The program as another one starts it: that one's words come first.
pub fn command_through(starter: &[String]) -> Command {
    let [program, arguments @ ..] = starter else { return command() };
    let plain = command();
    let mut command = Command::new(program);
    command.args(arguments).arg(plain.get_program());
    for (name, value) in plain.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command
}

/// Runs the program with these arguments.
pub fn kelisim<S: AsRef<std::ffi::OsStr>>(arguments: &[S]) -> Said {
    let output = run(command().args(arguments));
    let said = Said {
        code: output.status.code().expect("an exit code"),
        out: String::from_utf8(output.stdout).expect("UTF-8"),
        err: String::from_utf8(output.stderr).expect("UTF-8"),
    };
    assert!(!said.err.contains("panicked"), "{}", said.err);
    said
}

/// `kelisim logs query` as JSON, oldest record first; `more` are further arguments.
pub fn records(data: &Path, more: &[&str]) -> Vec<Value> {
    let data = data.to_str().expect("a path");
    let said = kelisim(&[&["logs", "query", "--data", data, "--format", "json"], more].concat());
    assert_eq!(said.code, 0, "{said:?}");
    let mut all: Vec<Value> = said
        .out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}")))
        .collect();
    all.reverse();
    all
}

/// All records as another purpose than support sees them.
pub fn records_for(data: &Path, purpose: &str) -> Vec<Value> {
    records(data, &["--purpose", purpose, "--reason", "a test"])
}
