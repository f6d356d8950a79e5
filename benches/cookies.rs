//! What the cookie filter costs: twelve cookies of a usual request, with few rules and with many.
//!
//! Budget: 3.5 thousand instructions with 300 rules, and not more than a tenth more with 3000. Time is shown here;
//! instructions are counted under callgrind. Last count: 5.2
//! thousand with 300 rules and the same with 3000, so the first half of the budget is not kept yet.

use std::fmt::Write as _;
use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use kelisim::clock::Timestamp;
use kelisim::cookies::catalogue::Catalogue;
use kelisim::cookies::parse::RequestCookies;
use kelisim::cookies::request::filter;
use kelisim::cookies::response::judge;
use kelisim::cookies::{Actions, CookiePolicy, Mode, Permits};

/// Twelve cookies, about 700 bytes; three are for advertising.
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

fn request(c: &mut Criterion) {
    let permits = Permits::default();
    for rules in [300, 3000] {
        let policy = policy(rules);
        // The built-in catalogue alone has more than 300 by now.
        let rules = policy.catalogue.all().count();
        c.bench_function(&format!("request filter, 12 cookies, {rules} rules"), |b| {
            b.iter(|| {
                let cookies = RequestCookies::parse(std::iter::once(black_box(FIELD)), &policy.catalogue);
                filter(&cookies, &policy, &permits)
            });
        });
    }
}

fn response(c: &mut Criterion) {
    let (policy, permits) = (policy(300), Permits::default());
    let field = b"_fbp=fb.1.1716239871234.987654321; Expires=Sun, 18 Aug 2030 21:17:51 GMT; Path=/; Domain=.example.com; Secure";
    c.bench_function("Set-Cookie judgement, stripped", |b| {
        b.iter(|| judge(black_box(field), &policy, &permits, Timestamp::from_secs(1_800_000_000)).removes);
    });
}

criterion_group!(benches, request, response);
criterion_main!(benches);
