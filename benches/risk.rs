//! What location and risk cost per request: `cargo bench --bench risk`.

#![allow(clippy::expect_used, reason = "a bench that cannot set up its subject should stop")]
#![allow(missing_docs, reason = "criterion's macros make public functions")]

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use http::Method;
use kelisim::clock::Timestamp;
use kelisim::config::{CountryDatabase, Geoip, Risk};
use kelisim::geo::{Databases, LookupCache};
use kelisim::identify::forwarded;
use kelisim::identify::visitor::{VerifyCache, VisitorKeys};
use kelisim::risk::{Actions, Assessor, Visit};

const NOW: Timestamp = Timestamp::from_secs(1_795_341_600);

fn request(c: &mut Criterion) {
    let geoip = Geoip {
        country: CountryDatabase::Shipped,
        asn: None,
        check_every: Duration::from_secs(60),
        headers: None,
    };
    let (databases, _) = Databases::open(&geoip, NOW).expect("the shipped database");
    let risk = Risk {
        actions: Actions::default(),
        off: Vec::new(),
        caps: Vec::new(),
        observe_days: None,
        login_paths: vec!["/login".to_owned()],
        failed_login_statuses: vec![401..=401, 403..=403],
        shared_networks: Vec::new(),
        shared_asns: Vec::new(),
        visitor_cookie: true,
        memory_bytes: 30 << 20,
    };
    let assessor = Assessor::new(&risk, None, NOW);
    let data = tempfile::tempdir().expect("a folder");
    let keys = VisitorKeys::load_or_create(data.path()).expect("keys");
    let (_, header) = keys.issue(NOW, true);
    let cookie = header.as_bytes()[b"kelisim_vid=".len()..][..48].to_vec();
    let peer = "81.2.69.142".parse().expect("an address");
    let address = forwarded::resolve(peer, std::iter::empty(), &[]).client;
    let visitor = keys.verify(&cookie, NOW);
    let visit = Visit { address, visitor, method: &Method::GET, path: "/", user_agent: None };

    c.bench_function("locate and assess", |b| {
        b.iter(|| assessor.assess(NOW, &databases, &mut LookupCache::default(), black_box(&visit)));
    });
    let mut cached = LookupCache::default();
    c.bench_function("assess, place cached", |b| {
        b.iter(|| assessor.assess(NOW, &databases, &mut cached, black_box(&visit)));
    });
    c.bench_function("verify the visitor cookie", |b| b.iter(|| keys.verify(black_box(&cookie), NOW)));
    let mut seen = VerifyCache::default();
    c.bench_function("verify it again", |b| b.iter(|| seen.verify(&keys, black_box(&cookie), NOW)));
    c.bench_function("issue a visitor cookie", |b| b.iter(|| keys.issue(NOW, true)));
}

criterion_group!(benches, request);
criterion_main!(benches);
