//! Tests of [`super`]: real files, hostile files, and the bound.

use std::io::Write;

use super::super::place::Lookup;
use super::super::{Databases, Warning, warnings_of};
use super::*;
use crate::risk;

/// The folder of MaxMind's test files, or a visible skip.
pub(crate) fn corpus() -> Option<PathBuf> {
    let root =
        std::env::var_os("KELISIM_CORPORA").map_or_else(|| PathBuf::from("../shared/corpora"), PathBuf::from);
    let folder = root.join("maxmind-db");
    if folder.is_dir() {
        return Some(folder);
    }
    eprintln!("skipped: corpus maxmind-db not found");
    None
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn country_of(database: &Database, text: &str) -> Option<[u8; 2]> {
    match database.country(ip(text)) {
        Looked::Hit(code) => Some(code.bytes()),
        _ => None,
    }
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files.extend(files_below(&path)) } else { files.push(path) }
    }
    files
}

#[test]
fn every_record_of_the_shipped_file_reads() {
    let (reader, shape) = check(Role::Country, Cow::Borrowed(SHIPPED)).unwrap();
    assert_eq!(shape, Shape::FlatCountry);
    assert_eq!(reader.metadata().node_count, 864_344);
}

#[test]
fn nested_shapes_answer_with_the_country_not_the_registered_one() {
    let Some(corpus) = corpus() else { return };
    for name in ["GeoIP2-City-Test.mmdb", "GeoLite2-City-Test.mmdb", "GeoLite2-Country-Test.mmdb"] {
        let database = Database::open(Role::Country, &corpus.join("test-data").join(name)).unwrap();
        assert_eq!(database.shape(), Shape::NestedCountry, "{name}");
        assert_eq!(country_of(&database, "81.2.69.142"), Some(*b"GB"), "{name}");
        assert_eq!(country_of(&database, "2.125.160.216"), Some(*b"GB"), "{name}");
        assert_eq!(country_of(&database, "89.160.20.112"), Some(*b"SE"), "{name}");
        let has_china = name != "GeoLite2-Country-Test.mmdb";
        assert_eq!(country_of(&database, "175.16.199.1"), has_china.then_some(*b"CN"), "{name}");
        assert!(database.country(ip("127.0.0.1")) == Looked::Miss, "{name}");
    }
}

#[test]
fn the_registered_country_answers_where_there_is_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("registered.mmdb");
    std::fs::write(
        &path,
        one_record_for_all(&map(&[("registered_country", map(&[("iso_code", text("FR"))]))])),
    )
    .unwrap();
    let database = Database::open(Role::Country, &path).unwrap();
    assert_eq!(country_of(&database, "192.0.2.1"), Some(*b"FR"));
}

/// A file of one node whose both sides lead to the same record, written after the format's specification.
fn one_record_for_all(record: &[u8]) -> Vec<u8> {
    const NODES: u8 = 1;
    const SEPARATOR: usize = 16;
    let pointer = [0, 0, NODES + SEPARATOR as u8];
    let mut file = [pointer, pointer].concat();
    file.extend([0; SEPARATOR]);
    file.extend(record);
    file.extend(b"\xAB\xCD\xEFMaxMind.com");
    file.extend(map(&[
        ("node_count", vec![0xC1, NODES]),
        ("record_size", vec![0xA1, 24]),
        ("ip_version", vec![0xA1, 6]),
        ("binary_format_major_version", vec![0xA1, 2]),
        ("binary_format_minor_version", vec![0xA0]),
        ("build_epoch", vec![0x04, 0x02, 0x65, 0x00, 0x00, 0x00]),
        ("database_type", text("Test")),
        ("languages", vec![0x00, 0x04]),
        ("description", map(&[("en", text("test"))])),
    ]));
    file
}

fn map(pairs: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut out = vec![0xE0 | u8::try_from(pairs.len()).unwrap()];
    for (key, value) in pairs {
        out.extend(text(key));
        out.extend(value);
    }
    out
}

fn text(text: &str) -> Vec<u8> {
    assert!(text.len() < 29);
    [&[0x40 | u8::try_from(text.len()).unwrap()], text.as_bytes()].concat()
}

#[test]
fn networks_are_numbered() {
    let Some(corpus) = corpus() else { return };
    let database = Database::open(Role::Asn, &corpus.join("test-data/GeoLite2-ASN-Test.mmdb")).unwrap();
    assert!(database.asn(ip("1.0.0.1")) == Looked::Hit((15169, Some("Google Inc."))));
    assert!(database.asn(ip("1.128.0.1")) == Looked::Hit((1221, Some("Telstra Pty Ltd"))));
    assert_eq!(database.network(ip("1.0.0.1")).unwrap().to_string(), "1.0.0.0/24");
}

#[test]
fn a_file_for_something_else_is_refused_with_a_hint() {
    let Some(corpus) = corpus() else { return };
    let anonymous = corpus.join("test-data/GeoIP2-Anonymous-IP-Test.mmdb");
    let error = Database::open(Role::Country, &anonymous).unwrap_err();
    assert!(matches!(error, OpenError::NoShape(Role::Country)), "{error:?}");
    assert!(error.to_string().contains("country.iso_code"), "{error}");
    let country = corpus.join("test-data/GeoLite2-Country-Test.mmdb");
    assert!(matches!(Database::open(Role::Asn, &country), Err(OpenError::NoShape(Role::Asn))));
}

#[test]
fn an_ipv4_only_file_misses_ipv6_and_says_so() {
    let Some(corpus) = corpus() else { return };
    let image = std::fs::read(corpus.join("test-data/MaxMind-DB-test-ipv4-24.mmdb")).unwrap();
    // Its records have no country, so it is opened below the probe.
    let reader = Reader::from_source(Cow::Owned(image)).unwrap();
    let database = Database { reader, shape: Shape::FlatCountry, origin: None };
    assert!(database.country(ip("2001:db8::1")) == Looked::Miss);
    assert!(database.network(ip("2001:db8::1")).is_none());
    let told = warnings_of(&database, Timestamp::from_secs(2_000_000_000));
    assert!(told.contains(&Warning::Ipv4Only { role: Role::Country }), "{told:?}");
}

#[test]
fn hostile_files_are_refused_or_answer_without_a_panic() {
    let Some(corpus) = corpus() else { return };
    let mut files = files_below(&corpus.join("bad-data"));
    assert!(files.len() >= 21);
    files.extend(files_below(&corpus.join("test-data")));
    let mut refused = 0;
    for path in &files {
        for role in [Role::Country, Role::Asn] {
            match Database::open(role, path) {
                Err(error) => {
                    refused += 1;
                    assert!(!error.to_string().is_empty());
                }
                Ok(database) => {
                    for text in ["0.0.0.0", "1.2.3.4", "81.2.69.142", "255.255.255.255", "::", "2001:db8::1"]
                    {
                        let _ = database.country(ip(text));
                        let _ = database.asn(ip(text));
                        let _ = database.network(ip(text));
                    }
                    let _ = warnings_of(&database, Timestamp::from_secs(1_795_341_600));
                }
            }
        }
    }
    assert!(refused > 40, "{refused}");
}

#[test]
fn a_hostile_file_that_was_not_verified_answers_without_a_panic() {
    let Some(corpus) = corpus() else { return };
    for path in files_below(&corpus.join("bad-data")) {
        let Ok(reader) = Reader::from_source(Cow::Owned(std::fs::read(&path).unwrap())) else { continue };
        for shape in [Shape::NestedCountry, Shape::FlatCountry, Shape::Asn] {
            let Ok(copy) = Reader::from_source(Cow::Owned(std::fs::read(&path).unwrap())) else { continue };
            let database = Database { reader: copy, shape, origin: None };
            let _ = (database.country(ip("1.1.1.1")), database.asn(ip("::1.1.1.1")));
            let _ = database.age_days(Timestamp::from_secs(1_795_341_600));
        }
        drop(reader);
    }
}

#[test]
fn the_age_of_a_file_from_the_end_of_time_is_unknown() {
    let Some(corpus) = corpus() else { return };
    let path = corpus.join("bad-data/libmaxminddb/libmaxminddb-uint64-max-epoch.mmdb");
    let Ok(reader) = Reader::from_source(Cow::Owned(std::fs::read(path).unwrap())) else { return };
    let database = Database { reader, shape: Shape::FlatCountry, origin: None };
    assert_eq!(database.built(), u64::MAX);
    assert_eq!(database.age_days(Timestamp::from_secs(1_795_341_600)), None);
    assert_eq!(database.age_days(Timestamp::from_micros(i64::MAX)), None);
}

#[test]
fn age_counts_whole_days_and_never_overflows() {
    let database = Database::shipped().unwrap();
    let built = i64::try_from(database.built()).unwrap();
    assert_eq!(database.age_days(Timestamp::from_secs(built + 86_400 * 2 - 1)), Some(1));
    assert_eq!(database.age_days(Timestamp::from_secs(built - 1)), Some(0), "a clock a little behind");
    assert_eq!(database.age_days(Timestamp::from_micros(i64::MIN)), None);
}

#[test]
fn an_old_file_is_told_about_and_geolite_sooner() {
    let Some(corpus) = corpus() else { return };
    for (name, limit) in [("GeoLite2-City-Test.mmdb", 30), ("GeoIP2-City-Test.mmdb", 90)] {
        let database = Database::open(Role::Country, &corpus.join("test-data").join(name)).unwrap();
        let after = |days: u64| Timestamp::from_secs(i64::try_from(database.built() + days * DAY).unwrap());
        assert_eq!(warnings_of(&database, after(limit)), [], "{name}");
        let old = Warning::Old { role: Role::Country, age_days: limit + 1 };
        assert_eq!(warnings_of(&database, after(limit + 1)), [old], "{name}");
    }
}

#[test]
fn a_file_over_the_limit_is_refused_before_and_while_reading() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(&[0; 11]).unwrap();
    let open = || File::open(file.path()).unwrap();
    assert!(matches!(read_bounded(open(), 11, 10), Err(OpenError::TooLarge)));
    assert!(matches!(read_bounded(open(), 5, 10), Err(OpenError::TooLarge)), "grown since it was measured");
    assert_eq!(read_bounded(open(), 11, 11).unwrap().len(), 11);
}

#[test]
fn an_unreadable_record_is_an_error_not_a_miss() {
    let Some(corpus) = corpus() else { return };
    let path = corpus.join("bad-data/maxminddb-golang/invalid-string-length.mmdb");
    let Ok(reader) = Reader::from_source(Cow::Owned(std::fs::read(path).unwrap())) else { return };
    let database = Database { reader, shape: Shape::FlatCountry, origin: None };
    let databases = Databases::none().with(database);
    let located = risk::operator_lookup(&databases, ip("1.1.1.1"));
    assert_ne!(located.place().country_lookup(), Lookup::Hit);
}
