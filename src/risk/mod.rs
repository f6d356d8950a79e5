//! Named signals of fraud, in bounded memory.
//!
//! [`assess`] is pure given the time, the facts and the memory. Never blocks on Tor, relay or VPN alone, never keeps
//! a raw address, never tells where a visitor is. Bound: `risk.memory_bytes`.

/// Proof that a look-up serves security. Only this module makes one.
#[derive(Debug)]
pub struct SecurityPurpose(());

/// What is done at each level.
#[derive(Clone, Debug, Default)]
pub struct Actions;

/// A signal's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignalName;
