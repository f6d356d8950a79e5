//! Figures that are kept elsewhere and read when the page is asked for.
//!
//! A [`Source`] writes samples of families of the table; the type of a [`Family`] fixes their kind and number of labels,
//! and label values are `'static`, so that nothing from the wire can become one. Never called on a request's way.
//! Bound: what the sources write.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};

use prometheus::proto::{self, LabelPair, Metric, MetricFamily, MetricType};

use super::cells::Snapshot;
use super::family::{Counter, Family, Gauge, Histogram, Spec};
use super::metrics::{BUILD_INFO, CONFIG_LAST_SUCCESS, CONFIG_RELOADS};
use crate::clock::Timestamp;

/// Somebody who keeps figures.
pub trait Source: Send + Sync {
    /// Writes the figures as they are now. Must not block for longer than a system call or two.
    fn collect(&self, out: &mut Samples);
}

/// What the page will show.
#[derive(Debug, Default)]
pub struct Samples(BTreeMap<&'static str, MetricFamily>);

impl Samples {
    /// A counter's value.
    pub fn counter<const L: usize>(
        &mut self,
        family: Family<Counter, L>,
        labels: [&'static str; L],
        value: u64,
    ) {
        self.number(family.spec(), &labels, value as f64);
    }

    /// A counter that has fractions: seconds.
    pub fn counter_seconds<const L: usize>(
        &mut self,
        family: Family<Counter, L>,
        labels: [&'static str; L],
        value: f64,
    ) {
        self.number(family.spec(), &labels, value);
    }

    /// A gauge's value.
    pub fn gauge<const L: usize>(&mut self, family: Family<Gauge, L>, labels: [&'static str; L], value: f64) {
        self.number(family.spec(), &labels, value);
    }

    /// A histogram's figures, with the buckets of the family.
    pub fn histogram<const L: usize>(
        &mut self,
        family: Family<Histogram, L>,
        labels: [&'static str; L],
        snapshot: &Snapshot,
    ) {
        self.durations(family.spec(), &labels, snapshot);
    }

    /// A counter or gauge by its row.
    pub(super) fn number(&mut self, spec: &'static Spec, labels: &[&str], value: f64) {
        let metric = self.sample(spec, labels);
        if spec.kind == MetricType::COUNTER {
            let mut counter = proto::Counter::default();
            counter.set_value(value);
            metric.set_counter(counter);
        } else {
            let mut gauge = proto::Gauge::default();
            gauge.set_value(value);
            metric.set_gauge(gauge);
        }
    }

    /// A histogram by its row.
    pub(super) fn durations(&mut self, spec: &'static Spec, labels: &[&str], snapshot: &Snapshot) {
        let mut cumulative = 0u64;
        let mut buckets = Vec::with_capacity(spec.buckets.len());
        for (bound, count) in spec.buckets.iter().zip(&snapshot.counts) {
            cumulative = cumulative.wrapping_add(*count);
            let mut bucket = proto::Bucket::default();
            bucket.set_upper_bound(*bound as f64 / MICROS);
            bucket.set_cumulative_count(cumulative);
            buckets.push(bucket);
        }
        let mut histogram = proto::Histogram::default();
        histogram.set_sample_count(snapshot.counts.iter().fold(0u64, |sum, n| sum.wrapping_add(*n)));
        histogram.set_sample_sum(snapshot.sum_micros as f64 / MICROS);
        histogram.set_bucket(buckets);
        self.sample(spec, labels).set_histogram(histogram);
    }

    /// The families, for the registry.
    pub(super) fn into_families(self) -> Vec<MetricFamily> {
        self.0.into_values().collect()
    }

    fn sample(&mut self, spec: &'static Spec, values: &[&str]) -> &mut Metric {
        let family = self.0.entry(spec.name).or_insert_with(|| {
            let mut family = MetricFamily::default();
            family.set_name(spec.name.to_owned());
            family.set_help(spec.help.to_owned());
            family.set_field_type(spec.kind);
            family
        });
        let labels = spec.labels.iter().zip(values).map(|(name, value)| {
            let mut pair = LabelPair::default();
            pair.set_name((*name).to_owned());
            pair.set_value((*value).to_owned());
            pair
        });
        let metrics = family.mut_metric();
        metrics.push(Metric::from_label(labels.collect()));
        let last = metrics.len() - 1;
        &mut metrics[last]
    }
}

/// How reading the configuration anew went, and which version this is.
#[derive(Debug)]
pub struct ConfigStatus {
    succeeded: AtomicU64,
    failed: AtomicU64,
    last_success: AtomicI64,
}

impl ConfigStatus {
    /// The configuration was read for the first time at `now`.
    #[must_use]
    pub const fn new(now: Timestamp) -> Self {
        Self {
            succeeded: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            last_success: AtomicI64::new(now.as_micros()),
        }
    }

    /// A reload took effect at `now`.
    pub fn reloaded(&self, now: Timestamp) {
        self.succeeded.fetch_add(1, Relaxed);
        self.last_success.store(now.as_micros(), Relaxed);
    }

    /// A reload was refused; the old configuration is in use.
    pub fn refused(&self) {
        self.failed.fetch_add(1, Relaxed);
    }
}

impl Source for ConfigStatus {
    fn collect(&self, out: &mut Samples) {
        out.counter(CONFIG_RELOADS, ["ok"], self.succeeded.load(Relaxed));
        out.counter(CONFIG_RELOADS, ["error"], self.failed.load(Relaxed));
        out.gauge(CONFIG_LAST_SUCCESS, [], self.last_success.load(Relaxed) as f64 / MICROS);
        out.gauge(BUILD_INFO, [env!("CARGO_PKG_VERSION")], 1.0);
    }
}

const MICROS: f64 = 1e6;
