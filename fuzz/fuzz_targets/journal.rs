//! Any bytes as the inside of a journal frame with a right checksum: never a panic, never an endless loop, and every
//! row that comes out can be read.

#![no_main]

use std::ops::ControlFlow;

use kelisim::record::{COLUMNS, Purpose};
use kelisim::store::frame::{Frame, Next};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| {
    // As it came: the checksum stops nearly everything.
    let _ = Frame::decode(body);
    let length = u32::try_from(body.len()).unwrap().to_le_bytes();
    let checksum = crc32c::crc32c_append(crc32c::crc32c(&length), body).to_le_bytes();
    let sealed = [&length[..], &checksum, body].concat();
    if let Next::Frame(frame, _) = Frame::decode(&sealed) {
        let _ = frame.rows((b"node", 1), Purpose::Security.opened(), |row| {
            for column in COLUMNS {
                let _ = row.get(column);
            }
            ControlFlow::<()>::Continue(())
        });
    }
});
