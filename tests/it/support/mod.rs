//! What every test is built from: a gateway, an origin, and clients that say exactly what they send and got.
//!
//! | part | its job |
//! |---|---|
//! | [`gateway`] | one process of the real binary with its own folder, configuration and ports |
//! | [`builder`] | what it is started with |
//! | [`gate`] | a disk whose fsyncs wait or fail |
//! | [`process`] | signals, and commands run to their end |
//! | [`origin`] | the site behind it: records every request, answers as told, and suspects every header |
//! | [`site`] | the site over TLS, Unix sockets and HTTP/2 |
//! | [`wire`] | HTTP/1.1 as bytes, for origin and client |
//! | [`client`] | a socket that sends bytes and reads exactly one answer |
//! | [`h2`] | the same questions over HTTP/2 |
//! | [`frames`] | HTTP/2 as frames, for clients that break its rules |
//! | [`one_stream`] | one request in such frames, and how it ended |
//! | [`visitor`] | a browser's cookie jar over either protocol, with its choice of consent |
//! | [`tls`] | certificates made on the spot, and clients that trust only them |
//! | [`cli`] | the program's other verbs |
//! | [`browser`] | headless Chromium, driven by its DevTools protocol |
//! | [`server`], [`real_origin`] | servers that nobody here wrote |
//!
//! Nothing here is part of the gateway: it speaks to it by sockets, files and commands only. Waits are bounded by
//! [`PATIENCE`] and say what they waited for; no test measures time.

pub mod browser;
pub mod builder;
pub mod cli;
pub mod client;
pub mod frames;
pub mod gate;
pub mod gateway;
pub mod h2;
pub mod one_stream;
pub mod origin;
pub mod process;
pub mod real_origin;
pub mod server;
pub mod site;
pub mod tls;
pub mod visitor;
pub mod wire;

use std::time::{Duration, Instant};

pub use client::{Ask, Client, Reply, ask};
pub use gateway::{Gateway, HOST};
pub use origin::{Answer, Origin, Seen};
pub use visitor::{ADS, Protocol, SESSION, Visitor};

/// How long a test waits for something that must happen. Only ever reached by a failure.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until `found` finds something.
///
/// # Panics
/// If it does not within [`PATIENCE`]; `what` says what was missing.
pub fn wait_for<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(it) = found() {
            return it;
        }
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The path of a program, or `None` with a line that says what is skipped.
pub fn program(name: &str, more: &[&str]) -> Option<std::path::PathBuf> {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&folders).map(|folder| folder.join(name));
    let found = on_path.chain(more.iter().map(std::path::PathBuf::from)).find(|path| path.is_file());
    if found.is_none() {
        missing(name);
    }
    found
}

/// Says that something is skipped because of what is not installed.
///
/// # Panics
/// If the environment variable `KELISIM_REQUIRE` is set: then nothing may be skipped.
pub fn missing(name: &str) {
    assert!(std::env::var_os("KELISIM_REQUIRE").is_none(), "required, but not installed: {name}");
    eprintln!("skipped: {name} is not installed");
}

/// A hash of bytes, for bodies too large to print.
pub fn digest(bytes: &[u8]) -> String {
    let hash = ring::digest::digest(&ring::digest::SHA256, bytes);
    hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// `size` bytes without a pattern that a mistake could hide behind.
pub fn noise(size: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut out = Vec::with_capacity(size + 8);
    while out.len() < size {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        out.extend_from_slice(&state.to_le_bytes());
    }
    out.truncate(size);
    out
}
