//! Rules for browsers and systems from a `regexes.yaml` of uap-core.
//!
//! The first rule that matches counts, as its specification says. A family is taken only when the rules name it: a text
//! that the client could choose freely has no place among the facts without a person, so such a rule gives none. The
//! rules for devices are not read. Bound: that of [`super::patterns`].

use regex_automata::util::captures::Captures;
use regex_syntax::hir::Hir;

use super::data::{Counts, DataError};
use super::literals::is_closed;
use super::patterns::{Builder, Full, GivenUp, Patterns, Scratch};
use super::yaml::{self, Node};

/// Rules for browsers and for systems.
pub(super) struct Uap {
    browsers: Rules,
    systems: Rules,
}

/// A family and its major version. The family is absent where a rule matches without naming one.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) family: Option<String>,
    pub(super) major: Option<u64>,
}

struct Rules {
    patterns: Patterns,
    /// What each pattern says: family, major version.
    says: Vec<(Option<Template>, Template)>,
}

/// Text with groups in it.
#[derive(Debug, PartialEq, Eq)]
struct Template(Vec<Part>);

#[derive(Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Group(u32),
}

/// The names of one list of rules and of the keys of a rule.
struct Keys {
    list: &'static str,
    family: &'static str,
    major: &'static str,
}

const BROWSERS: Keys =
    Keys { list: "user_agent_parsers", family: "family_replacement", major: "v1_replacement" };
const SYSTEMS: Keys = Keys { list: "os_parsers", family: "os_replacement", major: "os_v1_replacement" };

impl Uap {
    /// Reads and compiles a file.
    ///
    /// # Errors
    /// When it is no such file, or larger than the limits. Single rules that cannot be used are left out and counted.
    pub(super) fn read(text: &str) -> Result<(Self, Counts), DataError> {
        let file = yaml::read(text).map_err(|error| DataError::Form(error.to_string()))?;
        let mut counts = Counts::default();
        let browsers = Rules::of(&file, &BROWSERS, &mut counts)?;
        let systems = Rules::of(&file, &SYSTEMS, &mut counts)?;
        counts.bytes = browsers.patterns.bytes() + systems.patterns.bytes();
        Ok((Self { browsers, systems }, counts))
    }

    /// The browser and the system; `None` where no rule matches.
    pub(super) fn find(
        &self,
        text: &[u8],
        scratch: &mut Scratch,
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<(Option<Named>, Option<Named>), GivenUp> {
        let browser = self.browsers.find(text, scratch, go_on)?;
        Ok((browser, self.systems.find(text, scratch, go_on)?))
    }
}

impl Rules {
    fn of(file: &Node, keys: &Keys, counts: &mut Counts) -> Result<Self, DataError> {
        let Some(Node::List(list)) = file.get(keys.list) else {
            return Err(DataError::Form(format!("there is no list `{}`", keys.list)));
        };
        let (mut builder, mut says) = (Builder::new(), Vec::new());
        for rule in list {
            let Some(pattern) = rule.text("regex") else {
                return Err(DataError::Form(format!("a rule of `{}` has no `regex`", keys.list)));
            };
            let any_case = rule.text("regex_flag") == Some("i");
            let Ok(hir) = Builder::parse(pattern, any_case) else {
                counts.unusable += 1;
                continue;
            };
            match builder.push(&hir).map_err(|Full| DataError::Large)? {
                Ok(_) => says.push((
                    Template::of(rule.text(keys.family), 1).of_the_rules(&hir),
                    Template::of(rule.text(keys.major), 2),
                )),
                Err(_) => counts.unusable += 1,
            }
        }
        counts.rules += says.len();
        if says.is_empty() {
            return Err(DataError::Form(format!("no rule of `{}` can be used", keys.list)));
        }
        Ok(Self { patterns: builder.build().map_err(|Full| DataError::Large)?, says })
    }

    fn find(
        &self,
        text: &[u8],
        scratch: &mut Scratch,
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<Option<Named>, GivenUp> {
        let Some(number) = self.patterns.first(text, scratch, go_on)? else { return Ok(None) };
        let Some((family, major)) = self.says.get(number) else { return Ok(None) };
        let Some(groups) = self.patterns.groups(number, text) else { return Ok(None) };
        let family = family.as_ref().and_then(|family| family.fill(text, &groups));
        let major = major.fill(text, &groups).and_then(|major| number_of(&major));
        Ok(Some(Named { family, major }))
    }
}

impl Template {
    /// What a replacement says; without one the group itself.
    fn of(replacement: Option<&str>, group: u32) -> Self {
        let Some(text) = replacement.filter(|text| !text.trim().is_empty()) else {
            return Self(vec![Part::Group(group)]);
        };
        let (mut parts, mut rest) = (Vec::new(), text);
        while let Some(at) = rest.find('$') {
            let digit = rest[at + 1..].chars().next().and_then(|c| c.to_digit(10)).filter(|d| *d > 0);
            let (before, behind) = match digit {
                Some(_) => (&rest[..at], &rest[at + 2..]),
                None => rest.split_at(at + 1),
            };
            parts.push(Part::Text(before.to_owned()));
            parts.extend(digit.map(Part::Group));
            rest = behind;
        }
        parts.push(Part::Text(rest.to_owned()));
        parts.retain(|part| !matches!(part, Part::Text(text) if text.is_empty()));
        Self(parts)
    }

    /// The template, if all that it takes from a text is one of a few values that the pattern names.
    fn of_the_rules(self, hir: &Hir) -> Option<Self> {
        let named = |part: &Part| match part {
            Part::Text(_) => true,
            Part::Group(group) => is_closed(hir, *group),
        };
        self.0.iter().all(named).then_some(self)
    }

    fn fill(&self, text: &[u8], groups: &Captures) -> Option<String> {
        let mut filled = String::new();
        for part in &self.0 {
            match part {
                Part::Text(text) => filled.push_str(text),
                Part::Group(group) => {
                    let span = groups.get_group(*group as usize);
                    let bytes = span.and_then(|span| text.get(span.range())).unwrap_or_default();
                    filled.push_str(&String::from_utf8_lossy(bytes));
                }
            }
        }
        let filled = filled.trim();
        (!filled.is_empty() && filled.len() <= LONGEST_FAMILY).then(|| filled.to_owned())
    }
}

/// A number of at most five digits; more is no version.
fn number_of(text: &str) -> Option<u64> {
    (text.len() <= 5 && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok())?
}

/// Longest family in bytes.
const LONGEST_FAMILY: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"
user_agent_parsers:
  - regex: '(?!look)around'
  - regex: '^(.{1,200})-App/(\d+)'
  - regex: '(Fire[Ff]ox)/(\d+)\.'
    family_replacement: '$1 for all'
  - regex: '(chrome)/(\d+)'
    regex_flag: 'i'
    v1_replacement: '7'
os_parsers:
  - regex: 'Windows NT 10'
    os_replacement: 'Windows'
    os_v1_replacement: '10'
  - regex: '(Android)[ -](\d+)'
"#;

    fn named(uap: &Uap, text: &str) -> (Option<Named>, Option<Named>) {
        uap.find(text.as_bytes(), &mut Scratch::default(), &mut || true).unwrap()
    }

    fn is(family: &str, major: u64) -> Option<Named> {
        Some(Named { family: Some(family.to_owned()), major: Some(major) })
    }

    #[test]
    fn the_first_rule_that_matches_names_family_and_version() {
        let (uap, counts) = Uap::read(FILE).unwrap();
        assert_eq!((counts.rules, counts.unusable), (5, 1));
        assert_eq!(
            named(&uap, "x (Windows NT 10.0) FireFox/145.0 Chrome/1"),
            (is("FireFox for all", 145), is("Windows", 10))
        );
        assert_eq!(named(&uap, "ChRoMe/142 Android 14"), (is("ChRoMe", 7), is("Android", 14)));
        assert_eq!(named(&uap, "nothing"), (None, None));
    }

    #[test]
    fn a_family_of_the_clients_choice_is_not_taken() {
        let (uap, _) = Uap::read(FILE).unwrap();
        let (browser, _) = named(&uap, "ivan@mail.example-App/3 Chrome/142");
        assert_eq!(browser, Some(Named { family: None, major: Some(3) }));
    }

    #[test]
    fn a_file_of_another_sort_is_refused() {
        for bad in [
            "",
            "a: 1",
            "user_agent_parsers: []\nos_parsers: []",
            "user_agent_parsers:\n  - family_replacement: x\nos_parsers: []",
            "user_agent_parsers:\n  - regex: x\n",
        ] {
            assert!(matches!(Uap::read(bad), Err(DataError::Form(_))), "{bad}");
        }
    }

    #[test]
    fn templates_take_groups_by_one_digit() {
        let parts = |text| Template::of(Some(text), 1).0;
        assert_eq!(parts("$1 for $2"), [Part::Group(1), Part::Text(" for ".to_owned()), Part::Group(2)]);
        assert_eq!(
            parts("US$ and $0"),
            [Part::Text("US$".to_owned()), Part::Text(" and $".to_owned()), Part::Text("0".to_owned())]
        );
        assert_eq!(Template::of(Some(" "), 3).0, [Part::Group(3)]);
    }
}
