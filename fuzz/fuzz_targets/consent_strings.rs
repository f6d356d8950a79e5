//! Any bytes as a TC string, a GPP string, `us_privacy` and a query with Consent Mode: never a panic, and a grant only
//! from a string that is whole.
#![no_main]

use kelisim::consent::banner::mode;
use kelisim::consent::gpp;
use kelisim::consent::signal::Verdict;
use kelisim::consent::tcf::{self, Purposes};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let said = tcf::read(bytes, Purposes::ADVERTISING);
    if said.verdict == Verdict::Granted {
        // Fewer purposes are granted too; more characters of another alphabet are not.
        assert_eq!(tcf::read(bytes, Purposes::of([1])).verdict, Verdict::Granted);
        assert!(bytes.len() >= 43);
        let spoilt = [bytes, b"="].concat();
        assert_eq!(tcf::read(&spoilt, Purposes::ADVERTISING).verdict, Verdict::Unknown);
    }
    let gpp = gpp::read(bytes, Purposes::ADVERTISING);
    let says_something = gpp.opted_out || gpp.tcf.is_some();
    assert!(!says_something || bytes.contains(&b'~') || bytes.contains(&b'%'));
    if gpp::read_us_privacy(bytes).is_some() {
        assert!(bytes.len() >= 4);
    }
    if let Ok(query) = std::str::from_utf8(bytes) {
        let refused = mode::read(query);
        assert!(refused == mode::Refused::default() || query.contains("gcs=") || query.contains("gcd="));
    }
});
