//! What one thread counts: typed calls to cells of its own.
//!
//! [`WorkerMetrics`] turns a call into an addition or two, to cells that no other thread writes: no string, no hash, no
//! lock, no shared line on a request's way. Never panics: an index too large counts as the last of its axis. Bound: the
//! cells, made once.

use std::cell::Cell;
use std::marker::PhantomData;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::cells::{Block, Cells, observe};
use super::family::{Family, Histogram};
use super::labels::{
    Applied, ConnReason, ConnectError, ConnectionState, ConsentChoice, ConsentOrigin, ConsentResult,
    CookieAction, Direction, DropReason, GeoDatabase, GeoPurpose, GeoResult, Label, MethodLabel, PoolClosed,
    PoolState, ProbeResult, RetryReason, RiskAction, RiskLevel, RiskSignal, StatusClass, Tolerated,
    UpstreamResult,
};
use super::metrics as table;
use super::plan::Plan;
use crate::cookies::{Category, Mode};
use crate::error::Reason;

/// One thread's counters. It may move to its thread and be used there only (`Send`, not `Sync`, not `Clone`): that is
/// what makes a load and a store enough.
#[derive(Debug)]
pub struct WorkerMetrics {
    plan: Arc<Plan>,
    cells: Arc<Cells>,
    one_thread: PhantomData<Cell<()>>,
}

impl WorkerMetrics {
    pub(super) fn new(plan: Arc<Plan>, cells: Arc<Cells>) -> Self {
        Self { plan, cells, one_thread: PhantomData }
    }

    /// A request was answered: by which listener, for which configured host (`None`: an unknown one), with which status
    /// (499: the client left), and how long it took from its first byte to the end of the answer.
    pub fn request(
        &self,
        listener: usize,
        host: Option<usize>,
        method: MethodLabel,
        status: u16,
        duration: Duration,
    ) {
        let class = StatusClass::of(status).index();
        self.add(self.plan.requests.cell([listener, host.unwrap_or(usize::MAX), method.index(), class]), 1);
        self.observe(table::HTTP_REQUEST_SECONDS, self.plan.request_seconds, listener, duration);
    }

    /// Requests whose answer is not complete: `1` at the start, `-1` at the end.
    pub fn active(&self, listener: usize, change: i64) {
        self.shift(self.plan.active.cell([listener]), change);
    }

    /// Counts an active request until the guard is dropped: also when the request's future is.
    #[must_use]
    pub fn hold_active(self: &Rc<Self>, listener: usize) -> Held {
        Held::new(self, self.plan.active.cell([listener]))
    }

    /// A connection entered (`1`) or left (`-1`) a state.
    pub fn connection(&self, state: ConnectionState, change: i64) {
        self.shift(self.plan.connections.cell([state.index()]), change);
    }

    /// Counts a connection in a state until the guard is dropped.
    #[must_use]
    pub fn hold_connection(self: &Rc<Self>, state: ConnectionState) -> Held {
        Held::new(self, self.plan.connections.cell([state.index()]))
    }

    /// A connection was closed by us.
    pub fn connection_rejected(&self, reason: ConnReason) {
        self.add(self.plan.connections_rejected.cell([reason.index()]), 1);
    }

    /// The site did not answer this request.
    pub fn request_rejected(&self, reason: Reason) {
        self.add(self.plan.request_rejected.cell([reason.index()]), 1);
    }

    /// A request was judged by the estimate of the rate limit, which has no place for its client.
    pub fn rate_estimated(&self) {
        self.add(self.plan.rate_estimated.cell([]), 1);
    }

    /// A field was not passed on.
    pub fn dropped_header(&self, reason: DropReason) {
        self.add(self.plan.dropped_headers.cell([reason.index()]), 1);
    }

    /// So many trailer fields were not passed on.
    pub fn dropped_trailers(&self, n: usize) {
        self.add(self.plan.dropped_headers.cell([DropReason::Trailer.index()]), n as u64);
    }

    /// So many heads were let through with this in them.
    pub fn tolerated(&self, what: Tolerated, n: u64) {
        self.add(self.plan.tolerated.cell([what.index()]), n);
    }

    /// An exchange with an endpoint ended.
    pub fn upstream_request(&self, upstream: usize, endpoint: usize, result: UpstreamResult) {
        let at = self.plan.endpoint(upstream, endpoint);
        self.add(self.plan.upstream_requests.cell([at, result.index()]), 1);
    }

    /// The head of an answer came after `duration`, counted from the request written.
    pub fn upstream_response(&self, upstream: usize, duration: Duration) {
        self.observe(table::UPSTREAM_SECONDS, self.plan.upstream_seconds, upstream, duration);
    }

    /// An endpoint could not be connected to.
    pub fn upstream_connect_error(&self, upstream: usize, endpoint: usize, reason: ConnectError) {
        let at = self.plan.endpoint(upstream, endpoint);
        self.add(self.plan.upstream_connect_errors.cell([at, reason.index()]), 1);
    }

    /// A request is sent again because this endpoint failed.
    pub fn upstream_retry(&self, upstream: usize, endpoint: usize, reason: RetryReason) {
        let at = self.plan.endpoint(upstream, endpoint);
        self.add(self.plan.upstream_retries.cell([at, reason.index()]), 1);
    }

    /// `n` requests were not sent again, since too much of their body was gone.
    pub fn upstream_not_repeated(&self, upstream: usize, endpoint: usize, n: u64) {
        let at = self.plan.endpoint(upstream, endpoint);
        self.add(self.plan.upstream_not_repeated.cell([at]), n);
    }

    /// A connection to an endpoint entered (`1`) or left (`-1`) a state.
    pub fn pool_connections(&self, upstream: usize, endpoint: usize, state: PoolState, change: i64) {
        let at = self.plan.endpoint(upstream, endpoint);
        self.shift(self.plan.upstream_pool.cell([at, state.index()]), change);
    }

    /// Counts a pooled connection in a state until the guard is dropped.
    #[must_use]
    pub fn hold_pool(self: &Rc<Self>, upstream: usize, endpoint: usize, state: PoolState) -> Held {
        let at = self.plan.endpoint(upstream, endpoint);
        Held::new(self, self.plan.upstream_pool.cell([at, state.index()]))
    }

    /// A request began (`1`) or ended (`-1`) to wait for a connection.
    pub fn upstream_queued(&self, upstream: usize, endpoint: usize, change: i64) {
        self.shift(self.plan.upstream_queued.cell([self.plan.endpoint(upstream, endpoint)]), change);
    }

    /// Counts a waiting request until the guard is dropped.
    #[must_use]
    pub fn hold_queued(self: &Rc<Self>, upstream: usize, endpoint: usize) -> Held {
        Held::new(self, self.plan.upstream_queued.cell([self.plan.endpoint(upstream, endpoint)]))
    }

    /// Whether this thread sends requests to an endpoint.
    pub fn upstream_healthy(&self, upstream: usize, endpoint: usize, healthy: bool) {
        let at = self.plan.upstream_down.cell([self.plan.endpoint(upstream, endpoint)]);
        self.cells.set(at, u64::from(!healthy));
    }

    /// `n` pooled connections to an endpoint were closed for a reason that is no error.
    pub fn pool_closed(&self, upstream: usize, endpoint: usize, reason: PoolClosed, n: u64) {
        let at = self.plan.endpoint(upstream, endpoint);
        self.add(self.plan.upstream_closed.cell([at, reason.index()]), n);
    }

    /// `n` requests went to an endpoint although it is held for down, because all are.
    pub fn upstream_fail_open(&self, upstream: usize, n: u64) {
        self.add(self.plan.upstream_fail_open.cell([upstream]), n);
    }

    /// An endpoint was checked.
    pub fn upstream_probe(&self, upstream: usize, endpoint: usize, result: ProbeResult) {
        let at = self.plan.endpoint(upstream, endpoint);
        self.add(self.plan.upstream_probes.cell([at, result.index()]), 1);
    }

    /// `n` cookies of a category were treated alike.
    pub fn cookies(
        &self,
        action: CookieAction,
        category: Category,
        direction: Direction,
        mode: Mode,
        n: u64,
    ) {
        let indices = [action.index(), category.index(), direction.index(), mode.index()];
        self.add(self.plan.cookies.cell(indices), n);
    }

    /// A request goes on with a `Cookie` field above 8 KiB.
    pub fn cookies_oversize(&self) {
        self.add(self.plan.cookies_oversize.cell([]), 1);
    }

    /// A decision about advertising.
    pub fn consent(&self, result: ConsentResult, source: ConsentOrigin) {
        self.add(self.plan.consent_decisions.cell([result.index(), source.index()]), 1);
    }

    /// A visitor made a choice.
    pub fn consent_choice(&self, choice: ConsentChoice) {
        self.add(self.plan.consent_choices.cell([choice.index()]), 1);
    }

    /// An address was looked up, for the one purpose there is.
    pub fn geo_lookup(&self, database: GeoDatabase, result: GeoResult) {
        let indices = [database.index(), GeoPurpose::Security.index(), result.index()];
        self.add(self.plan.geo_lookups.cell(indices), 1);
    }

    /// A request was assessed.
    pub fn risk_assessment(&self, level: RiskLevel) {
        self.add(self.plan.risk_assessments.cell([level.index()]), 1);
    }

    /// A signal fired.
    pub fn risk_signal(&self, signal: RiskSignal, level: RiskLevel) {
        self.add(self.plan.risk_signals.cell([signal.index(), level.index()]), 1);
    }

    /// The risk policy asked for an action.
    pub fn risk_action(&self, action: RiskAction, applied: Applied) {
        self.add(self.plan.risk_actions.cell([action.index(), applied.index()]), 1);
    }

    /// The end of an answer waits because the ring is full.
    pub fn journal_held(&self) {
        self.add(self.plan.journal_held.cell([]), 1);
    }

    fn add(&self, cell: usize, n: u64) {
        self.cells.add(cell, n);
    }

    fn shift(&self, cell: usize, change: i64) {
        self.cells.add(cell, change.cast_unsigned());
    }

    fn observe<const L: usize>(
        &self,
        of: Family<Histogram, L>,
        block: Block<1>,
        index: usize,
        duration: Duration,
    ) {
        observe(&self.cells, block.cell([index]), of.spec().buckets, duration);
    }
}

/// One more in a gauge while it lives. It stays on its thread.
#[derive(Debug)]
pub struct Held {
    worker: Rc<WorkerMetrics>,
    cell: usize,
}

impl Held {
    fn new(worker: &Rc<WorkerMetrics>, cell: usize) -> Self {
        worker.shift(cell, 1);
        Self { worker: Rc::clone(worker), cell }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.worker.shift(self.cell, -1);
    }
}
