//! The promises of the journal, one test per sentence.

mod crash;
mod full;
mod kit;
mod life;
mod power;
mod seal;
