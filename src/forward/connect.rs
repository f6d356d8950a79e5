//! From an endpoint's name to a connected socket.
//!
//! Names are resolved at most every 30 s, and again when connecting to what is known fails. One wait covers the look-up
//! and all addresses. Never chooses an endpoint. Bound: eight addresses for a name.

use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::{Duration, Instant};

use smallvec::SmallVec;
use tokio::net::{TcpStream, lookup_host};
use tokio::sync::Mutex;
use tokio::time::{timeout, timeout_at};

use crate::clock;
use crate::config;
use crate::error::{Reason, Refusal};

/// Where to connect to.
pub(super) struct Target {
    host: String,
    port: u16,
    /// Set if the host is an address.
    fixed: Option<SocketAddr>,
    /// A lock, so that requests that come together cause one look-up.
    known: Mutex<Option<Known>>,
}

#[derive(Clone)]
struct Known {
    addresses: Rc<[SocketAddr]>,
    since: Instant,
}

impl Target {
    /// A target from the configuration.
    pub(super) fn new(endpoint: &config::Endpoint) -> Self {
        let fixed = endpoint.host.parse::<IpAddr>().ok().map(|ip| SocketAddr::new(ip, endpoint.port));
        Self { host: endpoint.host.clone(), port: endpoint.port, fixed, known: Mutex::new(None) }
    }

    /// Connects within `limit`.
    ///
    /// # Errors
    /// `Dns`, `ConnectRefused` or `ConnectTimeout`; the last address tried decides.
    pub(super) async fn connect(&self, limit: Duration) -> Result<TcpStream, Refusal> {
        let deadline = clock::monotonic() + limit;
        if let Some(address) = self.fixed {
            return dial(&[address], deadline).await;
        }
        let (addresses, fresh) = self.addresses(deadline).await?;
        let refusal = match dial(&addresses, deadline).await {
            Ok(stream) => return Ok(stream),
            Err(refusal) => refusal,
        };
        self.forget(&addresses).await;
        if fresh {
            return Err(refusal);
        }
        // What was known may be old: the endpoint has perhaps moved.
        let (renewed, _) = self.addresses(deadline).await?;
        if renewed == addresses { Err(refusal) } else { dial(&renewed, deadline).await }
    }

    /// The addresses, and whether they were looked up just now.
    async fn addresses(&self, deadline: Instant) -> Result<(Rc<[SocketAddr]>, bool), Refusal> {
        let look_up = async {
            let mut known = self.known.lock().await;
            if let Some(known) = &*known
                && clock::monotonic().saturating_duration_since(known.since) < KEEP_ADDRESSES
            {
                return Ok((Rc::clone(&known.addresses), false));
            }
            let found = lookup_host((self.host.as_str(), self.port)).await;
            let found = found.map_err(|e| Refusal::caused_by(Reason::Dns, e))?;
            let addresses: SmallVec<[SocketAddr; MAX_ADDRESSES]> = found.take(MAX_ADDRESSES).collect();
            if addresses.is_empty() {
                return Err(Refusal::from(Reason::Dns));
            }
            let addresses = Rc::<[SocketAddr]>::from(addresses.as_slice());
            *known = Some(Known { addresses: Rc::clone(&addresses), since: clock::monotonic() });
            Ok((addresses, true))
        };
        match timeout_at(deadline.into(), look_up).await {
            Ok(outcome) => outcome,
            Err(elapsed) => Err(Refusal::caused_by(Reason::Dns, elapsed)),
        }
    }

    /// Forgets these addresses, unless others were found meanwhile.
    async fn forget(&self, addresses: &Rc<[SocketAddr]>) {
        let mut known = self.known.lock().await;
        if known.as_ref().is_some_and(|known| Rc::ptr_eq(&known.addresses, addresses)) {
            *known = None;
        }
    }
}

/// Tries the addresses one after the other. Each gets its share of the time left, so that one that swallows packets
/// leaves time for the next.
async fn dial(addresses: &[SocketAddr], deadline: Instant) -> Result<TcpStream, Refusal> {
    let mut last = Refusal::from(Reason::Dns);
    let mut left = u32::try_from(addresses.len()).unwrap_or(1);
    for address in addresses {
        let share = deadline.saturating_duration_since(clock::monotonic()) / left.max(1);
        left = left.saturating_sub(1);
        match timeout(share, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => match stream.set_nodelay(true) {
                Ok(()) => return Ok(stream),
                Err(error) => last = Refusal::caused_by(Reason::ConnectRefused, error),
            },
            Ok(Err(error)) => last = Refusal::caused_by(Reason::ConnectRefused, error),
            Err(elapsed) => last = Refusal::caused_by(Reason::ConnectTimeout, elapsed),
        }
    }
    Err(last)
}

/// How long a resolved name is believed.
const KEEP_ADDRESSES: Duration = Duration::from_secs(30);
/// Addresses tried for one name.
const MAX_ADDRESSES: usize = 8;

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    fn run<F: Future>(test: F) -> F::Output {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test)
    }

    /// A listener, and an address where nobody listens.
    async fn alive_and_dead() -> (TcpListener, SocketAddr) {
        let alive = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let dead = TcpListener::bind(("127.0.0.1", 0)).await.unwrap().local_addr().unwrap();
        (alive, dead)
    }

    fn knowing(host: &str, port: u16, address: SocketAddr, since: Instant) -> Target {
        let target = Target::new(&config::Endpoint { host: host.into(), port });
        let known = Some(Known { addresses: Rc::from([address]), since });
        Target { known: Mutex::new(known), ..target }
    }

    /// Longer than a DNS label may be, so that looking it up fails without a query.
    fn unknown() -> String {
        "x".repeat(64)
    }

    #[test]
    fn the_next_address_is_tried() {
        run(async {
            let (alive, dead) = alive_and_dead().await;
            let addresses = [dead, alive.local_addr().unwrap()];
            assert!(dial(&addresses, clock::monotonic() + LIMIT).await.is_ok());
        });
    }

    #[test]
    fn a_known_name_is_not_looked_up_until_it_is_old() {
        run(async {
            let (alive, _) = alive_and_dead().await;
            let address = alive.local_addr().unwrap();
            let now = clock::monotonic();
            assert!(knowing(&unknown(), 1, address, now).connect(LIMIT).await.is_ok());
            let Some(old) = now.checked_sub(KEEP_ADDRESSES) else { return };
            let refusal = knowing(&unknown(), 1, address, old).connect(LIMIT).await.unwrap_err();
            assert_eq!(refusal.reason(), Reason::Dns);
        });
    }

    #[test]
    fn a_name_is_looked_up_again_when_connecting_fails() {
        run(async {
            let (alive, dead) = alive_and_dead().await;
            let port = alive.local_addr().unwrap().port();
            let target = knowing("localhost", port, dead, clock::monotonic());
            assert!(target.connect(LIMIT).await.is_ok());
        });
    }

    #[test]
    fn an_address_that_does_not_answer_is_a_timeout() {
        run(async {
            // Nobody accepts, and the queue of the kernel is short: at some point it stops answering.
            let socket = tokio::net::TcpSocket::new_v4().unwrap();
            socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
            let full = socket.listen(0).unwrap();
            let address = full.local_addr().unwrap();
            let mut held = Vec::new();
            let refusal = loop {
                match dial(&[address], clock::monotonic() + Duration::from_millis(200)).await {
                    Ok(stream) if held.len() < 16 => held.push(stream),
                    outcome => break outcome.unwrap_err(),
                }
            };
            assert_eq!(refusal.reason(), Reason::ConnectTimeout);
        });
    }
}
