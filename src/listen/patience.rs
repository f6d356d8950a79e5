//! One HTTP/2 stream's task, and how long it waits for its client.
//!
//! There a client can leave one answer unread for as long as it likes, while its connection makes progress. hyper holds
//! a part of the answer then, and the answer the site's connection, where only the end of the stream's task reaches
//! them: so this is the task, and it ends after `timeouts.response_write` without a step. h2 resets the stream for it.
//! Never reads or writes. Bound: one timer for each stream whose client has been awaited.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::{Duration, Instant};

use crate::admin::labels::ConnReason;
use crate::admin::worker::WorkerMetrics;
use crate::clock;
use crate::forward::LazyTimer;
use crate::worker::Worker;

tokio::task_local! {
    /// Since when the client of the stream whose task runs has been awaited.
    static AWAITED: Rc<Cell<Option<Instant>>>;
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
    let _ = AWAITED.try_with(|awaited| awaited.set(since));
}

/// Spawns the tasks of an HTTP/2 connection on its own thread.
#[derive(Clone, Debug)]
pub(crate) struct StreamTasks {
    metrics: Rc<WorkerMetrics>,
    patience: Duration,
}

impl StreamTasks {
    /// Tasks on this worker's thread, under its `timeouts.response_write`.
    pub(crate) fn of(worker: &Worker) -> Self {
        let patience = worker.snapshot().config.timeouts.response_write;
        Self { metrics: Rc::clone(&worker.metrics), patience }
    }
}

impl<F> hyper::rt::Executor<F> for StreamTasks
where
    F: Future + 'static,
{
    fn execute(&self, stream: F) {
        let Self { metrics, patience } = self.clone();
        tokio::task::spawn_local(async move {
            if within(stream, patience).await.is_err() {
                metrics.connection_rejected(ConnReason::WriteTimeout);
            }
        });
    }
}

/// The client was awaited for too long.
#[derive(Debug, PartialEq, Eq)]
struct GivenUp;

async fn within<F: Future>(stream: F, patience: Duration) -> Result<(), GivenUp> {
    let awaited = Rc::new(Cell::new(None));
    let mut stream = pin!(AWAITED.scope(Rc::clone(&awaited), stream));
    let mut timer: Option<LazyTimer> = None;
    poll_fn(|cx| {
        if stream.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Ok(()));
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
        runtime.block_on(within(stream, PATIENCE))
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
