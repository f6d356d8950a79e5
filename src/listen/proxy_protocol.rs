//! The PROXY protocol, versions 1 and 2: a load balancer tells who connected to it, before the first byte of TLS or HTTP.
//!
//! On a listener that asks for it the header is required; nothing after it is read here. TLVs are skipped, the checksum
//! among them: on a TCP connection it protects against nothing. Never believes a header on another listener. Bounds:
//! [`MOST_V1`] and [`MOST_V2`] bytes, of which [`BUFFER`] are held; the caller's deadline bounds the wait.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str;
use std::sync::Arc;

use ipnet::IpNet;
use tokio::io::AsyncReadExt;

use super::link::Link;
use crate::identify::forwarded::is_trusted;

/// A listener whose connections begin with a PROXY header, and from where they may come.
#[derive(Clone, Debug)]
pub struct Required {
    from: Arc<[IpNet]>,
}

/// What to do after the bytes read so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Read exactly so many more.
    Read(usize),
    /// Read up to the next LF, but not more than so many.
    Line(usize),
    /// The header is understood.
    Done {
        /// The client; `None` for `LOCAL` and `UNKNOWN`: then it is the peer of the socket.
        client: Option<SocketAddr>,
        /// Bytes that still belong to the header and say nothing here.
        skip: usize,
    },
}

/// What was read is no PROXY header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the connection does not begin with a PROXY header")]
pub struct Malformed;

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Another beginning than a PROXY header.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// The connection ended or failed first.
    #[error("the connection ended before its PROXY header")]
    Io(#[from] io::Error),
}

impl Required {
    /// Connections from these networks only; from everywhere if there are none.
    #[must_use]
    pub fn from_networks(from: &[IpNet]) -> Self {
        Self { from: from.into() }
    }

    /// Whether this peer may connect.
    #[must_use]
    pub fn admits(&self, peer: IpAddr) -> bool {
        self.from.is_empty() || is_trusted(peer.to_canonical(), &self.from)
    }
}

/// Reads one header, and nothing of what follows. `None`: the client is the peer of the socket.
///
/// # Errors
/// What arrives is no header, or the connection ends within it.
pub async fn read(link: &mut Link) -> Result<Option<SocketAddr>, ReadError> {
    let mut buffer = [0; BUFFER];
    let mut filled = 0;
    loop {
        match step(&buffer[..filled])? {
            Step::Read(count) => {
                let room = buffer.get_mut(filled..filled + count).ok_or(Malformed)?;
                filled += link.read_exact(room).await?;
            }
            Step::Line(most) => {
                let room = buffer.get_mut(filled..filled + most).ok_or(Malformed)?;
                // Looked at first: what follows the line is TLS or HTTP and stays in the socket.
                let seen = link.peek(room).await?;
                let line = memchr::memchr(b'\n', &room[..seen]).map_or(seen, |at| at + 1);
                if line == 0 {
                    return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
                }
                filled += link.read_exact(&mut room[..line]).await?;
            }
            Step::Done { client, mut skip } => {
                while skip > 0 {
                    let room = skip.min(buffer.len());
                    skip -= link.read_exact(&mut buffer[..room]).await?;
                }
                return Ok(client);
            }
        }
    }
}

/// What to do after `read`, which are all bytes of the header so far.
///
/// # Errors
/// They are not the beginning of a header, or of one that is too long.
pub fn step(read: &[u8]) -> Result<Step, Malformed> {
    if read.len() < SIGNATURE.len() {
        // The shortest header, `PROXY UNKNOWN` with its line end, is longer.
        return Ok(Step::Read(SIGNATURE.len() - read.len()));
    }
    if read.starts_with(SIGNATURE) {
        version_2(read)
    } else if let Some(rest) = read.strip_prefix(b"PROXY ") {
        match rest.strip_suffix(b"\n") {
            Some(line) => version_1(line.strip_suffix(b"\r").ok_or(Malformed)?),
            None if read.len() >= MOST_V1 => Err(Malformed),
            None => Ok(Step::Line(MOST_V1 - read.len())),
        }
    } else {
        Err(Malformed)
    }
}

fn version_1(line: &[u8]) -> Result<Step, Malformed> {
    let done = |client| Ok(Step::Done { client, skip: 0 });
    let line = str::from_utf8(line).map_err(|_| Malformed)?;
    // What a balancer adds to UNKNOWN is for nobody.
    if line == "UNKNOWN" || line.starts_with("UNKNOWN ") {
        return done(None);
    }
    let mut words = line.split(' ');
    let mut word = || words.next().ok_or(Malformed);
    let family = word()?;
    let address: fn(&str) -> Option<IpAddr> = match family {
        "TCP4" => |text| text.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
        "TCP6" => |text| text.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        _ => return Err(Malformed),
    };
    let source = address(word()?).ok_or(Malformed)?;
    address(word()?).ok_or(Malformed)?;
    let source_port = port(word()?)?;
    port(word()?)?;
    match words.next() {
        None => done(Some(SocketAddr::new(source, source_port))),
        Some(_) => Err(Malformed),
    }
}

/// Decimal, without leading zeros: those would be octal to some.
fn port(text: &str) -> Result<u16, Malformed> {
    let plain = text == "0" || !text.starts_with('0');
    let digits = plain && text.bytes().all(|byte| byte.is_ascii_digit());
    if digits { text.parse().map_err(|_| Malformed) } else { Err(Malformed) }
}

fn version_2(read: &[u8]) -> Result<Step, Malformed> {
    let Some((fixed, addresses)) = read.split_at_checked(FIXED) else {
        return Ok(Step::Read(FIXED - read.len()));
    };
    let &[command, family, high, low] = fixed.last_chunk().ok_or(Malformed)?;
    let declared = usize::from(u16::from_be_bytes([high, low]));
    if FIXED + declared > MOST_V2 {
        return Err(Malformed);
    }
    let length = match (command, family) {
        // LOCAL: the balancer itself, for instance its health check.
        (0x20, _) => 0,
        // No address that means something here: unspecified, or the path of a Unix socket.
        (0x21, 0x00..=0x02 | 0x31) => 0,
        (0x21, 0x11) => 12,
        (0x21, 0x21) => 36,
        // Another version, an unknown command or family, or datagrams, which no TCP connection carries.
        _ => return Err(Malformed),
    };
    if declared < length {
        return Err(Malformed);
    }
    if addresses.len() < length {
        return Ok(Step::Read(length - addresses.len()));
    }
    let client = match family {
        _ if length == 0 => None,
        0x11 => {
            let ip: [u8; 4] = part(addresses, 0)?;
            Some(SocketAddr::new(ip.into(), u16::from_be_bytes(part(addresses, 8)?)))
        }
        _ => {
            let ip: [u8; 16] = part(addresses, 0)?;
            Some(SocketAddr::new(ip.into(), u16::from_be_bytes(part(addresses, 32)?)))
        }
    };
    Ok(Step::Done { client, skip: declared - length })
}

fn part<const N: usize>(bytes: &[u8], at: usize) -> Result<[u8; N], Malformed> {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).copied().ok_or(Malformed)
}

/// Bytes of a version 1 header with its line end.
pub const MOST_V1: usize = 107;
/// Bytes of a version 2 header with its TLVs.
pub const MOST_V2: usize = 4096;
/// Bytes of a header that are in memory at once: a line of version 1 is the longest.
pub const BUFFER: usize = 128;

const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Signature, command, family, length.
const FIXED: usize = 16;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio::io::AsyncWriteExt;
    use tokio::net::{TcpListener, TcpStream, UnixStream};

    use super::*;

    /// What a whole header in memory says, and how long it is.
    fn parsed(bytes: &[u8]) -> Result<Option<(Option<SocketAddr>, usize)>, Malformed> {
        let mut filled = 0;
        loop {
            let left = bytes.len() - filled;
            match step(&bytes[..filled])? {
                Step::Read(count) if count <= left => filled += count,
                Step::Line(most) => {
                    let seen = &bytes[filled..][..most.min(left)];
                    match memchr::memchr(b'\n', seen).map_or(seen.len(), |at| at + 1) {
                        0 => return Ok(None),
                        count => filled += count,
                    }
                }
                Step::Done { client, skip } if skip <= left => return Ok(Some((client, filled + skip))),
                Step::Read(_) | Step::Done { .. } => return Ok(None),
            }
            assert!(filled <= BUFFER);
        }
    }

    fn client(bytes: &[u8]) -> Result<Option<String>, Malformed> {
        let (client, length) = parsed(bytes)?.expect("a whole header");
        assert_eq!(length, bytes.len());
        Ok(client.map(|client| client.to_string()))
    }

    fn v2(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
        let length = u16::try_from(body.len()).unwrap().to_be_bytes();
        [SIGNATURE.as_slice(), &[command, family], &length, body].concat()
    }

    #[test]
    fn version_1_is_read_strictly() {
        let told = |line: &str| client(format!("PROXY {line}\r\n").as_bytes());
        assert_eq!(told("TCP4 203.0.113.7 192.0.2.1 56324 443"), Ok(Some("203.0.113.7:56324".into())));
        assert_eq!(told("TCP6 2001:db8::7 ::1 1 0"), Ok(Some("[2001:db8::7]:1".into())));
        assert_eq!(told("UNKNOWN"), Ok(None));
        assert_eq!(told("UNKNOWN ffff::1 ffff::1 65535 65535"), Ok(None));
        for bad in [
            "TCP4",
            "TCP4 203.0.113.7 192.0.2.1 56324",
            "TCP4 203.0.113.7 192.0.2.1 56324 443 1",
            "TCP4 203.0.113.7  192.0.2.1 56324 443",
            "TCP4 203.0.113.7 192.0.2.1 56324 443 ",
            "TCP4 203.0.113.7 192.0.2.1 056324 443",
            "TCP4 203.0.113.7 192.0.2.1 65536 443",
            "TCP4 203.0.113.7 192.0.2.1 +5 443",
            "TCP4 203.0.113.07 192.0.2.1 5 443",
            "TCP4 2001:db8::7 ::1 1 2",
            "TCP6 203.0.113.7 192.0.2.1 1 2",
            "TCP5 203.0.113.7 192.0.2.1 1 2",
            "UNKNOWNX",
            "tcp4 203.0.113.7 192.0.2.1 1 2",
        ] {
            assert_eq!(told(bad), Err(Malformed), "{bad}");
        }
        assert_eq!(parsed(b"PROXY UNKNOWN  \n"), Err(Malformed), "a bare LF");
        assert_eq!(parsed(b"GET / HTTP/1.1\r\n"), Err(Malformed));
        assert_eq!(parsed(b"PROXY\tUNKNOWN\r\n"), Err(Malformed));
    }

    #[test]
    fn version_1_ends_after_107_bytes() {
        let longest = format!("PROXY UNKNOWN {}\r\n", "x".repeat(MOST_V1 - 16));
        assert_eq!(longest.len(), MOST_V1);
        assert_eq!(client(longest.as_bytes()), Ok(None));
        assert_eq!(parsed(format!("PROXY UNKNOWN {}", "x".repeat(500)).as_bytes()), Err(Malformed));
        assert_eq!(parsed(longest.replace('\r', "xx\r").as_bytes()), Err(Malformed));
    }

    #[test]
    fn version_2_gives_the_source_and_skips_what_follows() {
        let four = [203, 0, 113, 7, 192, 0, 2, 1, 0xdc, 4, 1, 0xbb];
        assert_eq!(client(&v2(0x21, 0x11, &four)), Ok(Some("203.0.113.7:56324".into())));
        let with_tlvs = [four.as_slice(), &[0x03, 0, 4, 0, 0, 0, 0, 0x04, 0, 1, 9]].concat();
        assert_eq!(client(&v2(0x21, 0x11, &with_tlvs)), Ok(Some("203.0.113.7:56324".into())));
        let mut six = [0; 36];
        six[..16].copy_from_slice(&"2001:db8::7".parse::<Ipv6Addr>().unwrap().octets());
        six[33] = 80;
        assert_eq!(client(&v2(0x21, 0x21, &six)), Ok(Some("[2001:db8::7]:80".into())));
        for nobody in [v2(0x20, 0x11, &four), v2(0x20, 0, b""), v2(0x21, 0, b""), v2(0x21, 0x31, &[0; 216])] {
            assert_eq!(client(&nobody), Ok(None));
        }
        for bad in [
            v2(0x11, 0x11, &four),
            v2(0x22, 0x11, &four),
            v2(0x21, 0x12, &four),
            v2(0x21, 0x22, &six),
            v2(0x21, 0x41, &four),
            v2(0x21, 0x13, &four),
            v2(0x21, 0x11, &four[..11]),
            v2(0x21, 0x21, &four),
        ] {
            assert_eq!(parsed(&bad), Err(Malformed), "{bad:02x?}");
        }
    }

    #[test]
    fn version_2_is_refused_by_its_declared_length() {
        assert_eq!(client(&v2(0x20, 0, &[0; MOST_V2 - FIXED])), Ok(None));
        // Not a byte of it has to be there.
        assert_eq!(step(&v2(0x20, 0, &[0; MOST_V2 - FIXED + 1])[..FIXED]), Err(Malformed));
    }

    #[test]
    fn only_listed_balancers_are_admitted() {
        let all = Required::from_networks(&[]);
        let some = Required::from_networks(&["10.0.0.0/8".parse().unwrap()]);
        for (peer, admitted) in [("10.1.2.3", true), ("::ffff:10.1.2.3", true), ("203.0.113.7", false)] {
            let peer = peer.parse().unwrap();
            assert!(all.admits(peer));
            assert_eq!(some.admits(peer), admitted);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_come_to_an_end(bytes in prop::collection::vec(any::<u8>(), 0..300), two: bool) {
            let start: &[u8] = if two { SIGNATURE } else { b"PROXY TCP4 " };
            for bytes in [&bytes, &[start, &bytes].concat()] {
                if let Ok(Some((_, length))) = parsed(bytes) {
                    prop_assert!(length <= MOST_V2);
                }
            }
        }

        #[test]
        fn every_address_is_told(ip: IpAddr, port: u16) {
            let text = match ip {
                IpAddr::V4(_) => format!("PROXY TCP4 {ip} 192.0.2.1 {port} 80\r\n"),
                IpAddr::V6(_) => format!("PROXY TCP6 {ip} ::1 {port} 80\r\n"),
            };
            prop_assert_eq!(parsed(text.as_bytes()), Ok(Some((Some(SocketAddr::new(ip, port)), text.len()))));
        }
    }

    /// Both ends of a connection of each kind.
    async fn links() -> [(Link, Link); 2] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        client.set_nodelay(true).unwrap();
        let tcp = (Link::Tcp(client), Link::Tcp(listener.accept().await.unwrap().0));
        let (client, server) = UnixStream::pair().unwrap();
        [tcp, (Link::Unix(client), Link::Unix(server))]
    }

    #[tokio::test]
    async fn what_follows_stays_in_the_socket_however_it_arrives() {
        let four = [203, 0, 113, 7, 192, 0, 2, 1, 0xdc, 4, 1, 0xbb, 0xee, 0, 1, 0];
        for header in [b"PROXY TCP4 203.0.113.7 192.0.2.1 56324 443\r\n".to_vec(), v2(0x21, 0x11, &four)] {
            for (mut client, mut server) in links().await {
                let writer = async {
                    for byte in &header {
                        client.write_all(&[*byte]).await.unwrap();
                        tokio::task::yield_now().await;
                    }
                    client.write_all(b"GET").await.unwrap();
                    client.shutdown().await.unwrap();
                };
                let reader = async {
                    let told = read(&mut server).await.unwrap();
                    assert_eq!(told, Some("203.0.113.7:56324".parse().unwrap()));
                    let mut rest = Vec::new();
                    server.read_to_end(&mut rest).await.unwrap();
                    assert_eq!(rest, b"GET");
                };
                tokio::join!(writer, reader);
            }
        }
    }
}
