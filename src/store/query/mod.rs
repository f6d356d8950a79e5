//! Reading records: the filter language, the scan, and counts.
//!
//! [`parse()`] makes a [`Filter`], [`open_read`] grants the read under a purpose once it is in the audit log,
//! [`Predicate`] tries the filter on rows, [`Top`] and [`Histogram`] count. Nothing here prints: the command line is
//! one caller, a page can be another. Never writes, never opens a class that the purpose does not open. Bounds: see
//! each part.

pub mod access;
pub mod aggregate;
mod backwards;
pub mod field;
pub mod filter;
pub mod gather;
pub mod histogram;
pub mod key;
mod newest;
pub mod parse;
pub mod predicate;
mod quantile;
pub mod scan;
mod seen;
pub(in crate::store) mod sources;
mod statement;
#[cfg(test)]
pub(crate) mod testing;
pub mod units;
pub mod url;
pub mod where_clause;
mod work;

pub use access::{Allowed, Ask, Grant, READERS, Refused, open_read, open_subject};
pub use aggregate::{By, Limits, Top, TopResult, TopRow};
pub use field::{Quantity, quantity, resolve};
pub use filter::Filter;
pub use gather::{HistogramOf, TopOf};
pub use histogram::{Bucket, Histogram, HistogramResult, Scale};
pub use key::OwnedValue;
pub use newest::{Resume, process_of};
pub use parse::{ParseError, parse, parse_moment};
pub use predicate::Predicate;
pub use scan::{Scan, Select, records_folder};
pub use seen::Seen;
pub use work::Work;
