//! One worker thread: a current-thread runtime with its own listening sockets.
//!
//! Of what a request meets only the risk memory is shared with other workers, behind short locks: spread must see all
//! of a session. Never waits for the network or the disk. Bound: its share of `limits.connections`.

use std::io;
use std::net::TcpListener;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::sync::watch;

use super::Phase;
use crate::admin::worker::WorkerMetrics;
use crate::listen::accept::{Door, accept};
use crate::listen::proxy_protocol::Required;
use crate::listen::tls::Store;
use crate::snapshot::Shared;
use crate::store::RecorderHandle;
use crate::worker::Worker;

/// One listener as a worker sees it.
#[derive(Debug)]
pub struct Listening {
    /// Its own socket.
    pub socket: TcpListener,
    /// The certificate, on TLS listeners.
    pub tls: Option<Arc<Store>>,
    /// Whether connections begin with a PROXY header.
    pub proxy: Option<Required>,
}

/// Starts a worker. The thread returns how many connections were cut at its end.
///
/// # Errors
/// The operating system gives no thread.
pub fn spawn(
    index: usize,
    shared: Arc<Shared>,
    listening: Vec<Listening>,
    recorder: RecorderHandle,
    metrics: WorkerMetrics,
    phase: watch::Receiver<Phase>,
) -> io::Result<JoinHandle<usize>> {
    std::thread::Builder::new().name(format!("worker-{index}")).spawn(move || {
        let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => {
                tracing::error!(%error, "a worker cannot start its runtime");
                return 0;
            }
        };
        let local = tokio::task::LocalSet::new();
        local.block_on(&runtime, run(shared, listening, recorder, metrics, phase))
    })
}

async fn run(
    shared: Arc<Shared>,
    listening: Vec<Listening>,
    recorder: RecorderHandle,
    metrics: WorkerMetrics,
    mut phase: watch::Receiver<Phase>,
) -> usize {
    let recorder = recorder.attach();
    tokio::task::spawn_local(recorder.run());
    let worker = Rc::new(Worker::new(shared, recorder, metrics));
    let mut accepting = Vec::new();
    for (index, Listening { socket, tls, proxy }) in listening.into_iter().enumerate() {
        match tokio::net::TcpListener::from_std(socket) {
            Ok(socket) => {
                let door = Door { listener: index, tls, proxy };
                accepting.push(tokio::task::spawn_local(accept(Rc::clone(&worker), socket, door)));
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
    worker.close_connections();
    tokio::select! {
        () = worker.all_closed() => 0,
        () = reached(&mut phase, Phase::Stopping) => worker.open_connections(),
    }
}

async fn reached(phase: &mut watch::Receiver<Phase>, wanted: Phase) {
    // The sender is gone only when the server was dropped: then there is nothing to wait for either.
    let _ = phase.wait_for(|now| *now >= wanted).await;
}
