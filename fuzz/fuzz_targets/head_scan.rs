//! The scan of request heads against hyper: what it calls clean, hyper reads as the same requests, in whatever pieces the
//! bytes arrive.

#![no_main]

#[path = "../shared/head_readers.rs"]
mod head_readers;

use kelisim::error::Reason;
use kelisim::listen::scan::{Rules, Scan, Step};
use kelisim::listen::serve::http1;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (Vec<u8>, Vec<u8>, bool)| {
    let (bytes, sizes, strict) = input;
    let rules = Rules { head_bytes: 8192, head_fields: 20, uri_bytes: 1024, strict };
    head_readers::check(&bytes, rules, &sizes);
});
