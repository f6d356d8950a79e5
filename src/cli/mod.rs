//! (in work)

pub mod geoip;
