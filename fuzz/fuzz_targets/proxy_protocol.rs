//! Any bytes as a PROXY header: it comes to an end, within its bounds.

#![no_main]

use kelisim::listen::proxy_protocol::{BUFFER, MOST_V1, MOST_V2, Step, step};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut filled = 0;
    loop {
        match step(&bytes[..filled]) {
            Err(_) => return,
            Ok(Step::Read(count)) => {
                assert!(count > 0);
                filled += count;
            }
            Ok(Step::Line(most)) => {
                assert!(most > 0 && filled + most <= MOST_V1);
                let Some(seen) = bytes.get(filled..).filter(|rest| !rest.is_empty()) else { return };
                let seen = &seen[..most.min(seen.len())];
                filled += seen.iter().position(|&byte| byte == b'\n').map_or(seen.len(), |at| at + 1);
            }
            Ok(Step::Done { client, skip }) => {
                assert!(filled + skip <= MOST_V2 && (client.is_none() || filled > 16));
                return;
            }
        }
        assert!(filled <= BUFFER);
        if filled > bytes.len() {
            return;
        }
    }
});
