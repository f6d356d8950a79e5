//! Any bytes as a configuration: a configuration or a list of mistakes, never a panic.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Err(problems) = kelisim::config::parse_pure(bytes) {
        assert!(!problems.list().is_empty());
        assert!(!problems.render(false).is_empty());
    }
});
