//! What the cookie filter costs: twelve cookies of a usual request, with few rules and with many.
//!
//! `cargo bench --bench cookies` shows time. `cargo bench --bench cookies -- --instructions` counts user instructions
//! with valgrind, which repeat where time does not, and fails above [`BUDGET`] or if many rules cost more than
//! [`GROWTH`]. For that it starts itself under callgrind, with and without requests: the difference is theirs, so that
//! compiling the rules does not count. What is counted is splitting, classifying, deciding, making the field that the
//! site gets, and freeing it.

#![allow(clippy::expect_used, reason = "a bench that cannot set up its subject should stop")]

use std::fmt::Write as _;
use std::hint::black_box;
use std::process::Command;

use criterion::Criterion;
use http::HeaderMap;
use kelisim::clock::Timestamp;
use kelisim::cookies::catalogue::Catalogue;
use kelisim::cookies::parse::RequestCookies;
use kelisim::cookies::request::{Outcome, filter};
use kelisim::cookies::response::judge;
use kelisim::cookies::{Actions, CookiePolicy, Mode, Permits};

/// The gateway's own, which is part of what is counted.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Twelve cookies, 450 bytes; three are for advertising.
const FIELD: &[u8] = b"PHPSESSID=n4q8v2k1s7d3m5p9r6t0w8y2z4; csrftoken=kT3vX9bQ1nL7wR5yU2pA8sD4fG6hJ0zC; \
_ga=GA1.2.1203948576.1716239871; _ga_7QK2M9XW1L=GS1.1.1716239871.4.1.1716240022.0.0.0; _fbp=fb.1.1716239871234.987654321; \
_gcl_au=1.1.456789123.1716239871; _ym_uid=171623987155443322; lang=en; theme=dark; \
cart=eyJpdGVtcyI6W3siaWQiOjEyMywicXR5IjoyfSx7ImlkIjo0NTYsInF0eSI6MX1dfQ==; _uetsid=5f2c1a7e0b3d4c6f8a9e0d1c2b3a4f5e; \
OptanonAlertBoxClosed=2024-05-20T21:17:51.236Z";

fn policy(rules: usize) -> CookiePolicy {
    let builtin = Catalogue::builtin().all().count();
    let mut text = "rules = [\n".to_owned();
    for i in builtin..rules {
        let spread = i.wrapping_mul(2_654_435_761) % 1_000_003;
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{{ match = \"={spread:x}_c{i}\", category = \"analytics\" }},");
    }
    text.push(']');
    let catalogue = Catalogue::with_operator(&text).unwrap_or_else(|_| Catalogue::builtin());
    assert_eq!(catalogue.all().count(), rules.max(builtin), "the rules of the bench do not compile");
    CookiePolicy { catalogue, actions: Actions::default(), mode: Mode::Enforce }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        [COUNTED, rules, requests] => {
            work(rules.parse().expect("a number of rules"), requests.parse().expect("a number of requests"));
        }
        _ if arguments.contains(&"--instructions") => count(),
        _ => time(),
    }
}

fn time() {
    let mut criterion = Criterion::default().configure_from_args();
    for rules in RULES {
        let policy = policy(rules);
        // The built-in catalogue alone has more than 300 by now.
        let rules = policy.catalogue.all().count();
        criterion.bench_function(&format!("request filter, 12 cookies, {rules} rules"), |b| {
            b.iter(|| step(&policy));
        });
    }
    let (policy, permits) = (policy(300), Permits::default());
    let answer = HeaderMap::new();
    let field = b"_fbp=fb.1.1716239871234.987654321; Expires=Sun, 18 Aug 2030 21:17:51 GMT; Path=/; Domain=.example.com; Secure";
    criterion.bench_function("Set-Cookie judgement, stripped", |b| {
        b.iter(|| judge(black_box(field), &policy, &permits, &answer, NOW).removes);
    });
    criterion.final_summary();
}

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

/// The step of one request: from the field that came to the field that the site gets.
#[inline(always)]
fn step(policy: &CookiePolicy) -> Outcome {
    let cookies = RequestCookies::parse(std::iter::once(black_box(FIELD)), &policy.catalogue);
    filter(&cookies, policy, &Permits::default())
}

/// What callgrind counts.
fn work(rules: usize, requests: u32) {
    let policy = policy(rules);
    for _ in 0..requests {
        let outcome = black_box(step(&policy));
        assert_eq!(
            outcome.stripped().count(),
            3,
            "the bench has other advertising cookies than the catalogue"
        );
    }
}

/// Counts, prints, and holds the counts to the budget.
fn count() {
    let [few, many] = RULES.map(|rules| {
        let each = (collected(rules, REQUESTS) - collected(rules, 0)) / f64::from(REQUESTS);
        let rules = policy(rules).catalogue.all().count();
        println!("request filter, 12 cookies, {rules} rules: {each:.0} user instructions");
        each
    });
    println!("with many rules {:+.1} %", (many / few - 1.0) * 100.0);
    assert!(few <= BUDGET, "the budget is {BUDGET} user instructions");
    assert!(many <= few * GROWTH, "many rules may cost a tenth more");
}

/// The user instructions of a whole process that does the step for so many requests.
fn collected(rules: usize, requests: u32) -> f64 {
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("out");
    let this = std::env::current_exe().expect("the name of this program");
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", &format!("--callgrind-out-file={}", out.display())])
        .arg(this)
        .args([COUNTED, &rules.to_string(), &requests.to_string()])
        .output()
        .expect("valgrind is installed");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = std::fs::read_to_string(out).expect("what callgrind wrote");
    let total = text.lines().find_map(|line| line.strip_prefix("totals: "));
    total.and_then(|total| total.trim().parse().ok()).expect("a total")
}

/// Most user instructions of a request with few rules.
const BUDGET: f64 = 3500.0;
/// How many times as much many rules may cost.
const GROWTH: f64 = 1.1;
/// Few rules and many.
const RULES: [usize; 2] = [300, 3000];
/// Requests of one count: enough that what differs from start to start does not show.
const REQUESTS: u32 = 20_000;
/// First argument of the process whose instructions are counted.
const COUNTED: &str = "--counted";
