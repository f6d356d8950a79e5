//! How long the records of a class and day are kept.
//!
//! A property of class and day, decided here and nowhere else: retention by purpose, a minimum term that is longer, and
//! named holds on days, which win over both. Pure: the day of today is an argument. Bound: the configured holds.

use crate::config::Records;
use crate::record::Class;
use crate::seal::{Day, KeyClass};

/// The rules of one gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// Days after the day of the record, by class.
    kept: [u32; CLASSES],
    /// Days that a law demands, by class; 0 for none.
    least: [u32; CLASSES],
    holds: Vec<Hold>,
}

/// Days whose records must not be destroyed, until the hold is taken out of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    /// What it is called: a case, a request.
    pub name: String,
    /// First day.
    pub from: Day,
    /// Last day.
    pub until: Day,
    /// Which classes; none for all. Facts without a person are held in any case: without them nothing can be read.
    pub classes: Vec<Class>,
}

/// What is to be done with the records of a class and day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate<'t> {
    /// Their time is not over.
    Kept,
    /// Their time is over, but something keeps them.
    Held(HeldBy<'t>),
    /// They are to be destroyed.
    Over,
}

/// What keeps records whose time is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeldBy<'t> {
    /// A minimum term, in days.
    Minimum(u32),
    /// The hold of that name.
    Named(&'t str),
}

impl Terms {
    /// Days by class, in the order of [`Class::ALL`], minimum terms likewise. Facts without a person are kept as long
    /// as anything else: a sealed field whose record is gone could not be read.
    #[must_use]
    pub fn new(mut kept: [u32; CLASSES], mut least: [u32; CLASSES], holds: Vec<Hold>) -> Self {
        for days in [&mut kept, &mut least] {
            days[Class::Clear as usize] = days.iter().copied().max().unwrap_or_default();
        }
        Self { kept, least, holds }
    }

    /// The same for every class, without a hold.
    #[must_use]
    pub fn days(days: u32) -> Self {
        Self::new([days; CLASSES], [0; CLASSES], Vec::new())
    }

    /// What the configuration says.
    #[must_use]
    pub fn from_config(records: &Records) -> Self {
        let hold = |hold: &crate::config::LegalHold| Hold {
            name: hold.name.clone(),
            from: hold.from,
            until: hold.until,
            classes: hold.classes.clone(),
        };
        let holds = records.legal_holds.iter().map(hold).collect();
        Self::new(records.retention.by_class(), records.minimum.by_class(), holds)
    }

    /// Days after which nothing of a day is left, unless a named hold keeps it.
    #[must_use]
    pub fn longest(&self) -> u32 {
        self.kept.iter().chain(&self.least).copied().max().unwrap_or_default()
    }

    /// Days for which a law demands that a record stays; 0 for none.
    #[must_use]
    pub const fn least(&self) -> u32 {
        self.least[Class::Clear as usize]
    }

    /// The named holds.
    #[must_use]
    pub fn holds(&self) -> &[Hold] {
        &self.holds
    }

    /// What is to be done today with what was recorded on a day.
    #[must_use]
    pub fn fate(&self, class: Class, day: Day, today: Day) -> Fate<'_> {
        let age = today.number() - day.number();
        if age <= i64::from(self.kept[class as usize]) {
            return Fate::Kept;
        }
        if let Some(hold) = self.holds.iter().find(|hold| hold.covers(class, day)) {
            return Fate::Held(HeldBy::Named(&hold.name));
        }
        match self.least[class as usize] {
            least if age <= i64::from(least) => Fate::Held(HeldBy::Minimum(least)),
            _ => Fate::Over,
        }
    }

    /// The same for a key: those that sign go with the day, those of visit tags 48 hours after their day began.
    #[must_use]
    pub fn fate_of_key(&self, class: KeyClass, day: Day, today: Day) -> Fate<'_> {
        match class.class() {
            Some(class) => self.fate(class, day, today),
            None if class == KeyClass::Visit => {
                if today.number() - day.number() < VISIT_DAYS {
                    Fate::Kept
                } else {
                    Fate::Over
                }
            }
            None => self.fate(Class::Clear, day, today),
        }
    }

    /// Why something is over.
    #[must_use]
    pub fn reason(&self, class: KeyClass) -> String {
        if class == KeyClass::Visit {
            return "48 hours since the day began".to_owned();
        }
        let class = class.class().unwrap_or(Class::Clear) as usize;
        format!("retention of {} days", self.kept[class].max(self.least[class]))
    }

    /// Whether a named hold or a minimum term is on records of that day: they do not go for want of room either.
    #[must_use]
    pub fn holds_day(&self, day: Day, today: Day) -> bool {
        let age = today.number() - day.number();
        self.holds.iter().any(|hold| hold.covers(Class::Clear, day))
            || age <= i64::from(self.least[Class::Clear as usize]) && self.least[Class::Clear as usize] > 0
    }
}

impl Hold {
    fn covers(&self, class: Class, day: Day) -> bool {
        let named = self.classes.is_empty() || class == Class::Clear || self.classes.contains(&class);
        named && (self.from..=self.until).contains(&day)
    }
}

impl std::fmt::Display for HeldBy<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Minimum(days) => write!(f, "a minimum term of {days} days"),
            Self::Named(name) => write!(f, "legal hold {name}"),
        }
    }
}

/// Days after whose begin the key of a day's visit tags is destroyed: at the end of the next day.
const VISIT_DAYS: i64 = 2;
const CLASSES: usize = Class::ALL.len();

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;

    fn day(number: i64) -> Day {
        Day::of(Timestamp::from_secs(number * 86_400))
    }

    fn terms() -> Terms {
        let hold = Hold { name: "case 7".into(), from: day(100), until: day(109), classes: vec![Class::Sec] };
        Terms::new([90, 30, 30, 7, 30], [0, 60, 0, 0, 0], vec![hold])
    }

    #[test]
    fn a_day_is_over_when_its_days_have_passed_after_it() {
        let terms = terms();
        let fate = |class, age| terms.fate(class, day(0), day(age));
        assert_eq!((fate(Class::Diag, 7), fate(Class::Diag, 8)), (Fate::Kept, Fate::Over));
        assert_eq!((fate(Class::Fraud, 30), fate(Class::Fraud, 31)), (Fate::Kept, Fate::Over));
        assert_eq!((fate(Class::Clear, 90), fate(Class::Clear, 91)), (Fate::Kept, Fate::Over));
    }

    #[test]
    fn a_minimum_term_and_a_named_hold_win() {
        let terms = terms();
        let minimum = Fate::Held(HeldBy::Minimum(60));
        let fate = |age| terms.fate(Class::Sec, day(0), day(age));
        assert_eq!([fate(30), fate(31), fate(60), fate(61)], [Fate::Kept, minimum, minimum, Fate::Over]);
        let named = Fate::Held(HeldBy::Named("case 7"));
        for held in [day(100), day(109)] {
            assert_eq!(terms.fate(Class::Sec, held, day(5000)), named);
            assert_eq!(terms.fate(Class::Clear, held, day(5000)), named, "without it nothing can be read");
            assert_eq!(terms.fate(Class::Fraud, held, day(5000)), Fate::Over);
        }
        assert_eq!(terms.fate(Class::Sec, day(99), day(5000)), Fate::Over);
        assert_eq!(terms.fate(Class::Sec, day(110), day(5000)), Fate::Over);
        assert!(terms.holds_day(day(105), day(5000)) && !terms.holds_day(day(99), day(5000)));
        assert!(terms.holds_day(day(0), day(60)) && !Terms::days(90).holds_day(day(0), day(0)));
    }

    #[test]
    fn facts_stay_as_long_as_anything_of_the_record() {
        let terms = Terms::new([1, 40, 30, 7, 30], [0, 0, 50, 0, 0], Vec::new());
        assert_eq!(terms.fate(Class::Clear, day(0), day(40)), Fate::Kept);
        assert_eq!(terms.fate(Class::Clear, day(0), day(50)), Fate::Held(HeldBy::Minimum(50)));
        assert_eq!(terms.fate(Class::Clear, day(0), day(51)), Fate::Over);
    }

    #[test]
    fn the_key_of_visit_tags_goes_after_48_hours_whatever_is_held() {
        let terms = terms();
        let fate = |today| terms.fate_of_key(KeyClass::Visit, day(105), day(today));
        assert_eq!([fate(105), fate(106), fate(107)], [Fate::Kept, Fate::Kept, Fate::Over]);
        assert_eq!(terms.fate_of_key(KeyClass::Ops, day(0), day(91)), Fate::Over);
    }
}
