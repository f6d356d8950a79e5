//! The bodies that the demo site sends: whole, very long, or one event a second.
//!
//! Never holds more than one frame. Bound: [`CHUNK`] bytes a frame, [`TICKS`] events.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::time::Interval;

use crate::clock;

/// A body.
#[derive(Debug)]
pub(super) enum Body {
    /// One piece, until it is sent.
    Whole(Option<Bytes>),
    /// So many bytes of filling.
    Filling(u64),
    /// The time, once a second, so many times.
    Clock(Interval, u32),
}

impl Body {
    /// One piece.
    pub(super) fn whole(bytes: impl Into<Bytes>) -> Self {
        Self::Whole(Some(bytes.into()).filter(|bytes| !bytes.is_empty()))
    }

    /// Server-sent events with the time. Needs a Tokio runtime with time.
    pub(super) fn clock() -> Self {
        Self::Clock(tokio::time::interval(Duration::from_secs(1)), TICKS)
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let data = match self.get_mut() {
            Self::Whole(bytes) => bytes.take(),
            Self::Filling(0) | Self::Clock(_, 0) => None,
            Self::Filling(left) => {
                let length = usize::try_from(*left).unwrap_or(CHUNK).min(CHUNK);
                *left -= length as u64;
                Some(Bytes::from_static(&FILLING).slice(..length))
            }
            Self::Clock(interval, left) => {
                ready!(interval.poll_tick(context));
                *left -= 1;
                Some(format!("data: {}\n\n", clock::now()).into())
            }
        };
        Poll::Ready(data.map(|data| Ok(Frame::data(data))))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(None) | Self::Filling(0) | Self::Clock(_, 0))
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Self::Filling(left) => SizeHint::with_exact(*left),
            Self::Clock(..) => SizeHint::default(),
        }
    }
}

/// Bytes of one frame of filling.
pub(super) const CHUNK: usize = 64 * 1024;
/// Events after which the clock stops; the browser then asks again by itself.
pub(super) const TICKS: u32 = 600;

/// Byte `n` is `n mod 251`, so that a lost or moved byte shows.
static FILLING: [u8; CHUNK] = {
    let mut bytes = [0; CHUNK];
    let mut n = 0;
    while n < CHUNK {
        bytes[n] = (n % 251) as u8;
        n += 1;
    }
    bytes
};

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    fn collected(body: Body) -> Bytes {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(body.collect()).unwrap().to_bytes()
    }

    #[test]
    fn filling_has_its_length_and_its_pattern() {
        let bytes = collected(Body::Filling(CHUNK as u64 + 3));
        assert_eq!(bytes.len(), CHUNK + 3);
        assert_eq!((bytes[250], bytes[251], bytes[CHUNK]), (250, 0, 0));
    }

    #[test]
    fn the_clock_ticks_as_events_and_stops() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let bytes = runtime.block_on(async {
            let body = Body::Clock(tokio::time::interval(Duration::from_millis(1)), 3);
            body.collect().await.unwrap().to_bytes()
        });
        let events: Vec<_> = str::from_utf8(&bytes).unwrap().split_terminator("\n\n").collect();
        assert_eq!(events.len(), 3);
        assert!(events.iter().all(|event| event.starts_with("data: 20")));
    }

    #[test]
    fn an_empty_body_is_at_its_end() {
        assert!(http_body::Body::is_end_stream(&Body::whole("")));
        assert!(collected(Body::whole("")).is_empty());
    }
}
