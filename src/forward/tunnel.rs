//! After a 101: bytes both ways until both sides are done.
//!
//! Understands nothing of what it carries. One side may end while the other goes on (half-close). Bounds: 16 KiB for
//! each direction, and `timeouts.upgrade_idle` without a byte in either.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::timeout;

use super::timer::LazyTimer;
use super::wire::Switched;
use crate::clock;

/// How a tunnel ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TunnelEnd {
    /// Bytes from the client to the endpoint.
    pub bytes_up: u64,
    /// Bytes from the endpoint to the client.
    pub bytes_down: u64,
    /// Why it ended.
    pub reason: TunnelReason,
}

/// Why a tunnel ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TunnelReason {
    /// Both sides said that they are done.
    Closed,
    /// No byte in either direction for the idle time.
    Idle,
    /// The client's connection broke.
    ClientBroken,
    /// The endpoint's connection broke.
    UpstreamBroken,
    /// The client's upgrade did not take place.
    NotUpgraded,
}

/// Carries bytes between a client and an endpoint once the client's upgrade has taken place, too.
///
/// `idle` is the longest time without a byte, and the longest wait for the upgrade. Dropping the future closes both.
pub async fn tunnel(client: OnUpgrade, upstream: Switched, idle: Duration) -> TunnelEnd {
    match timeout(idle, client).await {
        Ok(Ok(client)) => carry(TokioIo::new(client), upstream, idle).await,
        Ok(Err(error)) => {
            tracing::debug!(error = &error as &dyn std::error::Error, "upgrade failed");
            TunnelEnd { bytes_up: 0, bytes_down: 0, reason: TunnelReason::NotUpgraded }
        }
        Err(_elapsed) => TunnelEnd { bytes_up: 0, bytes_down: 0, reason: TunnelReason::Idle },
    }
}

async fn carry(mut client: TokioIo<Upgraded>, mut upstream: Switched, idle: Duration) -> TunnelEnd {
    let (mut up, mut down) = (Direction::new(), Direction::new());
    let mut last = clock::monotonic();
    let mut timer = LazyTimer::new(last + idle);
    let reason = poll_fn(|cx| {
        let before = up.bytes + down.bytes + up.read + down.read;
        let ups = up.poll(cx, &mut client, &mut upstream);
        let downs = down.poll(cx, &mut upstream, &mut client);
        let reason = match (ups, downs) {
            (Poll::Ready(Err(Broken::Reader)), _) | (_, Poll::Ready(Err(Broken::Writer))) => {
                TunnelReason::ClientBroken
            }
            (Poll::Ready(Err(Broken::Writer)), _) | (_, Poll::Ready(Err(Broken::Reader))) => {
                TunnelReason::UpstreamBroken
            }
            (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) => TunnelReason::Closed,
            _ => {
                if up.bytes + down.bytes + up.read + down.read != before {
                    last = clock::monotonic();
                }
                return poll_idle(cx, &mut timer, last + idle).map(|()| TunnelReason::Idle);
            }
        };
        Poll::Ready(reason)
    })
    .await;
    TunnelEnd { bytes_up: up.bytes, bytes_down: down.bytes, reason }
}

fn poll_idle(cx: &mut Context<'_>, timer: &mut LazyTimer, due: Instant) -> Poll<()> {
    timer.poll_until(cx, due, |_| due)
}

/// Which end of a direction broke.
enum Broken {
    Reader,
    Writer,
}

/// One direction and the bytes in between.
struct Direction {
    buffer: Box<[u8]>,
    from: usize,
    to: usize,
    /// Bytes read.
    read: u64,
    /// Bytes written.
    bytes: u64,
    ended: bool,
    unflushed: bool,
    shut: bool,
}

impl Direction {
    fn new() -> Self {
        let buffer = vec![0; BUFFER_BYTES].into_boxed_slice();
        Self { buffer, from: 0, to: 0, read: 0, bytes: 0, ended: false, unflushed: false, shut: false }
    }

    /// Moves what can be moved. Ready when the reader has ended and the writer was told so.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        reader: &mut (impl AsyncRead + Unpin),
        writer: &mut (impl AsyncWrite + Unpin),
    ) -> Poll<Result<(), Broken>> {
        loop {
            if self.from < self.to {
                match ready!(Pin::new(&mut *writer).poll_write(cx, &self.buffer[self.from..self.to])) {
                    Ok(0) | Err(_) => return Poll::Ready(Err(Broken::Writer)),
                    Ok(n) => {
                        self.from += n;
                        self.bytes += n as u64;
                        self.unflushed = true;
                    }
                }
            } else if !self.ended {
                match self.poll_fill(cx, reader) {
                    Poll::Ready(Ok(())) => {}
                    Poll::Ready(Err(_)) => return Poll::Ready(Err(Broken::Reader)),
                    Poll::Pending => {
                        if self.unflushed {
                            self.flush(cx, writer)?;
                        }
                        return Poll::Pending;
                    }
                }
            } else if !self.shut {
                if ready!(Pin::new(&mut *writer).poll_shutdown(cx)).is_err() {
                    return Poll::Ready(Err(Broken::Writer));
                }
                self.shut = true;
            } else {
                return Poll::Ready(Ok(()));
            }
        }
    }

    fn flush(&mut self, cx: &mut Context<'_>, writer: &mut (impl AsyncWrite + Unpin)) -> Result<(), Broken> {
        match Pin::new(writer).poll_flush(cx) {
            Poll::Ready(Ok(())) => {
                self.unflushed = false;
                Ok(())
            }
            Poll::Ready(Err(_)) => Err(Broken::Writer),
            Poll::Pending => Ok(()),
        }
    }

    fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
        reader: &mut (impl AsyncRead + Unpin),
    ) -> Poll<io::Result<()>> {
        let mut buffer = ReadBuf::new(&mut self.buffer);
        ready!(Pin::new(reader).poll_read(cx, &mut buffer))?;
        let n = buffer.filled().len();
        (self.from, self.to) = (0, n);
        self.read += n as u64;
        self.ended = n == 0;
        Poll::Ready(Ok(()))
    }
}

/// Bytes held for each direction.
const BUFFER_BYTES: usize = 16 * 1024;
