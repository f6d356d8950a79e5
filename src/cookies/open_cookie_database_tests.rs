//! The built-in catalogue against the Open Cookie Database: an oracle, never a source. Every difference is reviewed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::Deserialize;

use super::*;

/// A row of the database.
struct Row {
    category: String,
    /// Without the wildcard.
    name: String,
    /// Where the database has seen it; empty: on sites' own hosts.
    host: String,
    is_prefix: bool,
}

impl Row {
    /// A name that the row is about: a prefix is continued as most are.
    fn example(&self) -> String {
        let name = self.name.trim_end_matches('*');
        if self.is_prefix { format!("{name}1") } else { name.to_owned() }
    }

    fn is(&self, categories: &[&str]) -> bool {
        categories.contains(&self.category.as_str())
    }
}

/// The rows, or `None` with a line that says so.
fn rows() -> Option<Vec<Row>> {
    let corpora = std::env::var("KELISIM_CORPORA").unwrap_or_else(|_| "../shared/corpora".to_owned());
    let path = Path::new(&corpora).join("open-cookie-database/open-cookie-database.csv");
    let Ok(text) = std::fs::read_to_string(path) else {
        eprintln!("skipped: corpus open-cookie-database not found");
        return None;
    };
    let row = |fields: Vec<String>| Row {
        category: fields[2].clone(),
        name: fields[3].trim().to_owned(),
        host: fields[4].trim().trim_matches('\u{200b}').to_owned(),
        is_prefix: fields[9].trim() == "1",
    };
    let rows: Vec<Row> = csv(&text).into_iter().skip(1).map(row).collect();
    assert_eq!(rows.len(), 2264);
    Some(rows)
}

/// Why rows are not covered.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Review {
    group: Vec<Group>,
    elsewhere: Vec<Elsewhere>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Group {
    reason: String,
    names: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Elsewhere {
    reason: String,
    hosts: Vec<String>,
}

fn review() -> Review {
    toml::from_str(include_str!("marketing_review.toml")).expect("the review")
}

/// Advertising here, something harmless there: the reason of each.
const HARMLESS_THERE: &[(&str, &str)] = &[
    ("li_fat_id", "a click identifier of advertising, by its owner's documentation"),
    ("li_giant", "holds the click identifier for conversion tracking"),
];

#[test]
fn nothing_that_a_site_needs_is_called_advertising() {
    let Some(rows) = rows() else { return };
    let catalogue = Catalogue::builtin();
    let harmless = ["Necessary", "Functional", "Security", "Personalization"];
    assert_eq!(rows.iter().filter(|row| row.is(&harmless)).count(), 1013);
    let marketing: BTreeSet<&str> =
        rows.iter().filter(|row| row.is(&["Marketing"])).map(|row| row.name.as_str()).collect();
    let called: BTreeSet<&str> = rows
        .iter()
        .filter(|row| row.is(&harmless) && !marketing.contains(row.name.as_str()))
        .filter(|row| catalogue.classify(row.example().as_bytes()).category == Category::Advertising)
        .map(|row| row.name.as_str())
        .collect();
    assert_eq!(called, HARMLESS_THERE.iter().map(|(name, _)| *name).collect());
    for (_, rule) in catalogue.all().filter(|(_, rule)| rule.tier.protects()) {
        assert_ne!(rule.category, Category::Advertising, "{}", rule.pattern);
    }
}

#[test]
fn a_rule_that_names_the_database_as_its_source_is_in_it() {
    let Some(rows) = rows() else { return };
    let catalogue = Catalogue::builtin();
    for (_, rule) in catalogue.all().filter(|(_, rule)| rule.source == Source::Ocd) {
        let expected = match rule.category {
            Category::Advertising => "Marketing",
            Category::Analytics => "Analytics",
            _ => "Functional",
        };
        let known = rows.iter().any(|row| row.name == rule.text() && row.category == expected);
        assert!(known, "{} is not {expected} there", rule.pattern);
    }
}

#[test]
fn every_marketing_row_is_covered_or_has_its_reason() {
    let Some(rows) = rows() else { return };
    let (catalogue, review) = (Catalogue::builtin(), review());
    let mut open: BTreeMap<&str, bool> = BTreeMap::new();
    for group in &review.group {
        assert!(group.reason.len() > 20 && !group.names.is_empty());
        for name in &group.names {
            assert!(open.insert(name, false).is_none(), "{name} is there twice");
        }
    }
    let hosts: Vec<&str> = review.elsewhere.iter().flat_map(|e| &e.hosts).map(String::as_str).collect();
    assert!(review.elsewhere.iter().all(|e| e.reason.len() > 20));
    assert_eq!(hosts.iter().collect::<BTreeSet<_>>().len(), hosts.len(), "a host is there twice");
    let mut met = BTreeSet::new();
    let (mut covered, mut named, mut elsewhere, mut undecided) = (0, 0, 0, Vec::new());
    for row in rows.iter().filter(|row| row.is(&["Marketing"])) {
        let host = hosts.iter().find(|host| is_on(&row.host, host));
        met.extend(host);
        if catalogue.classify(row.example().as_bytes()).category == Category::Advertising {
            covered += 1;
        } else if let Some(found) = open.get_mut(row.name.as_str()) {
            *found = true;
            named += 1;
        } else if host.is_some() {
            elsewhere += 1;
        } else {
            undecided.push(format!("{} <{}>", row.name, row.host));
        }
    }
    assert!(undecided.is_empty(), "neither covered nor reviewed: {undecided:#?}");
    let stale: Vec<_> = open.iter().filter(|(_, found)| !**found).collect();
    assert!(stale.is_empty(), "reviewed, but not there or covered by now: {stale:?}");
    assert_eq!(met.len(), hosts.len(), "hosts that are not there: {:?}", missing(&hosts, &met));
    assert_eq!((covered, named, elsewhere), (152, 227, 482));
}

/// What would show that a row which its host alone excuses is a cookie of sites: a rule for another cookie of that host, a
/// rule for its name, or the same name on another host or on none.
#[test]
fn no_host_hides_a_cookie_that_sites_have() {
    let Some(rows) = rows() else { return };
    let (catalogue, review) = (Catalogue::builtin(), review());
    let hosts: Vec<&str> = review.elsewhere.iter().flat_map(|e| &e.hosts).map(String::as_str).collect();
    let named: BTreeSet<&str> =
        review.group.iter().flat_map(|group| &group.names).map(String::as_str).collect();
    let excused = |row: &Row| hosts.iter().any(|host| is_on(&row.host, host));
    let class = |row: &Row| catalogue.classify(row.example().as_bytes()).category;
    let marketing = || rows.iter().filter(|row| row.is(&["Marketing"]) && excused(row));
    for row in marketing() {
        assert_ne!(class(row), Category::Advertising, "{} <{}>: name its host's cookies", row.name, row.host);
    }
    let mut by_host = 0;
    for row in marketing().filter(|row| !named.contains(row.name.as_str())) {
        by_host += 1;
        assert_eq!(class(row), Category::Unknown, "{} <{}> has a rule", row.name, row.host);
        let seen = rows.iter().find(|other| other.name == row.name && !excused(other));
        assert!(seen.is_none(), "{} <{}> is also at {:?}", row.name, row.host, seen.map(|r| &r.host));
    }
    assert_eq!(by_host, 482);
}

fn missing<'h>(hosts: &[&'h str], met: &BTreeSet<&&str>) -> Vec<&'h str> {
    hosts.iter().filter(|host| !met.contains(host)).copied().collect()
}

/// Whether what the database says about a host names this one or one below it.
fn is_on(said: &str, host: &str) -> bool {
    said.split(' ')
        .any(|word| word.strip_suffix(host).is_some_and(|rest| rest.is_empty() || rest.ends_with('.')))
}

/// Names that the database calls marketing and that pass here whatever the visitor chose must be in the review.
#[test]
fn what_passes_in_every_state_was_reviewed() {
    let Some(rows) = rows() else { return };
    let catalogue = Catalogue::builtin();
    let review = review();
    let names: BTreeSet<&str> =
        review.group.iter().flat_map(|group| &group.names).map(String::as_str).collect();
    for row in rows.iter().filter(|row| row.is(&["Marketing"])) {
        let class = catalogue.classify(row.example().as_bytes());
        let passes = class.protected || matches!(class.category, Category::Necessary | Category::Security);
        assert!(!passes || names.contains(row.name.as_str()), "{} passes without a reason", row.name);
    }
}

/// Rows of a CSV text with quoted fields.
fn csv(text: &str) -> Vec<Vec<String>> {
    let (mut rows, mut row, mut field, mut quoted) = (Vec::new(), Vec::new(), String::new(), false);
    for c in text.chars() {
        match c {
            // A doubled quote closes and opens again: the field goes on, and loses a quote that no name needs.
            '"' => quoted = !quoted,
            ',' if !quoted => row.push(std::mem::take(&mut field)),
            '\n' if !quoted => {
                row.push(std::mem::take(&mut field));
                rows.push(std::mem::take(&mut row));
            }
            '\r' if !quoted => {}
            _ => field.push(c),
        }
    }
    if !row.is_empty() {
        row.push(field);
        rows.push(row);
    }
    rows
}
