//! The cookie rules, compiled: from a name to what the cookie is for.
//!
//! Rules come from the built-in file and from the operator's ([`super::rules`] reads and checks them); a byte
//! automaton finds the winner in one pass over the name. Never decides what happens to a cookie: that is
//! [`super::CookiePolicy`]'s. Bounds: [`MAX_RULES`] rules of the operator, [`MAX_PATTERN`] bytes each.

use std::cmp::Reverse;
use std::fmt;
use std::num::NonZeroU16;

use super::Category;
use super::automaton::{Automaton, Builder};
use super::names::Names;
pub use super::rule::{MAX_PATTERN, Rule, Shape, Source, Tier};
use super::rules;
pub use super::rules::{MAX_RULES, RuleProblem};

/// Every name that begins so is the gateway's own.
pub const RESERVED_PREFIX: &[u8] = b"kelisim_";

/// The visitor cookie. It serves security, so the site never sees it.
pub const VISITOR_COOKIE: &[u8] = b"kelisim_vid";

/// The compiled rules.
pub struct Catalogue {
    rules: Vec<Rule>,
    /// The class that each rule gives, so that a look-up touches no rule.
    classes: Vec<Class>,
    /// Case-sensitive exact names and prefixes: nearly all.
    names: Automaton,
    /// Rules with `nocase`, if there are any.
    folded: Option<Automaton>,
    /// What the last byte of a name tells.
    ends: [End; 256],
    /// The same exact names with what all tables together say of them.
    exact: Names,
    /// Never-strip endings.
    suffixes: Vec<(Box<[u8]>, Class)>,
}

/// A name at the beginning of a piece.
pub(super) struct Named {
    pub(super) length: usize,
    /// What it means, blanks included.
    pub(super) class: Class,
    /// Whether it begins and ends with visible ASCII; else readers may differ about the name.
    pub(super) is_plain: bool,
}

/// What the last byte of a name tells.
#[derive(Clone, Copy)]
enum End {
    /// The rule that the walk found decides.
    Plain,
    /// Another rule may be better: a never-strip ending, or one with `nocase`.
    Rare,
    /// No visible ASCII.
    Odd,
}

/// What a name means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Class {
    /// What the cookie is for.
    pub category: Category,
    /// A never-strip name: it passes, whatever its category's action.
    pub protected: bool,
    /// The rule that decided; `None` when no rule knows the name.
    pub rule: Option<RuleId>,
}

/// A rule's place in its catalogue, counted from 1: so a [`Class`] has four bytes, which are copied at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RuleId(NonZeroU16);

/// Why a name is in its class.
#[derive(Debug)]
pub struct Explanation<'a> {
    /// The class.
    pub class: Class,
    /// The rule that decided.
    pub rule: Option<&'a Rule>,
    /// A sentence for people.
    pub why: &'static str,
    /// The other rules that match the name, best first.
    pub losers: Vec<Loser<'a>>,
}

/// A rule that matches a name and does not decide.
#[derive(Debug)]
pub struct Loser<'a> {
    /// The rule.
    pub rule: &'a Rule,
    /// What it lost to.
    pub why: &'static str,
}

impl Catalogue {
    /// The rules inside the binary.
    #[must_use]
    #[expect(clippy::expect_used, reason = "the text is part of the binary, and a test compiles it")]
    pub fn builtin() -> Self {
        Self::with_operator("").expect("the built-in catalogue compiles")
    }

    /// The operator's rules (TOML text) before the built-in ones.
    ///
    /// # Errors
    /// Every mistake in the text: bad TOML, an unknown key or category, a pattern that can never match, a rule that hits
    /// a never-strip name without `force`, two rules of equal rank that disagree, too many rules.
    pub fn with_operator(text: &str) -> Result<Self, Vec<RuleProblem>> {
        Self::with_consent_cookies(text, &[])
    }

    /// The same with further never-strip names: the consent cookies that the configuration names, as `=NAME` or
    /// `^PREFIX`.
    ///
    /// # Errors
    /// As [`Self::with_operator`], and every rule that would strip one of these names.
    pub fn with_consent_cookies(text: &str, consent: &[String]) -> Result<Self, Vec<RuleProblem>> {
        rules::read(text, consent).map(Self::compile)
    }

    /// What a name means. The name is taken as it is: blanks count.
    #[must_use]
    pub fn classify(&self, name: &[u8]) -> Class {
        self.class_of(self.names.walk(name).rule(name.len()), name)
    }

    /// Reads the name at the beginning of a piece: up to the first `=` or `;`, or to the end of the bytes, blanks included.
    #[inline(always)]
    pub(super) fn read_name(&self, bytes: &[u8]) -> Named {
        if let Some(known) = self.exact.find(bytes) {
            return Named { length: known.length.into(), class: known.class, is_plain: true };
        }
        // No pattern has a `=` or `;`, so that the walk through a known name finds its end, too.
        let stop = self.names.walk(bytes);
        let length =
            stop.walked + bytes[stop.walked..].iter().take_while(|byte| !matches!(byte, b'=' | b';')).count();
        let hit = stop.rule(length);
        let ends = match &bytes[..length] {
            [] => End::Odd,
            [first, ..] if !first.is_ascii_graphic() => End::Odd,
            [.., last] => self.ends[usize::from(*last)],
        };
        let class = match ends {
            End::Rare => self.class_of(hit, &bytes[..length]),
            End::Plain | End::Odd => self.class(hit),
        };
        Named { length, class, is_plain: !matches!(ends, End::Odd) }
    }

    /// Why a name is in its class: every rule that matches, in order of precedence. Looks at all rules: not for the
    /// request path.
    #[must_use]
    pub fn explain(&self, name: &[u8]) -> Explanation<'_> {
        let class = self.classify(name);
        let winner = class.rule.and_then(|id| self.rule(id));
        let mut losers: Vec<(RuleId, &Rule)> =
            self.all().filter(|(id, rule)| Some(*id) != class.rule && rule.matches(name)).collect();
        losers.sort_by_key(|(_, rule)| (rule.rank(), Reverse(rule.line)));
        let losers = losers.into_iter().map(|(_, rule)| Loser { rule, why: lost(rule, winner) }).collect();
        Explanation {
            class,
            rule: winner,
            why: winner.map_or("no rule knows this name: it passes and is counted", won),
            losers,
        }
    }

    /// A rule by its id; `None` for an id of another catalogue.
    #[must_use]
    pub fn rule(&self, id: RuleId) -> Option<&Rule> {
        self.rules.get(id.index())
    }

    /// All rules with their ids.
    pub fn all(&self) -> impl Iterator<Item = (RuleId, &Rule)> {
        (0_u16..).map_while(RuleId::new).zip(&self.rules)
    }

    fn compile(rules: Vec<Rule>) -> Self {
        let mut names = Builder::new();
        let mut folded = None;
        let mut suffixes = Vec::new();
        let mut classes = Vec::with_capacity(rules.len());
        for (id, rule) in (0_u16..).zip(&rules) {
            let class =
                Class { category: rule.category, protected: rule.tier.protects(), rule: RuleId::new(id) };
            classes.push(class);
            match rule.shape {
                Shape::Suffix => suffixes.push((rule.text().as_bytes().into(), class)),
                shape if rule.nocase => folded.get_or_insert_with(Builder::new).add(
                    rule.text().to_ascii_lowercase().as_bytes(),
                    shape == Shape::Prefix,
                    id,
                ),
                shape => names.add(rule.text().as_bytes(), shape == Shape::Prefix, id),
            }
        }
        let rank = |id: u16| rules.get(usize::from(id)).map_or(u32::MAX, Rule::rank);
        let (names, folded) = (names.finish(rank), folded.map(|builder| builder.finish(rank)));
        let ends = std::array::from_fn(|last| {
            let ends_so =
                |(suffix, _): &(Box<[u8]>, Class)| suffix.last().map(|&byte| usize::from(byte)) == Some(last);
            match last {
                0x21..=0x7E if folded.is_some() || suffixes.iter().any(ends_so) => End::Rare,
                0x21..=0x7E => End::Plain,
                _ => End::Odd,
            }
        });
        let exact = Names::new([].into_iter());
        let mut catalogue = Self { rules, classes, names, folded, ends, exact, suffixes };
        catalogue.exact = Names::new(catalogue.exact_names());
        catalogue
    }

    /// The names that rules name in full, and their classes.
    fn exact_names(&self) -> impl Iterator<Item = (&[u8], Class)> + Clone {
        let texts =
            self.rules.iter().filter(|rule| rule.shape == Shape::Exact).map(|rule| rule.text().as_bytes());
        let is_plain = |name: &&[u8]| match name {
            [first, .., last] => first.is_ascii_graphic() && last.is_ascii_graphic(),
            [only] => only.is_ascii_graphic(),
            [] => false,
        };
        texts.filter(is_plain).map(|name| (name, self.classify(name)))
    }

    /// The class that the walk's winner gives, unless a `nocase` rule or an ending is better.
    #[inline(never)]
    fn class_of(&self, mut hit: u16, name: &[u8]) -> Class {
        if let Some(folded) = &self.folded {
            hit = self.better(hit, folded.walk_folded(name).rule(name.len()));
        }
        let class = self.class(hit);
        match self.suffixes.iter().find(|(suffix, _)| name.ends_with(suffix)) {
            Some((_, protected)) if !class.protected && !self.is_forced_by_name(class) => *protected,
            _ => class,
        }
    }

    #[inline]
    fn class(&self, hit: u16) -> Class {
        self.classes.get(usize::from(hit)).copied().unwrap_or(Class::UNKNOWN)
    }

    fn better(&self, a: u16, b: u16) -> u16 {
        let rank = |id: u16| self.rules.get(usize::from(id)).map_or(u32::MAX, Rule::rank);
        if rank(b) < rank(a) { b } else { a }
    }

    /// Only a rule that names an opt-out cookie in full, and says `force`, may touch it.
    fn is_forced_by_name(&self, class: Class) -> bool {
        let rule = class.rule.and_then(|id| self.rule(id));
        rule.is_some_and(|rule| rule.tier == Tier::Forced && rule.shape == Shape::Exact)
    }
}

/// Counts only: a catalogue has hundreds of rules.
impl fmt::Debug for Catalogue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Catalogue").field("rules", &self.rules.len()).finish_non_exhaustive()
    }
}

impl Class {
    /// No rule knows the name.
    pub const UNKNOWN: Self = Self { category: Category::Unknown, protected: false, rule: None };

    /// Whether this is the visitor cookie, which the site never sees.
    #[must_use]
    pub fn is_visitor_cookie(self) -> bool {
        self.rule == Some(RuleId::VISITOR)
    }
}

impl RuleId {
    /// The rule of the visitor cookie: [`rules::read`] puts it first.
    const VISITOR: Self = Self(NonZeroU16::MIN);

    /// `None` for a position that no catalogue has.
    const fn new(index: u16) -> Option<Self> {
        match NonZeroU16::MIN.checked_add(index) {
            Some(number) => Some(Self(number)),
            None => None,
        }
    }

    /// The rule's position in its catalogue.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0.get() as usize - 1
    }
}

fn won(rule: &Rule) -> &'static str {
    match (rule.tier, rule.shape) {
        (Tier::Reserved, _) => "the gateway's own cookie",
        (Tier::Forced, _) => "a rule of the operator with force = true goes before everything else",
        (Tier::NeverStrip, _) if rule.source == Source::Operator => {
            "a consent cookie that the configuration reads: never stripped, or the choice in it would be lost"
        }
        (Tier::NeverStrip, _) => "on the never-strip list: passes in every state",
        (Tier::Operator, Shape::Exact) => "a rule of the operator for exactly this name",
        (Tier::Operator, _) => "the longest rule of the operator that the name begins with",
        (Tier::BuiltIn, Shape::Exact) => "a built-in rule for exactly this name",
        (Tier::BuiltIn, _) => "the longest built-in rule that the name begins with",
    }
}

fn lost(loser: &Rule, winner: Option<&Rule>) -> &'static str {
    let Some(winner) = winner else { return "" };
    if winner.tier.protects() && !loser.tier.protects() {
        "the never-strip list comes first"
    } else if winner.tier != loser.tier {
        "the operator comes before the catalogue, force before both"
    } else if winner.shape != loser.shape {
        "an exact name comes before a prefix"
    } else if winner.text().len() != loser.text().len() {
        "a longer prefix comes before a shorter one"
    } else {
        "says the same"
    }
}

#[cfg(test)]
#[path = "catalogue_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "open_cookie_database_tests.rs"]
mod open_cookie_database;
