//! `kelisim cookies report`: the cookies that browsers really send to a site, with category, rule and counts.
//!
//! A read like any other of `logs`: under a purpose, in the audit log. Names that no rule knows come with a rule to
//! begin with. Never shows a value: none is recorded. Bounds: [`NAMES`] names, [`HOSTS`] hosts of one name.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::args::{Format, ReadArgs};
use super::escape::push_text;
use super::read::{Failure, Output, Request, ended, request, tell_gaps};
use super::rows::fit;
use super::terminal::Terminal;
use crate::clock::Timestamp;
use crate::cookies::Category;
use crate::cookies::catalogue::Catalogue;
use crate::cookies::response::is_reserved;
use crate::record::decisions::Note;
use crate::record::{Column, Projection, Value};
use crate::store::query::{Scan, Seen};

/// Arguments of `cookies report`.
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub struct ReportArgs {
    /// Where and why.
    #[command(flatten)]
    pub read: ReadArgs,
    /// The site's own rules
    #[arg(long, value_name = "FILE")]
    pub rules: Option<PathBuf>,
    /// Only cookies that no rule knows
    #[arg(long)]
    pub unknown: bool,
    /// Which records to look at; as for `logs query`
    #[arg(value_name = "FILTER")]
    pub filter: Vec<String>,
}

/// What is known of one name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Counts {
    /// Requests whose browser sent it.
    sent: u64,
    /// Of these, kept from the site.
    stripped: u64,
    /// Answers that were not allowed to set it.
    blocked: u64,
    /// Of those sent, kept from nobody in a dry run.
    would_strip: u64,
    /// Answers that were allowed to set it in a dry run.
    would_block: u64,
    hosts: BTreeSet<String>,
}

/// Everything that was counted.
#[derive(Clone, Debug, Default)]
struct Tally {
    names: BTreeMap<Vec<u8>, Counts>,
    /// Sightings of names beyond [`NAMES`].
    over: u64,
    records: u64,
}

/// `cookies report`.
pub(super) fn run(
    args: &ReportArgs,
    catalogue: &Catalogue,
    now: Timestamp,
    out: &mut Output<'_>,
) -> Result<u64, Failure> {
    if matches!(args.read.format, Format::Csv | Format::Clf) {
        return Err(Failure::Usage("the report is written as table or json".to_owned()));
    }
    let columns: Vec<&'static Column> = COLUMNS.iter().filter_map(|name| Column::by_name(name)).collect();
    let Request { grant, scan, .. } = request("cookies report", &args.read, &args.filter, &columns, now)?;
    let mut counted = 0;
    let result = tally(scan, &columns).map_err(Failure::Read).and_then(|(tally, seen)| {
        counted = tally.records;
        let text = match args.read.format {
            Format::Json => as_json(&tally, catalogue, args.unknown),
            _ => as_table(&tally, catalogue, args.unknown, out.terminal()),
        };
        out.write(&text)?;
        out.flush()?;
        tell_gaps(&seen);
        Ok(tally.names.len() as u64)
    });
    ended(grant, counted, result)
}

fn tally(scan: Scan, columns: &[&'static Column]) -> std::io::Result<(Tally, Seen)> {
    let projection = Projection::new(columns);
    let (parts, seen) = scan.showing(columns).fold(Tally::default, |tally, row| {
        let mut values = [None; COLUMNS.len()];
        row.project(&projection, &mut values);
        tally.add(&values);
    })?;
    Ok((parts.into_iter().fold(Tally::default(), Tally::merged), seen))
}

impl Tally {
    fn add(&mut self, [host, sent, stripped, blocked, done]: &[Option<Value<'_>>; COLUMNS.len()]) {
        self.records += 1;
        let host = match host {
            Some(Value::Text(host)) => String::from_utf8_lossy(host).into_owned(),
            _ => String::new(),
        };
        let dry_run = Note::DryRun.label().as_bytes();
        let is_dry_run = matches!(done, Some(Value::List(words)) if words.iter().any(|word| word == dry_run));
        for (list, which) in [(sent, 0), (stripped, 1), (blocked, 2)] {
            let Some(Value::List(names)) = list else { continue };
            // A request may carry several copies of one name.
            let names: BTreeSet<&[u8]> = names.iter().filter(|name| !name.is_empty()).collect();
            for name in names {
                let Some(counts) = self.of(name) else { continue };
                // Names of ours are kept out in a dry run as well.
                match (which, is_dry_run && !is_reserved(name)) {
                    (0, _) => counts.sent += 1,
                    (1, false) => counts.stripped += 1,
                    (1, true) => counts.would_strip += 1,
                    (_, false) => counts.blocked += 1,
                    (_, true) => counts.would_block += 1,
                }
                if counts.hosts.len() < HOSTS && !host.is_empty() && !counts.hosts.contains(&host) {
                    counts.hosts.insert(host.clone());
                }
            }
        }
    }

    fn of(&mut self, name: &[u8]) -> Option<&mut Counts> {
        if self.names.len() >= NAMES && !self.names.contains_key(name) {
            self.over += 1;
            return None;
        }
        Some(self.names.entry(name.to_vec()).or_default())
    }

    fn merged(mut self, other: Self) -> Self {
        self.records += other.records;
        self.over += other.over;
        for (name, more) in other.names {
            let Some(counts) = self.of(&name) else { continue };
            counts.sent += more.sent;
            counts.stripped += more.stripped;
            counts.blocked += more.blocked;
            counts.would_strip += more.would_strip;
            counts.would_block += more.would_block;
            counts.hosts.extend(more.hosts);
            while counts.hosts.len() > HOSTS {
                counts.hosts.pop_last();
            }
        }
        self
    }

    /// The names, the most frequent first.
    fn ordered(&self, catalogue: &Catalogue, unknown: bool) -> Vec<(&[u8], &Counts)> {
        let wanted = |name: &[u8]| !unknown || catalogue.classify(name).category == Category::Unknown;
        let mut all: Vec<_> =
            self.names.iter().map(|(n, c)| (n.as_slice(), c)).filter(|(n, _)| wanted(n)).collect();
        all.sort_by_key(|(name, counts)| {
            (std::cmp::Reverse(counts.sent + counts.blocked + counts.would_block), *name)
        });
        all
    }
}

/// Lines of cookies are cut to the terminal; rules to copy are not.
fn as_table(tally: &Tally, catalogue: &Catalogue, unknown: bool, terminal: Terminal) -> String {
    let dry_run = tally.names.values().any(|counts| counts.would_strip + counts.would_block > 0);
    let would = if dry_run { "  would be stripped  would be blocked" } else { "" };
    let mut out = String::new();
    let mut line = format!("    sent  stripped   blocked{would}  category     name, rule, hosts");
    let mut push = |line: &mut String| {
        fit(line, terminal);
        out.push_str(line);
        out.push('\n');
        line.clear();
    };
    push(&mut line);
    let mut suggestions = BTreeSet::new();
    for (name, counts) in tally.ordered(catalogue, unknown) {
        let explained = catalogue.explain(name);
        let Counts { sent, stripped, blocked, would_strip, would_block, hosts } = counts;
        let category = explained.class.category;
        let _ = write!(line, "{sent:>8} {stripped:>9} {blocked:>9}");
        if dry_run {
            let _ = write!(line, "  {would_strip:>17}  {would_block:>16}");
        }
        let _ = write!(line, "  {:<12} ", category.label());
        push_text(&mut line, name);
        if let Some(rule) = explained.rule {
            let _ = write!(line, "  {} ({}, {})", rule.pattern, rule.owner, rule.tier.label());
        }
        for host in hosts {
            line.push_str("  ");
            push_text(&mut line, host.as_bytes());
        }
        push(&mut line);
        if category == Category::Unknown {
            suggestions.extend(suggestion(name));
        }
    }
    if tally.over > 0 {
        let _ = writeln!(out, "{} sightings of further names: too many different ones", tally.over);
    }
    if !suggestions.is_empty() {
        out.push_str("\nNo rule knows some of them. For the file that cookies.rules names, once you know what they are for:\n\nrules = [\n");
        for line in suggestions {
            let _ = writeln!(out, "    {line},");
        }
        out.push_str("]\n");
    }
    out
}

fn as_json(tally: &Tally, catalogue: &Catalogue, unknown: bool) -> String {
    let cookies: Vec<_> = tally
        .ordered(catalogue, unknown)
        .into_iter()
        .map(|(name, counts)| {
            let explained = catalogue.explain(name);
            let rule = explained
                .rule
                .map(|rule| json!({ "match": rule.pattern, "owner": rule.owner, "from": rule.tier.label() }));
            let is_unknown = explained.class.category == Category::Unknown;
            json!({
                "name": String::from_utf8_lossy(name),
                "category": explained.class.category.label(),
                "protected": explained.class.protected,
                "rule": rule,
                "sent": counts.sent,
                "stripped": counts.stripped,
                "blocked": counts.blocked,
                "would_be_stripped": counts.would_strip,
                "would_be_blocked": counts.would_block,
                "hosts": counts.hosts,
                "suggestion": is_unknown.then(|| suggestion(name)).flatten(),
            })
        })
        .collect();
    format!("{}\n", json!({ "records": tally.records, "cookies": cookies, "further": tally.over }))
}

/// A rule for a name that no rule knows, to be completed; none for a name that no rule can have. A name that ends like
/// an id is taken as one of many that begin alike.
fn suggestion(name: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(name).ok()?;
    let is_id = |b: u8| b.is_ascii_hexdigit() || b == b'-';
    let tail = name.iter().rev().take_while(|&&b| is_id(b)).count();
    let stem = &text[..text.len() - tail];
    let has_digit = name[name.len() - tail..].iter().any(u8::is_ascii_digit);
    let (sign, text) =
        if tail >= ID_CHARS && has_digit && stem.len() >= STEM_CHARS { ('^', stem) } else { ('=', text) };
    let pattern = serde_json::to_string(&format!("{sign}{text}")).ok()?;
    let line = format!("{{ match = {pattern}, category = \"unknown\", owner = \"\", source = \"field\" }}");
    Catalogue::with_operator(&format!("rules = [{line}]")).is_ok().then_some(line)
}

const COLUMNS: [&str; 5] =
    ["url.domain", "cookie.names", "cookies.stripped", "set_cookie.blocked", "decision.log"];
/// Most names that are told apart.
const NAMES: usize = 10_000;
/// Most hosts that are told for one name.
const HOSTS: usize = 8;
/// Characters of an end that is taken for an id.
const ID_CHARS: usize = 6;
/// Characters that must be left before it.
const STEM_CHARS: usize = 4;
const HELP: &str = "Written as table or json. The categories are those of the rules as they are now. What\n\
                    passed in a dry run is told apart: it would be stripped or blocked. A rule file is checked\n\
                    with `kelisim check` and tried with `kelisim cookies explain NAME --rules FILE`.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_suggested_rule_is_one_that_can_be_used() {
        for (name, pattern) in [
            ("basket_view", "=basket_view"),
            ("exp_5f3a9b21c4", "^exp_"),
            ("a\"b\\c", "=a\\\"b\\\\c"),
            ("theme2", "=theme2"),
            ("facade", "=facade"),
        ] {
            let line = suggestion(name.as_bytes()).expect(name);
            assert!(line.contains(&format!("match = \"{pattern}\"")), "{line}");
            let catalogue = Catalogue::with_operator(&format!("rules = [{line}]")).expect("a rule");
            assert!(catalogue.classify(name.as_bytes()).rule.is_some(), "{name}");
        }
        for name in [&b"\xff"[..], b"a\x01", b"", b"PHPSESSID"] {
            assert_eq!(suggestion(name), None, "{}", name.escape_ascii());
        }
    }

    #[test]
    fn lines_are_cut_to_the_terminal_and_rules_to_copy_are_not() {
        let mut tally = Tally::default();
        let name = format!("shop_{}", "x".repeat(90));
        tally.of(name.as_bytes()).expect("room").sent = 1;
        let catalogue = Catalogue::builtin();
        let table = |width| as_table(&tally, &catalogue, false, Terminal { width, colour: false });
        let cut = table(Some(80));
        let mut lines = cut.lines();
        assert!(lines.by_ref().take(2).all(|line| line.chars().count() <= 80), "{cut}");
        assert!(lines.any(|line| line.contains(&format!("={name}"))), "{cut}");
        assert!(table(None).lines().nth(1).is_some_and(|line| line.contains(&name)));
    }

    #[test]
    fn names_beyond_the_limit_are_counted() {
        let mut tally = Tally::default();
        for i in 0..NAMES + 3 {
            tally.of(format!("n{i}").as_bytes());
        }
        assert_eq!((tally.names.len(), tally.over), (NAMES, 3));
    }
}
