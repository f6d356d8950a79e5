//! A site's server that does exactly what a test says.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A listening origin; every connection runs the script.
pub(super) struct Origin {
    pub(super) address: SocketAddr,
    connections: Rc<Cell<usize>>,
    heads: Rc<RefCell<Vec<String>>>,
}

/// The origin's end of one connection.
pub(super) struct Peer {
    stream: TcpStream,
    buffer: Vec<u8>,
    heads: Rc<RefCell<Vec<String>>>,
}

impl Origin {
    /// Starts an origin. The script is given the number of the connection, from 0.
    pub(super) async fn start<S, F>(script: S) -> Self
    where
        S: Fn(usize, Peer) -> F + 'static,
        F: Future<Output = ()> + 'static,
    {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (connections, heads) = (Rc::new(Cell::new(0)), Rc::new(RefCell::new(Vec::new())));
        let origin = Self { address, connections: Rc::clone(&connections), heads: Rc::clone(&heads) };
        tokio::task::spawn_local(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let nth = connections.replace(connections.get() + 1);
                let peer = Peer { stream, buffer: Vec::new(), heads: Rc::clone(&heads) };
                tokio::task::spawn_local(script(nth, peer));
            }
        });
        origin
    }

    /// An origin that answers every request with the same bytes.
    pub(super) async fn saying(answer: &'static str) -> Self {
        Self::start(move |_, mut peer| async move {
            while peer.head().await.is_some() {
                peer.say(answer).await;
            }
        })
        .await
    }

    /// An address where nobody listens.
    pub(super) async fn dead() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        Self { address, connections: Rc::default(), heads: Rc::default() }
    }

    /// The address of somebody else.
    pub(super) fn standing_at(address: SocketAddr) -> Self {
        Self { address, connections: Rc::default(), heads: Rc::default() }
    }

    /// Connections accepted so far.
    pub(super) fn connections(&self) -> usize {
        self.connections.get()
    }

    /// Request heads that were read, in order.
    pub(super) fn heads(&self) -> Vec<String> {
        self.heads.borrow().clone()
    }

    /// How many heads begin so.
    pub(super) fn count(&self, start: &str) -> usize {
        self.heads.borrow().iter().filter(|head| head.starts_with(start)).count()
    }
}

impl Peer {
    /// The next request head; `None` at the end of input.
    pub(super) async fn head(&mut self) -> Option<String> {
        let end = self.find(b"\r\n\r\n").await?;
        let head = String::from_utf8(self.buffer.drain(..end).collect()).unwrap();
        self.heads.borrow_mut().push(head.clone());
        Some(head)
    }

    /// Reads up to and with `mark`; gives everything before its end.
    pub(super) async fn until(&mut self, mark: &str) -> String {
        let end = self.find(mark.as_bytes()).await.expect("end of input");
        String::from_utf8(self.buffer.drain(..end).collect()).unwrap()
    }

    pub(super) async fn say(&mut self, text: &str) {
        // The other side may have gone; what the test expects then shows elsewhere.
        let _ = self.stream.write_all(text.as_bytes()).await;
    }

    /// Waits until the other side has closed.
    pub(super) async fn gone(&mut self) {
        let mut scrap = [0; 1024];
        while matches!(self.stream.read(&mut scrap).await, Ok(n) if n > 0) {}
    }

    /// Ends this direction only.
    pub(super) async fn finish(&mut self) {
        self.stream.shutdown().await.unwrap();
    }

    async fn find(&mut self, mark: &[u8]) -> Option<usize> {
        loop {
            if let Some(at) = memchr::memmem::find(&self.buffer, mark) {
                return Some(at + mark.len());
            }
            match self.stream.read_buf(&mut self.buffer).await {
                Ok(n) if n > 0 => {}
                _ => return None,
            }
        }
    }
}

/// A small answer.
pub(super) fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}
