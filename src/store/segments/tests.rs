//! The promises of the segments.
