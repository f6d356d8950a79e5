//! One session in another country too soon, or in a place where it was never seen.
//!
//! Without coordinates there is no speed: country-hop is what country and network can say. Never judges an address of
//! a hosting network, and never remembers one as where the visitor is. Bound: the last anchor, four countries, four
//! networks.

use super::memory::Tick;
use super::signal::{Level, SignalName, Signals};
use crate::geo::place::{CountryCode, NetworkCategory};

/// Where one request came from.
#[derive(Clone, Copy)]
#[cfg_attr(test, derive(Debug))]
pub(super) struct Origin {
    pub(super) country: Option<CountryCode>,
    pub(super) asn: Option<u32>,
    pub(super) category: NetworkCategory,
    /// Keyed hash of the /24 or /64.
    pub(super) net: u32,
}

/// Where one subject was.
///
/// Countries and networks are kept apart, not as pairs: otherwise an ASN database would change which countries are
/// remembered, and with them a signal that does not use it.
#[derive(Clone, Copy, Default)]
pub(super) struct Travel {
    anchor: Option<Anchor>,
    /// The country before the anchor's, and when it was last seen.
    before: Option<(CountryCode, Tick)>,
    /// The last four, latest first.
    countries: [Option<Visited>; REMEMBERED],
    /// The last four, latest first.
    networks: [Option<u32>; REMEMBERED],
    /// Requests, saturating.
    events: u16,
}

#[derive(Clone, Copy)]
struct Anchor {
    country: CountryCode,
    asn: Option<u32>,
    net: u32,
    at: Tick,
}

#[derive(Clone, Copy)]
struct Visited {
    country: CountryCode,
    /// Different days on which it was seen.
    days: u8,
    last_day: u16,
}

impl Travel {
    /// Judges a request and remembers it. `day` counts from 1970.
    pub(super) fn observe(&mut self, origin: &Origin, now: Tick, day: u16, signals: &mut Signals) {
        let learnt = self.events >= LEARNING;
        self.events = self.events.saturating_add(1);
        if let Some(country) = origin.country {
            signals.raise(SignalName::CountryHop, self.hop(country, origin, now));
            if self.note_country(country, day) && learnt {
                signals.raise(SignalName::NewCountry, Level::Low);
            }
        }
        if let Some(asn) = origin.asn
            && self.note_network(asn)
            && learnt
        {
            signals.raise(SignalName::NewNetwork, Level::Low);
        }
    }

    fn hop(&mut self, country: CountryCode, origin: &Origin, now: Tick) -> Level {
        if origin.category == NetworkCategory::Hosting {
            return Level::None;
        }
        let here = Anchor { country, asn: origin.asn, net: origin.net, at: now };
        let Some(anchor) = self.anchor.replace(here) else { return Level::None };
        if anchor.country == country {
            return Level::None;
        }
        let before = self.before.replace((anchor.country, anchor.at));
        let soon = |at: Tick| now.saturating_sub(at) < HOUR;
        // Without both ASNs the network stands in, and the level never rises above low.
        let (other_network, surely) = match (anchor.asn, origin.asn) {
            (Some(then), Some(asn)) => (then != asn, true),
            _ => (anchor.net != origin.net, false),
        };
        if !soon(anchor.at) || !other_network || (self.is_home(country) && self.is_home(anchor.country)) {
            return Level::None;
        }
        let third =
            before.is_some_and(|(earlier, at)| earlier != country && earlier != anchor.country && soon(at));
        if third && surely { Level::Medium } else { Level::Low }
    }

    /// Seen there on two days or more: borders, roaming.
    fn is_home(&self, country: CountryCode) -> bool {
        self.countries.iter().flatten().any(|visited| visited.country == country && visited.days >= 2)
    }

    /// Puts the country first. `true`: it is new, and not simply the first one known.
    fn note_country(&mut self, country: CountryCode, day: u16) -> bool {
        let known = self.countries.iter().position(|v| v.is_some_and(|v| v.country == country));
        let is_new = known.is_none() && self.countries[0].is_some();
        let index = known.unwrap_or(REMEMBERED - 1);
        self.countries[..=index].rotate_right(1);
        match &mut self.countries[0] {
            Some(visited) if known.is_some() => {
                if visited.last_day != day {
                    visited.days = visited.days.saturating_add(1);
                    visited.last_day = day;
                }
            }
            slot => *slot = Some(Visited { country, days: 1, last_day: day }),
        }
        is_new
    }

    fn note_network(&mut self, asn: u32) -> bool {
        let known = self.networks.iter().position(|&known| known == Some(asn));
        let is_new = known.is_none() && self.networks[0].is_some();
        self.networks[..=known.unwrap_or(REMEMBERED - 1)].rotate_right(1);
        self.networks[0] = Some(asn);
        is_new
    }
}

/// Countries and networks that are remembered. One that has fallen out counts as new again.
const REMEMBERED: usize = 4;
/// Requests before anything can be new.
const LEARNING: u16 = 10;
const HOUR: Tick = 3600;

#[cfg(test)]
mod tests {
    use super::*;

    const T: Tick = 1_000_000;

    fn origin(country: &str, asn: u32) -> Origin {
        Origin {
            country: CountryCode::new(country),
            asn: Some(asn),
            category: NetworkCategory::Isp,
            net: asn,
        }
    }

    fn without_asn(country: &str, net: u32) -> Origin {
        Origin { asn: Option::None, category: NetworkCategory::Unknown, ..origin(country, net) }
    }

    /// The level of one signal for each visit in turn: (place, second, day).
    fn walk(name: SignalName, visits: &[(Origin, Tick, u16)]) -> Vec<Level> {
        let mut travel = Travel::default();
        visits
            .iter()
            .map(|(origin, at, day)| {
                let mut signals = Signals::default();
                travel.observe(origin, T + at, *day, &mut signals);
                signals.get(name)
            })
            .collect()
    }

    fn hops(visits: &[(Origin, Tick)]) -> Vec<Level> {
        let visits: Vec<_> = visits.iter().map(|(origin, at)| (*origin, *at, 1)).collect();
        walk(SignalName::CountryHop, &visits)
    }

    use Level::{Low, Medium, None};

    #[test]
    fn another_country_within_the_hour_is_low_and_a_third_is_medium() {
        let visits = [(origin("KZ", 1), 0), (origin("DE", 2), 600), (origin("BR", 3), 1200)];
        assert_eq!(hops(&visits), [None, Low, Medium]);
        let back = [(origin("KZ", 1), 0), (origin("DE", 2), 600), (origin("KZ", 1), 1200)];
        assert_eq!(hops(&back), [None, Low, Low], "back is not a third");
    }

    #[test]
    fn an_hour_is_long_enough_to_travel() {
        assert_eq!(hops(&[(origin("KZ", 1), 0), (origin("DE", 2), 3599)]), [None, Low]);
        assert_eq!(hops(&[(origin("KZ", 1), 0), (origin("DE", 2), 3600)]), [None, None]);
        let slow = [(origin("KZ", 1), 0), (origin("DE", 2), 3000), (origin("BR", 3), 6000)];
        assert_eq!(hops(&slow), [None, Low, Low], "the first was more than an hour ago");
    }

    #[test]
    fn the_same_network_or_a_hosting_one_is_no_hop() {
        assert_eq!(hops(&[(origin("KZ", 1), 0), (origin("DE", 1), 1)]), [None, None]);
        let hosting = Origin { category: NetworkCategory::Hosting, ..origin("US", 9) };
        assert_eq!(hops(&[(origin("KZ", 1), 0), (hosting, 1), (origin("KZ", 1), 2)]), [None, None, None]);
        assert_eq!(hops(&[(hosting, 0), (origin("KZ", 1), 1)]), [None, None], "never the anchor");
    }

    #[test]
    fn an_unknown_country_gives_no_verdict_and_moves_nothing() {
        let unknown = Origin { country: Option::None, ..origin("KZ", 5) };
        assert_eq!(hops(&[(origin("KZ", 1), 0), (unknown, 1), (origin("DE", 2), 2)]), [None, None, Low]);
    }

    #[test]
    fn without_an_asn_database_the_level_is_low_at_most() {
        let visits = [(without_asn("KZ", 1), 0), (without_asn("DE", 2), 1), (without_asn("BR", 3), 2)];
        assert_eq!(hops(&visits), [None, Low, Low]);
        assert_eq!(
            hops(&[(without_asn("KZ", 1), 0), (without_asn("DE", 1), 1)]),
            [None, None],
            "same network"
        );
    }

    #[test]
    fn two_homes_are_no_hop() {
        let day = |n: u32| n * 86_400;
        let visits = [
            (origin("KZ", 1), 0, 1),
            (origin("KG", 2), day(1), 2),
            (origin("KZ", 1), day(2), 3),
            (origin("KG", 2), day(3), 4),
            (origin("KZ", 1), day(3) + 60, 4),
            (origin("DE", 3), day(3) + 120, 4),
        ];
        assert_eq!(walk(SignalName::CountryHop, &visits), [None, None, None, None, None, Medium]);
    }

    #[test]
    fn what_is_new_is_told_after_learning_only() {
        let mut visits: Vec<_> = (0..10).map(|n| (origin("KZ", 1), n, 1)).collect();
        visits[5] = (origin("RU", 2), 5, 1);
        visits.push((origin("DE", 3), 10, 1));
        visits.push((origin("DE", 3), 11, 1));
        visits.push((origin("RU", 2), 12, 1));
        for name in [SignalName::NewCountry, SignalName::NewNetwork] {
            let levels = walk(name, &visits);
            assert_eq!(levels[..10], [None; 10], "{name}");
            assert_eq!(levels[10..], [Low, None, None], "{name}");
        }
    }

    #[test]
    fn four_are_remembered() {
        let mut visits: Vec<_> = (0..10).map(|n| (origin("KZ", 1), n, 1)).collect();
        for (n, country) in (10..).zip(["AA", "BB", "CC", "KZ", "DD", "AA"]) {
            visits.push((origin(country, n), n, 1));
        }
        let levels = walk(SignalName::NewCountry, &visits);
        assert_eq!(levels[10..], [Low, Low, Low, None, Low, Low], "AA had fallen out");
    }

    #[test]
    fn the_first_country_known_is_not_news() {
        let unknown = Origin { country: Option::None, ..without_asn("KZ", 1) };
        let mut visits: Vec<_> = (0..12).map(|n| (unknown, n, 1)).collect();
        visits.push((origin("KZ", 1), 12, 1));
        assert_eq!(walk(SignalName::NewCountry, &visits)[12], None);
    }
}
