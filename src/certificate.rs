//! What a certificate file says of itself: when it is valid, and whether its chain is in order.
//!
//! Nothing here stops anything: rustls serves an expired certificate, and its clients refuse it. So it is told instead.
//! Never verifies a peer. Bound: one signature for each file that is read.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use rustls::pki_types::{CertificateDer, UnixTime};
use webpki::{EndEntityCert, Error, KeyUsage};

use crate::clock::Timestamp;

/// What is known of a certificate and the rest of its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// From when it is valid.
    pub begins: Timestamp,
    /// Until when.
    pub ends: Timestamp,
    /// Whether the second certificate of the file issued the first; true if there is none.
    pub in_order: bool,
}

/// Why clients will not accept a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is no longer valid.
    Expired(Timestamp),
    /// It is not valid yet.
    NotYetValid(Timestamp),
    /// What follows it in its file did not issue it.
    Order,
}

impl Facts {
    /// Looks at the certificates of one file; `None` if there is none, or its times cannot be read.
    #[must_use]
    pub fn of(chain: &[CertificateDer<'_>]) -> Option<Self> {
        let leaf = chain.first()?;
        let (begins, ends) = times(leaf)?;
        let in_order = chain.get(1).is_none_or(|issuer| is_issued_by(leaf, issuer, begins));
        Some(Self { begins, ends, in_order })
    }

    /// What is wrong with it at `now`.
    pub fn faults(self, now: Timestamp) -> impl Iterator<Item = Fault> {
        let validity = if now > self.ends {
            Some(Fault::Expired(self.ends))
        } else {
            (now < self.begins).then_some(Fault::NotYetValid(self.begins))
        };
        validity.into_iter().chain((!self.in_order).then_some(Fault::Order))
    }

    /// One sentence for each fault of the file at this key.
    pub fn warnings(self, key: &str, path: &Path, now: Timestamp) -> impl Iterator<Item = String> {
        self.faults(now).map(move |fault| format!("{key}: {} {fault}", path.display()))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Expired(ends) => write!(f, "expired at {ends}: clients refuse it"),
            Self::NotYetValid(begins) => write!(f, "is not valid before {begins}: clients refuse it"),
            Self::Order => f.write_str(
                "does not hold the issuer of its first certificate as the second: some clients cannot verify it",
            ),
        }
    }
}

/// From when until when a certificate is valid. webpki tells it only to those who come too early or too late.
fn times(leaf: &CertificateDer<'_>) -> Option<(Timestamp, Timestamp)> {
    let leaf = EndEntityCert::try_from(leaf).ok()?;
    let at = |seconds| {
        let time = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        leaf.verify_for_usage(&[], &[], &[], time, KeyUsage::server_auth(), None, None).err()
    };
    let ends = match at(u64::MAX)? {
        Error::CertExpired { not_after, .. } => timestamp(not_after),
        _ => return None,
    };
    let begins = match at(0)? {
        Error::CertNotValidYet { not_before, .. } => timestamp(not_before),
        _ => Timestamp::from_secs(0),
    };
    Some((begins, ends))
}

fn timestamp(time: UnixTime) -> Timestamp {
    Timestamp::from_secs(i64::try_from(time.as_secs()).unwrap_or(i64::MAX))
}

/// Whether `issuer` signed `leaf`. True as well where that cannot be said.
fn is_issued_by(leaf: &CertificateDer<'_>, issuer: &CertificateDer<'_>, valid: Timestamp) -> bool {
    let (Ok(leaf), Ok(issuer)) = (EndEntityCert::try_from(leaf), webpki::anchor_from_trusted_cert(issuer))
    else {
        return true;
    };
    let time = UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(valid.as_secs()).unwrap_or(0)));
    let algorithms = rustls::crypto::ring::default_provider().signature_verification_algorithms.all;
    let anchors = [issuer];
    let found = leaf.verify_for_usage(algorithms, &anchors, &[], time, KeyUsage::server_auth(), None, None);
    !matches!(found.err(), Some(Error::UnknownIssuer | Error::InvalidSignatureForPublicKey))
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};

    use super::*;

    fn authority(name: &str) -> CertifiedIssuer<'static, KeyPair> {
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
    }

    fn leaf(issuer: &CertifiedIssuer<'static, KeyPair>) -> CertificateDer<'static> {
        let mut params = CertificateParams::new(vec!["kz.example".to_owned()]).unwrap();
        (params.not_before, params.not_after) = (date_time_ymd(2026, 1, 1), date_time_ymd(2027, 1, 1));
        params.signed_by(&KeyPair::generate().unwrap(), issuer).unwrap().der().clone()
    }

    fn day(text: &str) -> Timestamp {
        let time: jiff::Timestamp = format!("{text}T00:00:00Z").parse().unwrap();
        Timestamp::from_secs(time.as_second())
    }

    #[test]
    fn a_certificate_says_when_it_is_valid() {
        let facts = Facts::of(&[leaf(&authority("a"))]).unwrap();
        assert_eq!((facts.begins, facts.ends), (day("2026-01-01"), day("2027-01-01")));
        let faults = |now| facts.faults(day(now)).collect::<Vec<_>>();
        assert_eq!(faults("2026-06-01"), []);
        assert_eq!(faults("2025-06-01"), [Fault::NotYetValid(facts.begins)]);
        assert_eq!(faults("2027-06-01"), [Fault::Expired(facts.ends)]);
        let told: Vec<_> = facts.warnings("key", Path::new("a.pem"), day("2027-06-01")).collect();
        assert_eq!(told, ["key: a.pem expired at 2027-01-01T00:00:00.000000Z: clients refuse it"]);
    }

    #[test]
    fn the_second_certificate_is_to_be_the_issuer_of_the_first() {
        // Of the same name, but with another key.
        let (issuer, other, namesake) = (authority("a"), authority("b"), authority("a"));
        let chain = |second: &CertifiedIssuer<'static, KeyPair>| {
            let second = CertificateDer::from(second.der().to_vec());
            Facts::of(&[leaf(&issuer), second]).unwrap().in_order
        };
        assert!(chain(&issuer));
        assert!(!chain(&other) && !chain(&namesake));
    }

    #[test]
    fn what_is_no_certificate_says_nothing() {
        assert_eq!(Facts::of(&[]), None);
        assert_eq!(Facts::of(&[CertificateDer::from(vec![1, 2, 3])]), None);
    }
}
