//! Whether the visitor consented, to what, and how we know.
//!
//! [`decide`] turns signals into a decision; it alone can make a [`Permit`]. The default is no. Never reads a body,
//! never asks the network. Bound: a handful of signals per request.

use std::marker::PhantomData;

/// Marker: advertising.
#[derive(Debug)]
pub enum Advertising {}
/// Marker: analytics.
#[derive(Debug)]
pub enum Analytics {}
/// Marker: functional cookies.
#[derive(Debug)]
pub enum Functional {}

/// Proof that the visitor consented to `P` for this one request. Only [`decide`] makes one.
#[derive(Debug)]
pub struct Permit<P>(PhantomData<P>);

#[cfg(test)]
impl<P> Permit<P> {
    /// A permit out of nothing, for tests of what a permit opens.
    pub(crate) const fn for_test() -> Self {
        Self(PhantomData)
    }
}
