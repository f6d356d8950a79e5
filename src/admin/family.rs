//! What a metric family is: name, help, type, labels, buckets.
//!
//! A [`Family`] carries its type and its number of labels in its own type, so that a sample of the wrong kind or with a
//! missing label does not compile. Never holds a value. Bound: static data.

use std::marker::PhantomData;

use prometheus::proto::MetricType;

/// Marker: only ever rises while the process lives.
#[derive(Debug)]
pub enum Counter {}
/// Marker: rises and falls.
#[derive(Debug)]
pub enum Gauge {}
/// Marker: durations in buckets.
#[derive(Debug)]
pub enum Histogram {}

/// The three markers.
pub trait Kind {
    /// The same as the exposition format says it.
    const TYPE: MetricType;
}

impl Kind for Counter {
    const TYPE: MetricType = MetricType::COUNTER;
}

impl Kind for Gauge {
    const TYPE: MetricType = MetricType::GAUGE;
}

impl Kind for Histogram {
    const TYPE: MetricType = MetricType::HISTOGRAM;
}

/// One row of the table.
#[derive(Debug)]
pub struct Spec {
    /// The name on the page: a contract.
    pub name: &'static str,
    /// One sentence for people.
    pub help: &'static str,
    /// Counter, gauge or histogram.
    pub kind: MetricType,
    /// Label names, in the order in which values are given.
    pub labels: &'static [&'static str],
    /// Upper bounds of the buckets in microseconds, ascending, without +Inf; empty unless a histogram.
    pub buckets: &'static [u64],
}

/// A row with its kind `K` and its number of labels `L` as types.
#[derive(Debug)]
pub struct Family<K, const L: usize> {
    spec: &'static Spec,
    kind: PhantomData<fn() -> K>,
}

impl<K, const L: usize> Clone for Family<K, L> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K, const L: usize> Copy for Family<K, L> {}

impl<K, const L: usize> Family<K, L> {
    /// The handle of a row. Only the table in [`super::metrics`] makes one.
    pub(super) const fn new(spec: &'static Spec) -> Self {
        Self { spec, kind: PhantomData }
    }

    /// The row.
    #[must_use]
    pub const fn spec(&self) -> &'static Spec {
        self.spec
    }
}

/// Writes the table: a typed constant per row, and [`Spec`]s of all of them in order.
macro_rules! families {
    ($(
        $(#[$doc:meta])*
        $id:ident: $kind:ident $name:literal [$($label:literal),*] $(in $buckets:ident)? = $help:literal;
    )*) => {
        $(
            $(#[$doc])*
            #[doc = concat!("`", $name, "`: ", $help)]
            pub const $id: Family<$kind, { <[&str]>::len(&[$($label),*]) }> = Family::new(&Spec {
                name: $name,
                help: $help,
                kind: <$kind as Kind>::TYPE,
                labels: &[$($label),*],
                buckets: families!(@buckets $($buckets)?),
            });
        )*

        /// Every family, in the order of the table.
        pub static ALL: &[&Spec] = &[$($id.spec()),*];
    };
    (@buckets) => { &[] };
    (@buckets $buckets:ident) => { $buckets };
}

pub(super) use families;
