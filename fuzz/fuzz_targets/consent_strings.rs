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
        assert!(bytes.len() >= 36);
        let spoilt = [bytes, b"="].concat();
        assert_eq!(tcf::read(&spoilt, Purposes::ADVERTISING).verdict, Verdict::Unknown);
    }
    let gpp = gpp::read(bytes, Purposes::ADVERTISING);
    assert!(gpp == gpp::Gpp::default() || bytes.contains(&b'~') || bytes.contains(&b'%'));
    if gpp::us_privacy_denies(bytes) {
        assert!(bytes.len() >= 4 && bytes.len() <= 36);
    }
    if let Ok(query) = std::str::from_utf8(bytes) {
        let refused = mode::read(query);
        assert!(refused == mode::Refused::default() || query.contains("gcs=") || query.contains("gcd="));
    }
});
