//! Reads one file of callgrind's format: what each function and each part of this crate cost.
//!
//! Names are compressed (`(7) name` once, `(7)` afterwards); `fl`, `fi` and `fe` name the file that the next costs
//! belong to, inlined code included; the line after `calls` is what a call cost altogether. Bound: the file.

use std::collections::HashMap;

/// Costs in instructions by name.
pub(crate) type Costs = HashMap<String, u64>;

/// Costs of one thread.
#[derive(Debug, Default)]
pub(crate) struct Profile {
    /// Its number.
    pub(crate) thread: String,
    /// All of them.
    pub(crate) total: u64,
    /// All of them as callgrind itself added them up.
    pub(crate) told: u64,
    /// Per function, without what it called.
    pub(crate) own: Costs,
    /// Per function, with what it called; recursion counts more than once.
    pub(crate) inclusive: Costs,
    /// Per source file of this crate, with the libraries that it calls; everything else is [`SERVER`].
    pub(crate) parts: Costs,
    /// Per crate, code inlined elsewhere included; this crate is one.
    pub(crate) crates: Costs,
}

/// What is not done by a file of this crate nor called from one.
pub(crate) const SERVER: &str = "(hyper's server, tokio, and the rest)";

impl Profile {
    /// Reads a file's text; lines that it does not understand cost nothing.
    pub(crate) fn parse(text: &str) -> Self {
        let mut profile = Self::default();
        let mut names = Names::default();
        let mut at = Place::default();
        for line in text.lines() {
            if let Some((key, value)) = line.split_once('=') {
                at.read(key, value, &mut names);
            } else if let Some(thread) = line.strip_prefix("thread: ") {
                thread.clone_into(&mut profile.thread);
            } else if let Some(told) = line.strip_prefix("totals: ") {
                profile.told = told.trim().parse().unwrap_or(0);
            } else if let Some(cost) = cost(line) {
                profile.add(&mut at, cost);
            }
        }
        let parts: u64 = profile.parts.values().sum();
        profile.parts.insert(SERVER.to_owned(), profile.total.saturating_sub(parts));
        profile
    }

    fn add(&mut self, at: &mut Place, cost: u64) {
        add(&mut self.inclusive, &at.function, cost);
        let called = at.called.take();
        if called.is_none() {
            self.total += cost;
            add(&mut self.own, &at.function, cost);
            add(&mut self.crates, &origin(&at.file).0, cost);
        }
        // What a library calls back into this crate is not the caller's cost; hyper and tokio's tasks do that.
        if is_own(&at.function) && called.as_deref().is_none_or(|name| !is_own(name) && !is_driver(name)) {
            add(&mut self.parts, at.part.as_deref().unwrap_or("(generated)"), cost);
        }
    }
}

/// Where the reader is in the file.
#[derive(Default)]
struct Place {
    function: String,
    file: String,
    /// The last file of this crate since the function began: the standard library is inlined into it.
    part: Option<String>,
    callee: String,
    called: Option<String>,
}

impl Place {
    fn read(&mut self, key: &str, value: &str, names: &mut Names) {
        match key {
            "fn" => {
                self.function = resolve(&mut names.functions, value);
                self.part = origin(&self.file).1;
            }
            "fl" | "fi" | "fe" => {
                self.file = resolve(&mut names.files, value);
                self.part = origin(&self.file).1.or(self.part.take());
            }
            "cfi" | "cfl" => drop(resolve(&mut names.files, value)),
            "cfn" => self.callee = resolve(&mut names.functions, value),
            "calls" => self.called = Some(std::mem::take(&mut self.callee)),
            _ => {}
        }
    }
}

/// Names that stand for numbers.
#[derive(Default)]
struct Names {
    functions: HashMap<String, String>,
    files: HashMap<String, String>,
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

fn add(costs: &mut Costs, name: &str, cost: u64) {
    if let Some(sum) = costs.get_mut(name) {
        *sum += cost;
    } else {
        costs.insert(name.to_owned(), cost);
    }
}

fn is_own(function: &str) -> bool {
    function.contains("kelisim")
}

fn is_driver(function: &str) -> bool {
    ["hyper::proto", "hyper::server", "tokio::runtime", "tokio::task"]
        .iter()
        .any(|name| function.contains(name))
}

/// The crate of a file, and its path below `src` if the crate is this one.
fn origin(file: &str) -> (String, Option<String>) {
    let parts: Vec<&str> = file.split('/').collect();
    let after = |name: &str| parts.iter().position(|part| *part == name).map(|at| &parts[at + 1..]);
    if let Some(rest) = after("registry") {
        return (rest.get(2).copied().unwrap_or(file).to_owned(), None);
    }
    if let Some(rest) = after("library") {
        return (rest.first().copied().unwrap_or(file).to_owned(), None);
    }
    match after("src") {
        Some(rest) => ("kelisim".to_owned(), Some(rest.join("/"))),
        None => (file.to_owned(), None),
    }
}
