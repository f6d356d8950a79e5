//! Where an address is, for the security purpose only.
//!
//! [`Databases::locate`] demands a [`SecurityPurpose`], which only [`crate::risk`] can make; [`place::Place`] cannot
//! be serialised and its `Debug` is redacted. Never tells a log or a metric where a visitor is, and the site only what a
//! [`disclosure::Disclosure`] opens. Bound: the databases' size in memory, at most [`database::MAX_FILE_BYTES`] each.

pub mod database;
pub mod disclosure;
pub mod headers;
pub mod network;
pub mod place;
pub mod watch;

use std::fmt;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::clock::Timestamp;
use crate::config::{CountryDatabase, Geoip};
use crate::identify::address::ClientAddress;
use crate::risk::SecurityPurpose;
use crate::seal::Day;

use database::{Database, OpenError};
use network::HostingAsns;
use place::{Looked, NetworkCategory, Place};

/// What a database is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The country of an address.
    Country,
    /// The autonomous system of an address.
    Asn,
}

impl Role {
    /// The name used in configuration, metric labels and messages.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Country => "country",
            Self::Asn => "asn",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

/// One immutable set of opened databases. Swapped as a whole when a file changes.
#[derive(Clone, Debug)]
pub struct Databases {
    country: Option<Arc<Database>>,
    asn: Option<Arc<Database>>,
    hosting: Arc<HostingAsns>,
    /// What records name the set by.
    version: String,
    /// Unique in the process, so that a cache entry of an older set can never be taken for one of this set.
    generation: u64,
}

/// A database of the configuration cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("geoip.{role}")]
pub struct DatabaseError {
    /// What it was to be asked for.
    pub role: Role,
    /// The file.
    pub path: PathBuf,
    /// Why.
    #[source]
    pub source: OpenError,
}

/// Something about an opened database that its operator should know. Told once at each opening.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Warning {
    /// The default of the program is in use. It is stale by nature.
    Shipped {
        /// Its age in days.
        age_days: u64,
    },
    /// The file is older than [`MAX_AGE_DAYS`], or than [`MAX_AGE_DAYS_GEOLITE`] if it is GeoLite2.
    Old {
        /// Which database.
        role: Role,
        /// Its age in days.
        age_days: u64,
    },
    /// The file's build date lies in the future: its age is unknown.
    Undated {
        /// Which database.
        role: Role,
    },
    /// The file knows IPv4 only: every IPv6 address is a miss.
    Ipv4Only {
        /// Which database.
        role: Role,
    },
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shipped { age_days } => {
                write!(
                    f,
                    "the shipped country database is in use; it is {age_days} days old and a stale default"
                )
            }
            Self::Old { role, age_days } => write!(f, "the {role} database is {age_days} days old"),
            Self::Undated { role } => write!(f, "the {role} database says that it was built in the future"),
            Self::Ipv4Only { role } => {
                write!(f, "the {role} database knows IPv4 only; every IPv6 address is a miss")
            }
        }
    }
}

impl Databases {
    /// Opens what the configuration names, with what its operator should know about it.
    ///
    /// # Errors
    /// A file that cannot be read, is broken, or has no record of a known shape.
    pub fn open(config: &Geoip, now: Timestamp) -> Result<(Self, Vec<Warning>), DatabaseError> {
        let country = match &config.country {
            CountryDatabase::Off => None,
            CountryDatabase::Shipped => Some(Database::shipped().map_err(|source| DatabaseError {
                role: Role::Country,
                path: PathBuf::from("(shipped)"),
                source,
            })?),
            CountryDatabase::File(path) => Some(open_file(Role::Country, path)?),
        };
        let asn = config.asn.as_ref().map(|path| open_file(Role::Asn, path)).transpose()?;
        let warnings =
            country.iter().chain(asn.iter()).flat_map(|database| warnings_of(database, now)).collect();
        let hosting = Arc::new(HostingAsns::shipped());
        let (country, asn) = (country.map(Arc::new), asn.map(Arc::new));
        let version = version(country.as_deref(), asn.as_deref());
        let databases = Self { country, asn, hosting, version, generation: next_generation() };
        Ok((databases, warnings))
    }

    /// A set without any database: every look-up finds nothing.
    #[must_use]
    pub fn none() -> Self {
        Self {
            country: None,
            asn: None,
            hosting: Arc::new(HostingAsns::shipped()),
            version: String::new(),
            generation: next_generation(),
        }
    }

    /// Where an address is. About 1,100 instructions; never fails: a miss, an error and a missing database all give
    /// an unknown place, told apart by [`Place::country_lookup`] for the counters.
    #[must_use]
    pub fn locate(&self, purpose: &SecurityPurpose, address: ClientAddress) -> Place {
        self.locate_whole(purpose, address).0
    }

    /// The same, with the organisation of the network as far as the database tells it.
    fn locate_whole(&self, _purpose: &SecurityPurpose, address: ClientAddress) -> (Place, Option<&str>) {
        let ip = address.ip();
        let country = self.country.as_ref().map_or(Looked::Off, |database| database.country(ip));
        let asn = self.asn.as_ref().map_or(Looked::Off, |database| database.asn(ip));
        let (asn, organisation) = match asn {
            Looked::Hit((asn, organisation)) => (Looked::Hit(asn), organisation),
            Looked::Miss => (Looked::Miss, None),
            Looked::Error => (Looked::Error, None),
            Looked::Off => (Looked::Off, None),
        };
        let category = match asn {
            Looked::Hit(asn) if self.hosting.contains(asn) => NetworkCategory::Hosting,
            Looked::Hit(_) => NetworkCategory::Isp,
            Looked::Miss | Looked::Error | Looked::Off => NetworkCategory::Unknown,
        };
        (Place::new(country, asn, category), organisation)
    }

    /// The database that answers for a role.
    #[must_use]
    pub fn get(&self, role: Role) -> Option<&Database> {
        match role {
            Role::Country => self.country.as_deref(),
            Role::Asn => self.asn.as_deref(),
        }
    }

    /// This set with one database replaced, under a new generation.
    #[must_use]
    fn with(&self, database: Database) -> Self {
        let mut next = self.clone();
        next.generation = next_generation();
        match database.role() {
            Role::Country => next.country = Some(Arc::new(database)),
            Role::Asn => next.asn = Some(Arc::new(database)),
        }
        next.version = version(next.country.as_deref(), next.asn.as_deref());
        next
    }
}

/// A place, and who says so.
#[derive(Clone)]
pub struct Found {
    /// Where it is.
    pub place: Place,
    /// Organisation of the network.
    pub(crate) organisation: Option<Rc<str>>,
    /// The databases, by the days on which they were built; empty when there is none.
    pub(crate) databases: Rc<str>,
}

/// What a set of databases is called in records.
fn version(country: Option<&Database>, asn: Option<&Database>) -> String {
    let day =
        |database: &Database| Day::of(Timestamp::from_secs(i64::try_from(database.built()).unwrap_or(0)));
    let all = country.into_iter().chain(asn).map(|d| format!("{}={}", d.role(), day(d)));
    all.collect::<Vec<_>>().join(" ")
}

/// The place of the address last asked for on one connection. It forgets by itself when the databases are swapped.
#[derive(Default)]
pub struct LookupCache {
    last: Option<(ClientAddress, u64, Found)>,
    /// The name of the databases, in memory that only this thread counts the users of.
    named: Option<(u64, Rc<str>)>,
}

impl LookupCache {
    /// Like [`Databases::locate`]; `true` beside the place when the databases were really asked.
    pub fn locate(
        &mut self,
        databases: &Databases,
        purpose: &SecurityPurpose,
        address: ClientAddress,
    ) -> (Found, bool) {
        if let Some((cached, generation, found)) = &self.last
            && *cached == address
            && *generation == databases.generation
        {
            return (found.clone(), false);
        }
        let (place, organisation) = databases.locate_whole(purpose, address);
        let found =
            Found { place, organisation: organisation.map(Rc::from), databases: self.name(databases) };
        self.last = Some((address, databases.generation, found.clone()));
        (found, true)
    }

    fn name(&mut self, databases: &Databases) -> Rc<str> {
        match &self.named {
            Some((generation, name)) if *generation == databases.generation => Rc::clone(name),
            _ => {
                let name = Rc::from(&*databases.version);
                Rc::clone(&self.named.insert((databases.generation, name)).1)
            }
        }
    }
}

/// Redacted: it is about a person.
impl fmt::Debug for LookupCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LookupCache(..)")
    }
}

/// Redacted: it is about a person.
impl fmt::Debug for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Found(..)")
    }
}

/// What an operator should know about one database at `now`.
#[must_use]
pub fn warnings_of(database: &Database, now: Timestamp) -> Vec<Warning> {
    let role = database.role();
    let mut warnings = Vec::new();
    match database.age_days(now) {
        Some(age_days) if database.path().is_none() => warnings.push(Warning::Shipped { age_days }),
        Some(age_days) if age_days > max_age_days(database) => warnings.push(Warning::Old { role, age_days }),
        Some(_) => {}
        None => warnings.push(Warning::Undated { role }),
    }
    if database.ipv4_only() {
        warnings.push(Warning::Ipv4Only { role });
    }
    warnings
}

/// The licence of GeoLite2 asks to destroy old files within 30 days; only for this warning does the declared type count.
fn max_age_days(database: &Database) -> u64 {
    if database.declared_type().starts_with("GeoLite2") { MAX_AGE_DAYS_GEOLITE } else { MAX_AGE_DAYS }
}

fn open_file(role: Role, path: &std::path::Path) -> Result<Database, DatabaseError> {
    Database::open(role, path).map_err(|source| DatabaseError { role, path: path.to_owned(), source })
}

fn next_generation() -> u64 {
    static LAST: AtomicU64 = AtomicU64::new(0);
    LAST.fetch_add(1, Ordering::Relaxed)
}

/// A file older than this is told about at start, in days.
pub const MAX_AGE_DAYS: u64 = 90;
/// The same for GeoLite2 files.
pub const MAX_AGE_DAYS_GEOLITE: u64 = 30;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::risk;

    fn config(country: CountryDatabase, asn: Option<PathBuf>) -> Geoip {
        Geoip { country, asn, check_every: Duration::from_secs(60), headers: None }
    }

    fn address(text: &str) -> ClientAddress {
        ClientAddress::from_resolved(text.parse().unwrap())
    }

    #[test]
    fn the_shipped_database_answers_and_says_that_it_is_stale() {
        let now = Timestamp::from_secs(1_795_341_600);
        let (databases, warnings) = Databases::open(&config(CountryDatabase::Shipped, None), now).unwrap();
        assert_eq!(warnings, [Warning::Shipped { age_days: 157 }]);
        let located = risk::operator_lookup(&databases, "8.8.8.8".parse().unwrap());
        let (purpose, place) = located.evidence();
        assert_eq!(place.country(purpose), Some("US"));
        assert_eq!(place.asn(purpose), None);
        assert_eq!(place.category(purpose), NetworkCategory::Unknown);
    }

    #[test]
    fn a_mapped_address_is_not_a_bypass() {
        let (databases, _) =
            Databases::open(&config(CountryDatabase::Shipped, None), Timestamp::default()).unwrap();
        let located = risk::operator_lookup(&databases, "::ffff:8.8.8.8".parse().unwrap());
        let (purpose, place) = located.evidence();
        assert_eq!(place.country(purpose), Some("US"));
    }

    #[test]
    fn nothing_is_asked_when_switched_off() {
        let (databases, warnings) =
            Databases::open(&config(CountryDatabase::Off, None), Timestamp::default()).unwrap();
        assert!(warnings.is_empty());
        let located = risk::operator_lookup(&databases, "8.8.8.8".parse().unwrap());
        assert_eq!(located.place().country_lookup(), place::Lookup::Off);
        assert_eq!(located.place().asn_lookup(), place::Lookup::Off);
    }

    #[test]
    fn a_missing_file_names_the_key_but_keeps_its_cause() {
        let missing = config(CountryDatabase::File(PathBuf::from("no/such/file.mmdb")), None);
        let error = Databases::open(&missing, Timestamp::default()).unwrap_err();
        assert_eq!(error.to_string(), "geoip.country");
        assert!(matches!(error.source, OpenError::Read(_)));
    }

    #[test]
    fn the_cache_dies_with_its_databases() {
        let (databases, _) =
            Databases::open(&config(CountryDatabase::Shipped, None), Timestamp::default()).unwrap();
        let swapped = Databases::none();
        let mut cache = LookupCache::default();
        let purpose = risk::test_purpose();
        let there = address("8.8.8.8");
        let (found, asked) = cache.locate(&databases, &purpose, there);
        assert!(asked);
        assert_eq!(&*found.databases, "country=2026-06-17");
        assert!(!cache.locate(&databases, &purpose, there).1);
        let (found, asked) = cache.locate(&swapped, &purpose, there);
        assert!(asked);
        assert_eq!((found.place.country(&purpose), &*found.databases), (None, ""));
        assert!(cache.locate(&databases, &purpose, address("1.1.1.1")).1, "another address");
    }
}
