//! Where each thread's cells lie, and what they stand for.
//!
//! Gives every combination of label values of the families that threads count a cell, and writes the sums over all
//! threads to the page. Some places are spare: a host or an upstream that a reload adds gets one, for good. Used at the
//! start, at a reload and when the page is asked for; on a request's way only [`Plan::endpoint`] and the blocks. Bound:
//! the table times the configured names and [`SPARE_HOSTS`] and [`SPARE_UPSTREAMS`], made once.

use std::sync::{Arc, OnceLock};

use prometheus::proto::MetricType;

use super::cells::{Block, Cells, Snapshot, histogram_width};
use super::family::{Family, Spec};
use super::labels::{
    Applied, ConnReason, ConnectError, ConnectionState, ConsentChoice, ConsentOrigin, ConsentResult,
    CookieAction, Direction, DropReason, GeoDatabase, GeoPurpose, GeoResult, Label, MethodLabel, PoolClosed,
    PoolState, ProbeResult, RetryReason, RiskAction, RiskLevel, RiskSignal, StatusClass, Tolerated,
    UpstreamResult,
};
use super::metrics::{self as table, HOSTS_MAX, LabelSpace, OTHER};
use super::source::Samples;
use crate::cookies::{Category, Mode};
use crate::error::Reason;

/// Where each thread's cells lie; the same for all threads.
#[derive(Debug)]
pub(super) struct Plan {
    hosts: Axis,
    upstreams: Axis,
    endpoint: Axis,
    /// For each upstream the place of its first endpoint and the number of its endpoints; `_other` last.
    endpoints: Vec<(usize, usize)>,
    pub(super) requests: Block<4>,
    pub(super) request_seconds: Block<1>,
    pub(super) active: Block<1>,
    pub(super) connections: Block<1>,
    pub(super) connections_rejected: Block<1>,
    pub(super) request_rejected: Block<1>,
    pub(super) rate_estimated: Block<0>,
    pub(super) dropped_headers: Block<1>,
    pub(super) tolerated: Block<1>,
    pub(super) upstream_requests: Block<2>,
    pub(super) upstream_seconds: Block<1>,
    pub(super) upstream_connect_errors: Block<2>,
    pub(super) upstream_retries: Block<2>,
    pub(super) upstream_not_repeated: Block<1>,
    pub(super) upstream_pool: Block<2>,
    pub(super) upstream_queued: Block<1>,
    pub(super) upstream_down: Block<1>,
    pub(super) upstream_closed: Block<2>,
    pub(super) upstream_fail_open: Block<1>,
    pub(super) upstream_probes: Block<2>,
    pub(super) cookies: Block<4>,
    pub(super) cookies_oversize: Block<0>,
    pub(super) consent_decisions: Block<2>,
    pub(super) consent_choices: Block<1>,
    pub(super) geo_lookups: Block<3>,
    pub(super) risk_assessments: Block<1>,
    pub(super) risk_signals: Block<2>,
    pub(super) risk_actions: Block<2>,
    pub(super) journal_held: Block<0>,
    series: Vec<Series>,
    len: usize,
}

impl Plan {
    pub(super) fn new(labels: &LabelSpace) -> Self {
        let hosts: Vec<_> = labels.hosts.iter().take(HOSTS_MAX).cloned().collect();
        let listener = &names(&labels.listeners, 0, None);
        let host = &names(&hosts, SPARE_HOSTS.min(HOSTS_MAX - hosts.len()), Some(OTHER));
        let upstreams: Vec<_> = labels.upstreams.iter().map(|(name, _)| name.clone()).collect();
        let upstream = &names(&upstreams, SPARE_UPSTREAMS, Some(OTHER));
        let (endpoints, endpoint) = endpoint_axis(&labels.upstreams);
        let endpoint = &endpoint;
        let mut b = Builder::default();
        Self {
            requests: b.sparse(
                table::HTTP_REQUESTS,
                [listener, host, &axis::<MethodLabel>(), &axis::<StatusClass>()],
            ),
            request_seconds: b.dense(table::HTTP_REQUEST_SECONDS, [listener]),
            active: b.dense(table::HTTP_ACTIVE, [listener]),
            connections: b.dense(table::CONNECTIONS, [&axis::<ConnectionState>()]),
            connections_rejected: b.dense(table::CONNECTIONS_REJECTED, [&axis::<ConnReason>()]),
            request_rejected: b.dense(table::REQUEST_REJECTED, [&axis::<Reason>()]),
            dropped_headers: b.dense(table::DROPPED_HEADERS, [&axis::<DropReason>()]),
            tolerated: b.dense(table::TOLERATED, [&axis::<Tolerated>()]),
            upstream_requests: b.dense(table::UPSTREAM_REQUESTS, [endpoint, &axis::<UpstreamResult>()]),
            upstream_seconds: b.dense(table::UPSTREAM_SECONDS, [upstream]),
            upstream_connect_errors: b
                .dense(table::UPSTREAM_CONNECT_ERRORS, [endpoint, &axis::<ConnectError>()]),
            upstream_retries: b.dense(table::UPSTREAM_RETRIES, [endpoint, &axis::<RetryReason>()]),
            upstream_not_repeated: b.dense(table::UPSTREAM_NOT_REPEATED, [endpoint]),
            upstream_pool: b.dense(table::UPSTREAM_POOL, [endpoint, &axis::<PoolState>()]),
            upstream_queued: b.dense(table::UPSTREAM_QUEUED, [endpoint]),
            upstream_down: b.block(table::UPSTREAM_HEALTHY, [endpoint], Shown::OneWhileZero),
            rate_estimated: b.dense(table::RATE_ESTIMATED, []),
            upstream_closed: b.dense(table::UPSTREAM_CLOSED, [endpoint, &axis::<PoolClosed>()]),
            upstream_fail_open: b.dense(table::UPSTREAM_FAIL_OPEN, [upstream]),
            upstream_probes: b.dense(table::UPSTREAM_PROBES, [endpoint, &axis::<ProbeResult>()]),
            cookies_oversize: b.dense(table::COOKIES_OVERSIZE, []),
            cookies: b.sparse(
                table::COOKIES,
                [&axis::<CookieAction>(), &axis::<Category>(), &axis::<Direction>(), &axis::<Mode>()],
            ),
            consent_decisions: b
                .dense(table::CONSENT_DECISIONS, [&axis::<ConsentResult>(), &axis::<ConsentOrigin>()]),
            consent_choices: b.dense(table::CONSENT_CHOICES, [&axis::<ConsentChoice>()]),
            geo_lookups: b.dense(
                table::GEO_LOOKUPS,
                [&axis::<GeoDatabase>(), &axis::<GeoPurpose>(), &axis::<GeoResult>()],
            ),
            risk_assessments: b.dense(table::RISK_ASSESSMENTS, [&axis::<RiskLevel>()]),
            risk_signals: b.sparse(table::RISK_SIGNALS, [&axis::<RiskSignal>(), &axis::<RiskLevel>()]),
            risk_actions: b.dense(table::RISK_ACTIONS, [&axis::<RiskAction>(), &axis::<Applied>()]),
            journal_held: b.dense(table::JOURNAL_HELD, []),
            hosts: Arc::clone(host),
            upstreams: Arc::clone(upstream),
            endpoint: Arc::clone(endpoint),
            endpoints,
            len: b.len,
            series: b.series,
        }
    }

    /// Number of cells of one thread.
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    /// The index of a host; one that is new takes a spare place, if there is one left.
    pub(super) fn host_index(&self, host: &str) -> Option<usize> {
        place(&self.hosts, host)
    }

    /// The same for an upstream with so many endpoints, of which those without a place count as `_other`.
    pub(super) fn upstream_index(&self, upstream: &str, endpoints: usize) -> Option<usize> {
        let index = place(&self.upstreams, upstream)?;
        let (first, places) = *self.endpoints.get(index)?;
        for endpoint in 0..endpoints.min(places) {
            self.endpoint[first + endpoint]
                .get_or_init(|| [upstream.to_owned(), endpoint.to_string()].into());
        }
        Some(index)
    }

    pub(super) fn other_upstream(&self) -> usize {
        self.upstreams.len() - 1
    }

    /// The place of an endpoint; what does not exist is `_other`.
    pub(super) fn endpoint(&self, upstream: usize, endpoint: usize) -> usize {
        match self.endpoints.get(upstream) {
            Some((first, count)) if endpoint < *count => first + endpoint,
            _ => usize::MAX,
        }
    }

    /// Writes the sums over all threads.
    pub(super) fn collect(&self, workers: &[Arc<Cells>], out: &mut Samples) {
        for series in &self.series {
            series.collect(workers, out);
        }
    }
}

/// One family's cells with the label values that they stand for.
#[derive(Debug)]
struct Series {
    spec: &'static Spec,
    axes: Vec<Axis>,
    offset: usize,
    width: usize,
    shown: Shown,
}

/// How the sum of a combination becomes a sample. A combination with [`OTHER`] in it is left out while it is zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shown {
    /// Always, so that the first event is a rise from zero and not the birth of a series.
    Always,
    /// Once it is not zero: there are too many combinations that never occur.
    NonZero,
    /// As 1 while it is zero, else as 0.
    OneWhileZero,
}

impl Series {
    fn collect(&self, workers: &[Arc<Cells>], out: &mut Samples) {
        let combinations = self.axes.iter().map(|axis| axis.len()).product();
        for n in 0..combinations {
            // Nothing has counted in a spare place.
            let Some(labels) = self.labels(n) else { continue };
            let at = self.offset + n * self.width;
            let optional = self.shown == Shown::NonZero || labels.contains(&OTHER);
            if self.spec.kind == MetricType::HISTOGRAM {
                let sum = Snapshot::sum(workers.iter().map(AsRef::as_ref), at, self.spec.buckets);
                if !optional || sum.counts.iter().any(|count| *count != 0) {
                    out.durations(self.spec, &labels, &sum);
                }
                continue;
            }
            let sum = workers.iter().fold(0u64, |sum, cells| sum.wrapping_add(cells.get(at)));
            if optional && sum == 0 {
                continue;
            }
            let value = match (self.shown, self.spec.kind) {
                (Shown::OneWhileZero, _) => f64::from(u8::from(sum == 0)),
                (_, MetricType::GAUGE) => sum.cast_signed() as f64,
                _ => sum as f64,
            };
            out.number(self.spec, &labels, value);
        }
    }

    /// The label values of the `n`th combination, or `None` if one of its places is spare; the last axis moves fastest.
    fn labels(&self, mut n: usize) -> Option<Vec<&str>> {
        let mut places = vec![0; self.axes.len()];
        for (place, axis) in places.iter_mut().zip(&self.axes).rev() {
            *place = n % axis.len();
            n /= axis.len();
        }
        let mut labels = Vec::with_capacity(self.spec.labels.len());
        for (axis, place) in self.axes.iter().zip(places) {
            labels.extend(axis[place].get()?.iter().map(String::as_str));
        }
        Some(labels)
    }
}

/// Values along one dimension. A value may fill two labels: an endpoint is `upstream` and `endpoint`. A place without a
/// value is spare.
type Axis = Arc<[OnceLock<Box<[String]>>]>;

/// The values of an enum.
fn axis<L: Label>() -> Axis {
    L::ALL.iter().map(|l| OnceLock::from(Box::from([l.label().to_owned()]))).collect()
}

/// Configured names, spare places, and one for all others if given.
fn names(names: &[String], spare: usize, other: Option<&str>) -> Axis {
    let value = |name: &str| OnceLock::from(Box::from([name.to_owned()]));
    let names = names.iter().map(|name| value(name));
    names.chain((0..spare).map(|_| OnceLock::new())).chain(other.map(value)).collect()
}

/// The place of a name; the first spare one if it is new.
fn place(axis: &Axis, name: &str) -> Option<usize> {
    axis.iter().position(|place| place.get_or_init(|| Box::from([name.to_owned()]))[0] == name)
}

/// The endpoints of all upstreams one after the other, then spare ones, `_other` last; and where each upstream's begin.
fn endpoint_axis(upstreams: &[(String, usize)]) -> (Vec<(usize, usize)>, Axis) {
    let mut places = Vec::new();
    let mut values = Vec::new();
    for (name, count) in upstreams {
        places.push((values.len(), *count));
        values.extend((0..*count).map(|i| OnceLock::from(Box::from([name.clone(), i.to_string()]))));
    }
    for _ in 0..SPARE_UPSTREAMS {
        places.push((values.len(), SPARE_ENDPOINTS));
        values.extend((0..SPARE_ENDPOINTS).map(|_| OnceLock::new()));
    }
    values.push(OnceLock::from(Box::from([OTHER.to_owned(), OTHER.to_owned()])));
    (places, values.into())
}

/// Lays families out one after the other.
#[derive(Default)]
struct Builder {
    series: Vec<Series>,
    len: usize,
}

impl Builder {
    fn dense<K, const L: usize, const A: usize>(
        &mut self,
        family: Family<K, L>,
        axes: [&Axis; A],
    ) -> Block<A> {
        self.block(family, axes, Shown::Always)
    }

    fn sparse<K, const L: usize, const A: usize>(
        &mut self,
        family: Family<K, L>,
        axes: [&Axis; A],
    ) -> Block<A> {
        self.block(family, axes, Shown::NonZero)
    }

    fn block<K, const L: usize, const A: usize>(
        &mut self,
        family: Family<K, L>,
        axes: [&Axis; A],
        shown: Shown,
    ) -> Block<A> {
        let spec = family.spec();
        let width = if spec.kind == MetricType::HISTOGRAM { histogram_width(spec.buckets) } else { 1 };
        let offset = self.len;
        // An axis without a value (no listener, in a test) still has one cell, so that no index leaves the block.
        let sizes = axes.map(|axis| axis.len().max(1));
        self.len += sizes.iter().product::<usize>() * width;
        let axes = axes.map(Arc::clone).into();
        self.series.push(Series { spec, axes, offset, width, shown });
        Block::new(offset, sizes, width)
    }
}

/// Hosts that reloads may add with a label of their own.
pub(super) const SPARE_HOSTS: usize = 64;
/// Upstreams that reloads may add with a label of their own.
const SPARE_UPSTREAMS: usize = 16;
/// Endpoints of each of them.
const SPARE_ENDPOINTS: usize = 8;
