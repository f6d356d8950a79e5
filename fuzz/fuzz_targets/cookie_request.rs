//! Whatever the `Cookie` fields hold (separated by line feeds here), no reader finds a stripped name in what the site
//! gets, and no other cookie is lost.
#![no_main]

use std::sync::LazyLock;

use kelisim::cookies::catalogue::Catalogue;
use kelisim::cookies::parse::RequestCookies;
use kelisim::cookies::request::{Output, filter};
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

fuzz_target!(|data: &[u8]| {
    let fields: Vec<&[u8]> = data.split(|&byte| byte == b'\n').collect();
    let cookies = RequestCookies::parse(fields.iter().copied(), &POLICY.catalogue);
    let permits = Permits::default();
    let outcome = filter(&cookies, &POLICY, &permits);
    let output = match &outcome.output {
        Output::Unchanged => fields.first().copied(),
        Output::Replaced(value) => Some(&**value),
        Output::Removed => None,
    };
    cookie_readers::check_request(&fields, output, &|name| {
        let class = POLICY.catalogue.classify(name);
        class.is_visitor_cookie() || POLICY.blocks(class, &permits)
    });
});
