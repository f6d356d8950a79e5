//! Addresses that are dead, slow or gone, and a Unix socket.

use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, UnixListener};

use super::super::resolve::tests::Fake;
use super::super::resolve::{REST, System};
use super::*;

const LIMIT: Duration = Duration::from_secs(10);

fn local<F: Future>(test: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, test)
}

/// A listener, and an address where nobody listens.
async fn alive_and_dead() -> (TcpListener, SocketAddr) {
    let alive = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let dead = TcpListener::bind(("127.0.0.1", 0)).await.unwrap().local_addr().unwrap();
    (alive, dead)
}

fn target(fake: &Rc<Fake>) -> Target {
    let endpoint = config::Endpoint::Host { host: "app.example".into(), port: 80, tls: false };
    Target::new(&endpoint, None, Rc::clone(fake) as Rc<dyn Resolve>)
}

async fn connect(target: &Target) -> Result<Transport, Reason> {
    target.connect(clock::monotonic() + LIMIT).await.map_err(|refusal| refusal.reason())
}

#[test]
fn the_next_address_is_tried() {
    local(async {
        let (alive, dead) = alive_and_dead().await;
        let fake = Fake::saying(&[dead, alive.local_addr().unwrap()]);
        let target = target(&fake);
        for _ in 0..4 {
            assert!(connect(&target).await.is_ok());
        }
        assert_eq!(fake.asked(), 1);
    });
}

#[test]
fn a_name_is_looked_up_again_when_connecting_fails() {
    local(async {
        let (alive, dead) = alive_and_dead().await;
        let fake = Fake::saying(&[dead]);
        let target = target(&fake);
        assert_eq!(connect(&target).await.err(), Some(Reason::ConnectRefused));
        fake.say(&[alive.local_addr().unwrap()]);
        // A look-up has just been made, and another is not due yet.
        assert_eq!(connect(&target).await.err(), Some(Reason::ConnectRefused));
        assert_eq!(fake.asked(), 1);
        tokio::time::sleep(REST).await;
        assert!(connect(&target).await.is_ok());
        assert_eq!(fake.asked(), 2);
    });
}

#[test]
fn an_address_that_does_not_answer_leaves_time_for_the_next() {
    local(async {
        // Nobody accepts, and the queue of the kernel is short: at some point it stops answering.
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let full = socket.listen(0).unwrap();
        let address = full.local_addr().unwrap();
        let soon = || clock::monotonic() + Duration::from_millis(200);
        let mut held = Vec::new();
        let refusal = loop {
            match dial(address, soon()).await {
                Ok(stream) if held.len() < 16 => held.push(stream),
                outcome => break outcome.unwrap_err(),
            }
        };
        assert_eq!(refusal.reason(), Reason::ConnectTimeout);
        let (alive, _) = alive_and_dead().await;
        let target = target(&Fake::saying(&[address, alive.local_addr().unwrap()]));
        assert!(target.connect(clock::monotonic() + Duration::from_millis(500)).await.is_ok());
    });
}

#[test]
fn a_unix_socket_is_an_endpoint() {
    local(async {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("app.sock");
        let target = Target::new(&config::Endpoint::Unix(path.clone()), None, Rc::new(System));
        assert_eq!(connect(&target).await.err(), Some(Reason::ConnectRefused));
        let _listener = UnixListener::bind(&path).unwrap();
        assert!(matches!(connect(&target).await, Ok(Transport::Unix(_))));
    });
}

#[test]
fn an_endpoint_that_says_nothing_ends_the_handshake_in_time() {
    local(async {
        let (alive, _) = alive_and_dead().await;
        let address = alive.local_addr().unwrap();
        let tls = config::UpstreamTls { ca: None, server_name: None, client: None, verify: false };
        let tls = Arc::new(ClientTls::load(&tls, config::Protocol::Http1).unwrap());
        let endpoint =
            config::Endpoint::Host { host: address.ip().to_string(), port: address.port(), tls: true };
        let target = Target::new(&endpoint, Some(&tls), Rc::new(System));
        let refusal = target.connect(clock::monotonic() + Duration::from_millis(50)).await.unwrap_err();
        assert_eq!(refusal.reason(), Reason::ConnectTimeout);
    });
}
