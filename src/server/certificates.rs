//! What is doubtful about the certificates of a configuration, in words.
//!
//! Told by `kelisim check`, at the start and at a reload. Never stops anything: a certificate may be renewed while the
//! gateway runs. Bound: a line per certificate and fault, and one for hosts.

use std::sync::Arc;

use crate::clock::Timestamp;
use crate::config::Config;
use crate::forward::SiteUpstream;
use crate::listen::tls::Store;

/// One sentence for each fault.
pub(super) fn warnings(
    stores: &[Arc<Store>],
    upstreams: &[Arc<SiteUpstream>],
    now: Timestamp,
) -> Vec<String> {
    let mut told: Vec<String> = stores.iter().flat_map(|store| store.warnings(now)).collect();
    told.extend(nowhere(stores));
    told.extend(upstreams.iter().enumerate().flat_map(|(index, site)| site.warnings(index, now)));
    told
}

/// The same for files that nobody has opened yet. What cannot be opened is told as a mistake, not here.
#[must_use]
pub fn of_files(config: &Config, now: Timestamp) -> Vec<String> {
    let stores =
        super::start::open_certificates(config).unwrap_or_default().into_iter().flatten().collect::<Vec<_>>();
    let upstreams = SiteUpstream::load_all(&config.sites, &[]).unwrap_or_default();
    warnings(&stores, &upstreams, now)
}

/// Hosts that no listener has a certificate for. Several listeners may share the hosts between them.
fn nowhere(stores: &[Arc<Store>]) -> Option<String> {
    let mut hosts = stores.first()?.uncovered();
    for store in stores {
        let others = store.uncovered();
        hosts.retain(|host| others.contains(host));
    }
    // That nothing fits is told of each listener.
    if hosts.is_empty() || stores.iter().all(|store| store.current().covered.is_empty()) {
        return None;
    }
    let more = hosts.len().saturating_sub(NAMED);
    hosts.truncate(NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    Some(format!(
        "listen[].tls.certificate: no certificate is for {}{more}: over TLS they are answered 421",
        hosts.join(", ")
    ))
}

/// Hosts told by name.
const NAMED: usize = 5;
