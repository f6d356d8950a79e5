//! Whatever a `Set-Cookie` field holds: if it passes and sets a cookie, the request filter lets that cookie back in.
#![no_main]

use std::sync::LazyLock;

use http::HeaderMap;
use kelisim::clock::Timestamp;
use kelisim::cookies::catalogue::Catalogue;
use kelisim::cookies::parse::RequestCookies;
use kelisim::cookies::request::{Output, filter};
use kelisim::cookies::response::{Verdict, judge};
use kelisim::cookies::{Actions, CookiePolicy, Mode, Permits};
use libfuzzer_sys::fuzz_target;

#[path = "../shared/cookie_readers.rs"]
#[allow(dead_code)]
mod cookie_readers;

static POLICY: LazyLock<CookiePolicy> = LazyLock::new(|| CookiePolicy {
    catalogue: Catalogue::builtin(),
    actions: Actions::default(),
    mode: Mode::Enforce,
});

fuzz_target!(|field: &[u8]| {
    let permits = Permits::default();
    let verdict =
        judge(field, &POLICY, &permits, &HeaderMap::new(), Timestamp::from_secs(1_800_000_000)).verdict;
    let Some(sent) = cookie_readers::sent_back(field).filter(|sent| !sent.is_empty()) else { return };
    let cookies = RequestCookies::parse(std::iter::once(sent.as_slice()), &POLICY.catalogue);
    let passes = matches!(filter(&cookies, &POLICY, &permits).output, Output::Unchanged);
    match verdict {
        Verdict::Keep => assert!(passes, "set, and not let back in"),
        Verdict::Deletion | Verdict::Strip => assert!(!passes, "not set, and let in"),
        Verdict::Reserved => {}
    }
});
