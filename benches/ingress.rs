//! What ingress costs per request: `cargo bench --bench ingress`.
//!
//! Instructions instead of time, which a shared machine cannot blur: build with `cargo bench --bench ingress --no-run`,
//! then `valgrind --tool=callgrind --toggle-collect='ingress::steps' BINARY --instructions` and divide by
//! [`ROUNDS`]. Every step that is not inlined has its own line in `callgrind_annotate`.

#![allow(clippy::expect_used, reason = "a bench that cannot set up its subject should stop")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use criterion::{BatchSize, Criterion};
use http::request::Parts;
use http::{HeaderName, HeaderValue, Request};
use http_body_util::Empty;
use kelisim::admin::metrics::{LabelSpace, Metrics};
use kelisim::clock::Timestamp;
use kelisim::config;
use kelisim::consent::ConsentKeys;
use kelisim::cookies::CookiePolicy;
use kelisim::cookies::catalogue::Catalogue;
use kelisim::ingress::request_id::Ids;
use kelisim::ingress::{self, Admitted, Normalised};
use kelisim::listen::connection::Connection;
use kelisim::risk::Assessor;
use kelisim::snapshot::Snapshot;

fn main() {
    let (snapshot, ids) = (snapshot(), Ids::new());
    let peer = "203.0.113.7:50000".parse().expect("an address");
    let direct = Connection::new(0, peer, None, Instant::now());
    let peer = "10.0.0.1:50000".parse().expect("an address");
    let proxied = Connection::new(0, peer, None, Instant::now());
    if std::env::args().any(|argument| argument == "--instructions") {
        for _ in 0..ROUNDS {
            let mut parts = browser();
            black_box(steps(&mut parts, &direct, &snapshot, &ids));
        }
        return;
    }
    let mut criterion = Criterion::default().configure_from_args();
    for (name, connection) in [("direct", &direct), ("behind a trusted proxy", &proxied)] {
        criterion.bench_function(&format!("admit and normalise, {name}"), |b| {
            b.iter_batched_ref(
                browser,
                |parts| steps(parts, connection, &snapshot, &ids),
                BatchSize::SmallInput,
            );
        });
    }
    criterion.final_summary();
}

/// The two halves of ingress, as the gateway calls them.
#[inline(never)]
fn steps(
    parts: &mut Parts,
    connection: &Connection,
    snapshot: &Snapshot,
    ids: &Ids,
) -> (Admitted, Normalised) {
    let mut dropped = |reason| {
        black_box(reason);
    };
    let (admitted, look) = ingress::admit(parts, connection, snapshot, ids, &mut dropped).expect("admitted");
    let body = Empty::<bytes::Bytes>::new();
    let normalised =
        ingress::normalise(parts, &body, (&admitted, look.found), connection, snapshot, &mut dropped)
            .expect("normalised");
    (admitted, normalised)
}

/// What Chromium sends to open a page.
fn browser() -> Parts {
    let mut request = Request::get("/catalogue/item?id=1").body(()).expect("a request");
    for (name, value) in FIELDS {
        // As hyper makes them: the value is a slice of what was read.
        request.headers_mut().append(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    request.into_parts().0
}

fn snapshot() -> Snapshot {
    let config = config::parse_pure(CONFIG.as_bytes()).expect("a configuration");
    let cookies = CookiePolicy {
        catalogue: Catalogue::builtin(),
        actions: config.cookies.actions,
        mode: config.cookies.mode,
    };
    let labels = LabelSpace {
        listeners: vec!["[::]:8080".into()],
        hosts: vec!["kz.example".into()],
        upstreams: vec![("kz.example".into(), 1)],
    };
    let (metrics, _): (Arc<Metrics>, _) = Metrics::new(&labels, 1).expect("metrics");
    let assessor = Assessor::new(&config.risk, None, Timestamp::from_secs(1_795_341_600));
    let folder = tempfile::tempdir().expect("a folder");
    let keys = ConsentKeys::load_or_create(folder.path()).expect("keys");
    Snapshot::new(config, cookies, keys, assessor, Vec::new(), &metrics)
}

/// Requests of one measurement.
const ROUNDS: usize = 1000;

const CONFIG: &str = "[[listen]]\naddress = \"[::]:8080\"\n[[site]]\nhosts = [\"kz.example\", \"www.kz.example\"]\n\
    upstream = [\"http://127.0.0.1:3000\"]\ntrusted_proxies = [\"10.0.0.0/8\"]\n";

const FIELDS: [(&str, &str); 16] = [
    ("host", "kz.example"),
    ("connection", "keep-alive"),
    ("sec-ch-ua", "\"Chromium\";v=\"149\", \"Not.A/Brand\";v=\"99\""),
    ("sec-ch-ua-mobile", "?0"),
    ("sec-ch-ua-platform", "\"Linux\""),
    ("upgrade-insecure-requests", "1"),
    (
        "user-agent",
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/149.0.0.0 Safari/537.36",
    ),
    ("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
    ("sec-fetch-site", "same-origin"),
    ("sec-fetch-mode", "navigate"),
    ("sec-fetch-user", "?1"),
    ("sec-fetch-dest", "document"),
    ("referer", "https://kz.example/catalogue"),
    ("accept-encoding", "gzip, deflate, br"),
    ("accept-language", "kk-KZ,kk;q=0.9,ru;q=0.8"),
    ("cookie", "sessionid=abc; csrftoken=def"),
];
