//! Reads one file of callgrind's format: what each function and each source file cost.
//!
//! Names are compressed (`(7) name` once, `(7)` afterwards); `fl`, `fi` and `fe` name the file that the next costs
//! belong to, inlined code included; the line after `calls` is what a call cost altogether. Bound: the file.

use std::collections::HashMap;

/// Costs of one thread in instructions.
#[derive(Debug, Default)]
pub(crate) struct Profile {
    /// Its number.
    pub(crate) thread: String,
    /// All of them.
    pub(crate) total: u64,
    /// All of them as callgrind itself added them up.
    pub(crate) told: u64,
    /// Per function, without what it called.
    pub(crate) own: HashMap<String, u64>,
    /// Per function, with what it called; recursion counts more than once.
    pub(crate) inclusive: HashMap<String, u64>,
    files: HashMap<String, u64>,
}

impl Profile {
    /// Reads a file's text; lines that it does not understand cost nothing.
    pub(crate) fn parse(text: &str) -> Self {
        let mut profile = Self::default();
        let mut names = Names::default();
        let (mut function, mut file, mut called) = (String::new(), String::new(), false);
        for line in text.lines() {
            if let Some((key, value)) = line.split_once('=') {
                match key {
                    "fn" => function = names.function(value),
                    "fl" | "fi" | "fe" => file = names.file(value),
                    "cfi" | "cfl" => drop(names.file(value)),
                    "cfn" => drop(names.function(value)),
                    "calls" => called = true,
                    _ => {}
                }
            } else if let Some(thread) = line.strip_prefix("thread: ") {
                profile.thread = thread.to_owned();
            } else if let Some(told) = line.strip_prefix("totals: ") {
                profile.told = told.trim().parse().unwrap_or(0);
            } else if let Some(cost) = cost(line) {
                *profile.inclusive.entry(function.clone()).or_default() += cost;
                if !called {
                    profile.total += cost;
                    *profile.own.entry(function.clone()).or_default() += cost;
                    *profile.files.entry(file.clone()).or_default() += cost;
                }
                called = false;
            }
        }
        profile
    }

    /// Own costs per crate, and per module for this crate: inlined code counts where it was written.
    pub(crate) fn by_module(&self) -> HashMap<String, u64> {
        let mut modules = HashMap::new();
        for (file, cost) in &self.files {
            *modules.entry(module(file)).or_default() += cost;
        }
        modules
    }
}

/// Names that stand for numbers.
#[derive(Default)]
struct Names {
    functions: HashMap<String, String>,
    files: HashMap<String, String>,
}

impl Names {
    fn function(&mut self, value: &str) -> String {
        resolve(&mut self.functions, value)
    }

    fn file(&mut self, value: &str) -> String {
        resolve(&mut self.files, value)
    }
}

fn resolve(names: &mut HashMap<String, String>, value: &str) -> String {
    let Some((number, name)) = value.split_once(')') else { return value.to_owned() };
    let name = name.trim();
    if name.is_empty() {
        return names.get(number).cloned().unwrap_or_default();
    }
    names.insert(number.to_owned(), name.to_owned());
    name.to_owned()
}

/// The cost on a line `POSITION COST`.
fn cost(line: &str) -> Option<u64> {
    let (position, cost) = line.split_once(' ')?;
    let first = position.bytes().next()?;
    (first.is_ascii_digit() || matches!(first, b'+' | b'-' | b'*')).then(|| cost.trim().parse().ok())?
}

/// `hyper-1.12.0`, `kelisim forward/pool.rs`, `core`, or the file itself.
fn module(file: &str) -> String {
    let parts: Vec<&str> = file.split('/').collect();
    let after = |name: &str| parts.iter().position(|part| *part == name).map(|at| &parts[at + 1..]);
    if let Some(rest) = after("registry") {
        return rest.get(2).copied().unwrap_or(file).to_owned();
    }
    if let Some(rest) = after("library") {
        return rest.first().copied().unwrap_or(file).to_owned();
    }
    match after("src") {
        Some(rest) => format!("kelisim {}", rest.join("/")),
        None => file.to_owned(),
    }
}
