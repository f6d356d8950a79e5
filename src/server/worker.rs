//! One worker thread: a current-thread runtime with its own listening sockets.
//!
//! Of what a request meets only the risk memory is shared with other workers, behind short locks: spread must see all
//! of a session. Never waits for the network or the disk. Bound: its share of `limits.connections`.

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::watch;

use super::Phase;
use super::watchdog::Watchdog;
use crate::admin::worker::WorkerMetrics;
use crate::clock;
use crate::listen::accept::{self, Door};
use crate::listen::socket::Socket;
use crate::record::access_log::AccessLog;
use crate::snapshot::Shared;
use crate::store::RecorderHandle;
use crate::worker::Worker;

/// A socket that a worker accepts on.
#[derive(Debug)]
pub struct Listening {
    /// What a connection has to pass.
    pub door: Door,
    /// The socket. Usually one per listener; more when a process with more workers handed them over.
    pub socket: Socket,
}

/// What a worker brings to its thread.
pub struct Seat {
    /// Its place among the workers.
    pub index: usize,
    /// The sockets that it accepts on.
    pub listening: Vec<Listening>,
    /// Its end of the journal.
    pub recorder: RecorderHandle,
    /// Its end of the access log.
    pub access_log: AccessLog,
    /// Its counters.
    pub metrics: WorkerMetrics,
    /// Where it shows that it turns.
    pub watchdog: Watchdog,
}

/// Starts a worker. The thread returns how many connections were cut at its end.
///
/// # Errors
/// The operating system gives no thread.
pub fn spawn(
    seat: Seat,
    shared: Arc<Shared>,
    phase: watch::Receiver<Phase>,
) -> io::Result<JoinHandle<usize>> {
    std::thread::Builder::new().name(format!("worker-{}", seat.index)).spawn(move || {
        let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => {
                tracing::error!(%error, "a worker cannot start its runtime");
                return 0;
            }
        };
        let local = tokio::task::LocalSet::new();
        let (watchdog, index) = (seat.watchdog.clone(), seat.index);
        let cut = local.block_on(&runtime, run(seat, shared, phase));
        watchdog.done(index);
        cut
    })
}

async fn run(seat: Seat, shared: Arc<Shared>, mut phase: watch::Receiver<Phase>) -> usize {
    let recorder = seat.recorder.attach();
    tokio::task::spawn_local(recorder.run());
    let mut worker = Worker::new(shared, recorder, seat.metrics);
    worker.access_log = seat.access_log;
    let worker = Rc::new(worker);
    tokio::task::spawn_local(seat.watchdog.turn(seat.index));
    let mut accepting = Vec::new();
    let mut last = Vec::new();
    for Listening { door, socket } in seat.listening {
        let door = Rc::new(door);
        // A second handle on the socket, for what is in its queue at the end.
        let queue = socket.try_clone();
        match socket.into_acceptor() {
            Ok(socket) => {
                let task = accept::accept(Rc::clone(&worker), socket, Rc::clone(&door));
                accepting.push(tokio::task::spawn_local(task));
                last.extend(queue.map(|queue| (queue, door)));
            }
            Err(error) => tracing::error!(%error, "a listening socket cannot be used"),
        }
    }
    let watching = tokio::task::spawn_local({
        let worker = Rc::clone(&worker);
        async move { worker.watch_pools().await }
    });
    reached(&mut phase, Phase::Draining).await;
    watching.abort();
    for task in accepting {
        task.abort();
    }
    for (queue, door) in last {
        accept::drain_queue(&worker, &queue, &door);
    }
    worker.drain();
    tokio::select! {
        () = drained(&worker) => 0,
        () = reached(&mut phase, Phase::Stopping) => worker.open_connections(),
    }
}

/// Gives connections without a request a moment to send one, then closes them; waits for the others.
async fn drained(worker: &Worker) {
    let begun = clock::monotonic();
    while tokio::time::timeout(IDLE_GRACE, worker.all_closed()).await.is_err() {
        let then = clock::monotonic().checked_sub(IDLE_GRACE).unwrap_or(begun);
        worker.close_idle(then.max(begun));
    }
}

async fn reached(phase: &mut watch::Receiver<Phase>, wanted: Phase) {
    // The sender is gone only when the server was dropped: then there is nothing to wait for either.
    let _ = phase.wait_for(|now| *now >= wanted).await;
}

/// For how long an idle connection stays open in a drain. A client may have sent a request that has not arrived yet, and
/// cannot tell whether it was read when the connection is closed under it; within this time the request is answered with
/// `Connection: close`. After it an idle connection is closed.
const IDLE_GRACE: Duration = Duration::from_secs(1);
