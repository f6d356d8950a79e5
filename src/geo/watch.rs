//! Notices that a database file was replaced, and opens the new one.
//!
//! [`Watcher::check`] follows the directory entry: size, modification time and inode. It never touches the databases
//! in use: a broken file costs a count and a message, and the old set goes on answering. Does its work where it is
//! called, which is a background thread. Bound: two files.

use std::io;
use std::path::PathBuf;

use super::database::{Database, Fingerprint, OpenError};
use super::{Databases, Role, Warning, warnings_of};
use crate::clock::Timestamp;
use crate::config::{CountryDatabase, Geoip};

/// Looks at the files of the configuration when told to.
#[derive(Debug)]
pub struct Watcher {
    files: Vec<Watched>,
}

#[derive(Debug)]
struct Watched {
    role: Role,
    path: PathBuf,
    /// The version that was refused, so that it is neither read nor counted again.
    refused: Option<Fingerprint>,
    /// Why it could not be read at the last look.
    unreadable: Option<String>,
    counts: ReloadCounts,
}

/// Reloads since the start, for `kelisim_geo_db_reloads_total{database,result}`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReloadCounts {
    /// New files in use.
    pub ok: u64,
    /// New files refused.
    pub failed: u64,
}

/// What one look found.
#[derive(Debug, Default)]
pub struct Outcome {
    /// The set to put in place of the current one; `None`: keep it.
    pub databases: Option<Databases>,
    /// What happened to files that changed, for the log.
    pub reloads: Vec<Reload>,
}

/// A changed file.
#[derive(Debug)]
pub struct Reload {
    /// Which database.
    pub role: Role,
    /// What its operator should know about the new file, or why the old one stays.
    pub result: Result<Vec<Warning>, OpenError>,
}

impl Watcher {
    /// Watches the files that the configuration names; the shipped database never changes.
    #[must_use]
    pub fn new(config: &Geoip) -> Self {
        let country = match &config.country {
            CountryDatabase::File(path) => Some((Role::Country, path)),
            CountryDatabase::Shipped | CountryDatabase::Off => None,
        };
        let asn = config.asn.as_ref().map(|path| (Role::Asn, path));
        let files = country.into_iter().chain(asn).map(|(role, path)| Watched {
            role,
            path: path.clone(),
            refused: None,
            unreadable: None,
            counts: ReloadCounts::default(),
        });
        Self { files: files.collect() }
    }

    /// Looks once. `current` is the set in use; `now` only dates the warnings.
    pub fn check(&mut self, current: &Databases, now: Timestamp) -> Outcome {
        let mut outcome = Outcome::default();
        for file in &mut self.files {
            let in_use = current.get(file.role).and_then(Database::fingerprint);
            let Some(result) = file.look(in_use) else { continue };
            let result = match result {
                Ok(database) => {
                    file.counts.ok += 1;
                    let warnings = warnings_of(&database, now);
                    let base = outcome.databases.as_ref().unwrap_or(current);
                    outcome.databases = Some(base.with(database));
                    Ok(warnings)
                }
                Err(error) => {
                    file.counts.failed += 1;
                    Err(error)
                }
            };
            outcome.reloads.push(Reload { role: file.role, result });
        }
        outcome
    }

    /// Reloads of a database since the start.
    #[must_use]
    pub fn counts(&self, role: Role) -> ReloadCounts {
        self.files
            .iter()
            .find(|file| file.role == role)
            .map_or_else(ReloadCounts::default, |file| file.counts)
    }
}

impl Watched {
    /// `None`: nothing new.
    fn look(&mut self, in_use: Option<Fingerprint>) -> Option<Result<Database, OpenError>> {
        let found = match Fingerprint::of(&self.path) {
            Ok(found) => found,
            Err(error) => return self.cannot_read(error).map(Err),
        };
        if Some(found) == in_use || Some(found) == self.refused {
            self.unreadable = None;
            return None;
        }
        let opened = match Database::open(self.role, &self.path) {
            Err(OpenError::Read(error)) => return self.cannot_read(error).map(Err),
            opened => opened,
        };
        self.unreadable = None;
        self.refused = opened.is_err().then_some(found);
        Some(opened)
    }

    /// It may pass, so the file is tried again at each look; one and the same error is told once.
    fn cannot_read(&mut self, error: io::Error) -> Option<OpenError> {
        let why = error.to_string();
        let told = self.unreadable.replace(why.clone()).is_some_and(|before| before == why);
        (!told).then_some(OpenError::Read(error))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;
    use std::time::Duration;

    use rustix::fs::{CWD, FileType, Mode, mknodat};

    use super::*;
    use crate::geo::database::Shape;
    use crate::geo::database::tests::corpus;
    use crate::risk;

    const NOW: Timestamp = Timestamp::from_secs(1_795_341_600);

    /// Replaces a file as `geoipupdate` does.
    fn replace(path: &Path, image: &[u8]) {
        let next = path.with_extension("next");
        fs::write(&next, image).unwrap();
        fs::rename(next, path).unwrap();
    }

    fn country(databases: &Databases) -> Option<String> {
        let located = risk::operator_lookup(databases, "81.2.69.142".parse().unwrap());
        let (purpose, place) = located.evidence();
        place.country(purpose).map(str::to_owned)
    }

    #[test]
    fn good_files_are_swapped_in_and_bad_ones_are_not() {
        let Some(corpus) = corpus() else { return };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("country.mmdb");
        let flat = include_bytes!("../../geoip/country.mmdb");
        let nested = fs::read(corpus.join("test-data/GeoLite2-Country-Test.mmdb")).unwrap();
        replace(&path, &nested);
        let config = Geoip {
            country: CountryDatabase::File(path.clone()),
            asn: None,
            check_every: Duration::from_secs(60),
            headers: None,
        };
        let (mut databases, _) = Databases::open(&config, NOW).unwrap();
        let mut watcher = Watcher::new(&config);
        assert!(watcher.check(&databases, NOW).reloads.is_empty(), "nothing has changed");

        let hostile = fs::read(corpus.join("bad-data/maxminddb-golang/cyclic-data-structure.mmdb")).unwrap();
        let ipv4 = fs::read(corpus.join("test-data/MaxMind-DB-test-ipv4-24.mmdb")).unwrap();
        for bad in [&hostile[..], &nested[..nested.len() / 2], &ipv4, b""] {
            replace(&path, bad);
            let outcome = watcher.check(&databases, NOW);
            assert!(outcome.databases.is_none());
            assert!(matches!(outcome.reloads[..], [Reload { result: Err(_), .. }]));
            assert!(watcher.check(&databases, NOW).reloads.is_empty(), "told once");
            assert_eq!(country(&databases).as_deref(), Some("GB"), "the old one goes on answering");
        }

        replace(&path, flat);
        let outcome = watcher.check(&databases, NOW);
        databases = outcome.databases.expect("a good file");
        assert_eq!(databases.get(Role::Country).unwrap().shape(), Shape::FlatCountry);
        assert!(matches!(&outcome.reloads[..], [Reload { result: Ok(w), .. }] if !w.is_empty()), "it is old");
        assert!(watcher.check(&databases, NOW).databases.is_none());
        assert_eq!(watcher.counts(Role::Country), ReloadCounts { ok: 1, failed: 4 });
        assert_eq!(watcher.counts(Role::Asn), ReloadCounts::default());
    }

    #[test]
    fn a_file_that_cannot_be_read_is_told_about_once_and_may_come_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("country.mmdb");
        replace(&path, include_bytes!("../../geoip/country.mmdb"));
        let config = Geoip {
            country: CountryDatabase::File(path.clone()),
            asn: None,
            check_every: Duration::from_secs(60),
            headers: None,
        };
        let (databases, _) = Databases::open(&config, NOW).unwrap();
        let mut watcher = Watcher::new(&config);
        let away = folder.path().join("away");
        fs::rename(&path, &away).unwrap();
        assert_eq!(watcher.check(&databases, NOW).reloads.len(), 1);
        assert_eq!(watcher.check(&databases, NOW).reloads.len(), 0);
        mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        let told = watcher.check(&databases, NOW).reloads;
        assert!(matches!(&told[..], [Reload { result: Err(OpenError::Read(_)), .. }]), "{told:?}");
        assert_eq!(watcher.check(&databases, NOW).reloads.len(), 0);
        assert_eq!(watcher.counts(Role::Country), ReloadCounts { ok: 0, failed: 2 });
        fs::rename(&away, &path).unwrap();
        assert_eq!(watcher.check(&databases, NOW).reloads.len(), 0, "the very file in use");
    }
}
