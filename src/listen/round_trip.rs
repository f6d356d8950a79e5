//! The round trip to a client, as the kernel measured it while the TCP connection was made (`TCP_INFO`, Linux).
//!
//! The only module with `unsafe`: no library that is kept offers this option of a socket by a safe function. Never waits,
//! and asks once for each connection. Bound: one system call.
#![expect(unsafe_code, reason = "getsockopt with TCP_INFO; the block says why it is sound")]

use std::mem::{offset_of, size_of};
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

/// The kernel's smoothed round trip time; `None` where the socket is none of TCP, or nothing was measured.
pub(super) fn measured(socket: impl AsFd) -> Option<Duration> {
    let mut info = [0_u8; size_of::<libc::tcp_info>()];
    let mut length = libc::socklen_t::try_from(info.len()).ok()?;
    // SAFETY: the descriptor is open as long as `socket` is borrowed; the kernel writes at most `length` bytes to `info`,
    // which has so many and may hold any, and to `length` how many they were.
    let outcome = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            info.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    let known = info.get(..usize::try_from(length).ok()?).filter(|_| outcome == 0)?;
    let micros = known.get(offset_of!(libc::tcp_info, tcpi_rtt)..)?.first_chunk()?;
    Some(Duration::from_micros(u64::from(u32::from_ne_bytes(*micros)))).filter(|rtt| !rtt.is_zero())
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn an_accepted_connection_was_measured() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let _client = TcpStream::connect(listener.local_addr().expect("its address")).expect("connects");
        let (accepted, _) = listener.accept().expect("accepts");
        let measured = measured(&accepted).expect("a round trip");
        assert!(measured < Duration::from_secs(1), "{measured:?}");
    }

    #[test]
    fn no_other_module_has_unsafe() {
        let mut folders = vec![std::path::PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src")];
        let mut excepted = Vec::new();
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).expect("a folder") {
                let path = entry.expect("an entry").path();
                if path.is_dir() {
                    folders.push(path);
                } else if std::fs::read_to_string(&path).is_ok_and(|text| text.contains("unsafe_code")) {
                    excepted.push(path.file_name().expect("a name").to_owned());
                }
            }
        }
        assert_eq!(excepted, ["round_trip.rs"]);
    }

    #[test]
    fn a_unix_socket_and_a_listener_have_no_round_trip() {
        let (one, _other) = UnixStream::pair().expect("a pair");
        assert_eq!(measured(&one), None);
        assert_eq!(measured(TcpListener::bind("127.0.0.1:0").expect("a port")), None);
    }
}
