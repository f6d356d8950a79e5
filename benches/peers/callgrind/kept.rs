//! The figures that are kept in the repository: what a request costs altogether, and in each step of its life.
//!
//! The total is held to [`TOLERANCE`]; the steps tell where a difference lies. A step is the cost of its source files
//! with the libraries they call, so a function that is inlined elsewhere stays where it was written. Never changes the
//! file unless asked to. Bound: the file.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;

use serde::Deserialize;

use super::profile::{Profile, SERVER};
use crate::Fallible;
use crate::child::says;

/// How much more than the kept total is still the same.
const TOLERANCE: f64 = 0.03;

/// Instructions per request.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Figures {
    /// The compiler that built the gateway: another one may come to other figures.
    compiler: String,
    /// All threads.
    total: u64,
    /// By step, in no order.
    steps: BTreeMap<String, u64>,
}

impl Figures {
    /// What was counted. The busiest thread, which comes first, is the worker.
    pub(crate) fn of(profiles: &[Profile], requests: f64) -> Self {
        let per_request = |cost: u64| (cost as f64 / requests).round() as u64;
        let mut costs: BTreeMap<&str, u64> = STEPS.iter().map(|(step, ..)| (*step, 0)).collect();
        let (worker, others) = profiles.split_first().map_or((None, profiles), |(w, rest)| (Some(w), rest));
        for (part, cost) in worker.into_iter().flat_map(|worker| &worker.parts) {
            *costs.entry(step_of(part)).or_default() += cost;
        }
        *costs.entry(JOURNAL).or_default() += others.iter().map(|profile| profile.total).sum::<u64>();
        Self {
            compiler: says("rustc", &["--version"]).unwrap_or_default(),
            total: per_request(profiles.iter().map(|profile| profile.total).sum()),
            steps: costs.into_iter().map(|(step, cost)| (step.to_owned(), per_request(cost))).collect(),
        }
    }

    /// Those of the repository.
    pub(crate) fn kept() -> Fallible<Self> {
        let text = std::fs::read_to_string(path())?;
        toml::from_str(&text).map_err(|error| format!("{}: {error}", path().display()).into())
    }

    /// Keeps these in the repository.
    pub(crate) fn keep(&self) -> Fallible<()> {
        std::fs::write(path(), self.to_toml())?;
        println!("\nwritten: {}", path().display());
        Ok(())
    }

    /// Prints both, step by step.
    ///
    /// # Errors
    /// The total has grown beyond [`TOLERANCE`].
    pub(crate) fn held_to(&self, kept: &Self) -> Fallible<()> {
        println!("\n{:>10} {:>9} {:>8}  instructions per request", "kept", "now", "change");
        for (step, _, what) in STEPS {
            let of = |figures: &Self| figures.steps.get(*step).copied().unwrap_or_default();
            tell(of(kept), of(self), &format!("{step}: {what}"));
        }
        tell(kept.total, self.total, "total");
        if self.compiler != kept.compiler {
            println!("the kept figures are of {}, these of {}", kept.compiler, self.compiler);
        }
        let growth = self.total as f64 / kept.total.max(1) as f64 - 1.0;
        if growth > TOLERANCE {
            return Err(format!(
                "a request costs {} instructions, {:.1} % more than the {} that are kept. If that is meant, keep the \
                 new figures with `cargo bench --bench peers -- --callgrind --write`",
                self.total,
                growth * 100.0,
                kept.total
            )
            .into());
        }
        if growth < -TOLERANCE {
            println!("a request costs {:.1} % less: keep that with --callgrind --write", -growth * 100.0);
        }
        Ok(())
    }

    fn to_toml(&self) -> String {
        let mut text = HEAD.to_owned();
        // Writing to a string never fails.
        let _ = writeln!(text, "compiler = \"{}\"\ntotal = {}\n\n[steps]", self.compiler, self.total);
        for (step, _, what) in STEPS {
            let _ =
                writeln!(text, "{step} = {} # {what}", self.steps.get(*step).copied().unwrap_or_default());
        }
        text
    }
}

fn tell(kept: u64, now: u64, what: &str) {
    let change = (now as f64 / kept.max(1) as f64 - 1.0) * 100.0;
    println!("{kept:>10} {now:>9} {change:>+7.1}%  {what}");
}

fn step_of(part: &str) -> &'static str {
    let step = STEPS.iter().find(|(_, paths, _)| paths.iter().any(|path| part.starts_with(path)));
    step.map_or(SPINE, |(step, ..)| *step)
}

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("benches/peers/instructions.toml")
}

const SPINE: &str = "spine";
const JOURNAL: &str = "journal";

/// Each step with what its source files begin with; the first that fits.
const STEPS: &[(&str, &[&str], &str)] = &[
    ("server", &[SERVER], "hyper's server, tokio, and what is called by neither this crate"),
    ("listen", &["listen/"], "the client's bytes, their scan, deadlines"),
    (
        "ingress",
        &["ingress/", "identify/forwarded", "identify/rfc7239", "identify/written", "identify/address"],
        "the head made unambiguous, who asks",
    ),
    ("visitor", &["identify/visitor", "identify/keys"], "the visitor cookie"),
    ("consent", &["consent/"], "what was agreed to"),
    ("cookies", &["cookies/", "exchange/cookies"], "what the site and the browser may keep"),
    ("risk", &["risk/", "geo/"], "location and risk signals"),
    ("forward", &["forward/"], "the exchange with the site"),
    ("respond", &["respond/"], "the answer's head and body"),
    ("record", &["record/", "store/", "identify/"], "the record, encoded and handed over"),
    ("metrics", &["admin/"], "counters"),
    (SPINE, &[], "the spine, what is known of a request, and the rest of this crate"),
    (JOURNAL, &[], "other threads: records sealed and written"),
];

const HEAD: &str = "\
# User instructions per request with the whole job on: HTTP/1.1, 64 keep-alive connections, request and answer of about
# 1 KiB, twelve cookies. `cargo bench --bench peers -- --callgrind --check` fails when the total has grown by more than
# 3 %; `cargo bench --bench peers -- --callgrind --write` writes this file anew.
";
