//! One HTTP/2 stream's task, how long it waits for its client, and what of the request it reads after the answer.
//!
//! There a client can leave one answer unread for as long as it likes, while its connection makes progress. hyper holds
//! a part of the answer then, and the answer the site's connection, where only the end of the stream's task reaches
//! them: so this is the task, and it ends after `timeouts.response_write` without a step. h2 resets the stream for it.
//!
//! An answer before the end of the request's body would be reset as well, and some clients throw it away for that
//! (RFC 9113 §8.1): so who needs the body no longer leaves it to the task, which reads and throws away for a while.
//! Never writes. Bound: one timer for each stream whose client has been awaited; [`Linger`] for bodies.

use std::cell::Cell;
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::{Duration, Instant};

use http_body::Body as _;
use hyper::body::Incoming;

use super::linger::Linger;
use crate::admin::labels::ConnReason;
use crate::clock;
use crate::forward::LazyTimer;
use crate::worker::Worker;

tokio::task_local! {
    /// The stream whose task runs.
    static TURN: Rc<Turn>;
}

/// What those who answer a stream tell its task.
#[derive(Default)]
struct Turn {
    /// Since when the client has been awaited.
    awaited: Cell<Option<Instant>>,
    /// What of the request nobody wants.
    unread: Cell<Option<Incoming>>,
}

/// From now on the client is awaited. Without effect outside the task of a stream.
pub fn client_is_awaited() {
    await_client(Some(clock::monotonic()));
}

/// The client has what there is: the site is awaited.
pub fn site_is_awaited() {
    await_client(None);
}

fn await_client(since: Option<Instant>) {
    // HTTP/1 has no such task: there the connection itself watches its writes.
    let _ = TURN.try_with(|turn| turn.awaited.set(since));
}

/// Nobody needs the rest of a request's body: the answer does not wait for it.
pub fn leave_unread(body: Incoming) {
    if !body.is_end_stream() {
        // Without such a task it ends here: HTTP/1 closes the connection, and lingers for it.
        let _ = TURN.try_with(|turn| turn.unread.set(Some(body)));
    }
}

/// Spawns the tasks of an HTTP/2 connection on its own thread.
#[derive(Clone)]
pub(crate) struct StreamTasks {
    worker: Rc<Worker>,
    patience: Duration,
    linger: Linger,
}

impl fmt::Debug for StreamTasks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamTasks").finish_non_exhaustive()
    }
}

impl StreamTasks {
    /// Tasks on this worker's thread, under its `timeouts.response_write`.
    pub(crate) fn of(worker: &Rc<Worker>) -> Self {
        let config = &worker.snapshot().config;
        let patience = config.timeouts.response_write;
        Self { worker: Rc::clone(worker), patience, linger: Linger::from(config) }
    }
}

impl<F> hyper::rt::Executor<F> for StreamTasks
where
    F: Future + 'static,
{
    fn execute(&self, stream: F) {
        let Self { worker, patience, linger } = self.clone();
        tokio::task::spawn_local(async move {
            match within(stream, patience).await {
                Ok(None) => {}
                // Boxed: it is rare, and every stream's task would have room for it.
                Ok(Some(unread)) => {
                    if let Some(reason) = Box::pin(linger.discard_body(&worker, unread)).await {
                        worker.metrics.connection_rejected(reason);
                    }
                }
                Err(GivenUp) => worker.metrics.connection_rejected(ConnReason::WriteTimeout),
            }
        });
    }
}

/// The client was awaited for too long.
#[derive(Debug, PartialEq, Eq)]
struct GivenUp;

/// Runs the stream's task; what it leaves of the request's body is the outcome.
async fn within<F: Future>(stream: F, patience: Duration) -> Result<Option<Incoming>, GivenUp> {
    let turn = Rc::<Turn>::default();
    let awaited = &turn.awaited;
    let mut stream = pin!(TURN.scope(Rc::clone(&turn), stream));
    let mut timer: Option<LazyTimer> = None;
    poll_fn(|cx| {
        if stream.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Ok(turn.unread.take()));
        }
        let Some(due) = awaited.get().map(|since| since + patience) else { return Poll::Pending };
        let timer = timer.get_or_insert_with(|| LazyTimer::new(due));
        // By the time it fires the client may have taken a step, or the site may be the one who is awaited.
        let later = |now: Instant| awaited.get().unwrap_or(now) + patience;
        timer.poll_until(cx, due, later).map(|()| Err(GivenUp))
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_millis(40);

    fn run(stream: impl Future) -> Result<(), GivenUp> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(within(stream, PATIENCE)).map(|unread| assert!(unread.is_none()))
    }

    #[test]
    fn a_client_that_takes_nothing_is_given_up() {
        let ended = run(async {
            client_is_awaited();
            std::future::pending::<()>().await;
        });
        assert_eq!(ended, Err(GivenUp));
    }

    #[test]
    fn a_client_that_goes_on_and_a_slow_site_are_not() {
        let ended = run(async {
            for _ in 0..4 {
                client_is_awaited();
                tokio::time::sleep(PATIENCE / 2).await;
            }
            site_is_awaited();
            tokio::time::sleep(PATIENCE * 3).await;
            client_is_awaited();
        });
        assert_eq!(ended, Ok(()));
    }

    #[test]
    fn outside_such_a_task_nothing_happens() {
        client_is_awaited();
        site_is_awaited();
    }
}
