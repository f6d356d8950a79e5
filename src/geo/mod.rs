//! Where an address is, for the security purpose only.
//!
//! [`Databases::locate`] demands a [`SecurityPurpose`], which only [`crate::risk`] can make; [`place::Place`] cannot
//! be serialised and its `Debug` is redacted. Never tells the site, a log or a metric where a visitor is. Bound: the
//! databases' size in memory.



