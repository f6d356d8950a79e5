//! Reads what a request says about consent.
//!
//! Our own cookie, `Sec-GPC` and `DNT`, as far as the configuration asks for them; what banners and frameworks say is
//! added by [`super::banner`]. Never decides. Bound: the limits of [`super::signal`]; nothing is allocated for one own
//! cookie and the header signals.

use http::{HeaderMap, HeaderName, header};

use super::keys::ConsentKeys;
use super::record::ConsentRecord;
use super::signal::{Signal, Signals, Source};
use crate::config::ConsentSource;

/// Which sources are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Sources {
    own: bool,
    gpc: bool,
    dnt: bool,
}

impl Sources {
    /// The sources that the configuration lists.
    #[must_use]
    pub fn new(configured: &[ConsentSource]) -> Self {
        Self {
            own: configured.contains(&ConsentSource::Own),
            gpc: configured.contains(&ConsentSource::Gpc),
            dnt: configured.contains(&ConsentSource::Dnt),
        }
    }

    /// Whether `Sec-GPC` is honoured.
    #[must_use]
    pub const fn gpc(self) -> bool {
        self.gpc
    }

    /// Reads a request: every raw value of `kelisim_consent`, and the header fields; `None` where neither `Sec-GPC` nor
    /// `DNT` came.
    #[must_use]
    pub fn read<'a>(
        self,
        own_values: impl IntoIterator<Item = &'a [u8]>,
        headers: Option<&HeaderMap>,
        keys: &ConsentKeys,
        site: &str,
    ) -> Signals {
        let mut signals = headers.map_or_else(Signals::default, |headers| self.read_headers(headers));
        if self.own {
            for value in own_values {
                signals.push_own(ConsentRecord::verify(keys, site, value));
            }
        }
        signals
    }

    /// By which header signal the browser objects, if it sends one that is honoured.
    #[must_use]
    pub fn objection(self, headers: &HeaderMap) -> Option<Source> {
        self.read_headers(headers).others().first().map(|signal| signal.source)
    }

    /// Reads the header signals alone.
    #[must_use]
    pub fn read_headers(self, headers: &HeaderMap) -> Signals {
        let mut signals = Signals::default();
        if self.gpc && says_one(headers, &SEC_GPC) {
            signals.push(Signal::denied(Source::Gpc));
        }
        if self.dnt && says_one(headers, &header::DNT) {
            signals.push(Signal::denied(Source::Dnt));
        }
        signals
    }
}

/// Whether a field of that name has the value `1` and no other; another value says nothing.
fn says_one(headers: &HeaderMap, name: &HeaderName) -> bool {
    headers.get_all(name).iter().any(|value| value.as_bytes() == b"1")
}

/// Global Privacy Control.
const SEC_GPC: HeaderName = HeaderName::from_static("sec-gpc");

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    const ALL: [ConsentSource; 3] = [ConsentSource::Own, ConsentSource::Gpc, ConsentSource::Dnt];

    fn headers(name: &'static str, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(HeaderName::from_static(name), HeaderValue::from_static(value))])
    }

    #[test]
    fn header_signals_are_the_value_one_only() {
        let all = Sources::new(&ALL);
        for (name, source) in [("sec-gpc", Source::Gpc), ("dnt", Source::Dnt)] {
            assert_eq!(all.read_headers(&headers(name, "1")).others(), [Signal::denied(source)]);
            for silent in ["0", "", "true", "1, 1", "11", "?1"] {
                assert!(all.read_headers(&headers(name, silent)).others().is_empty(), "{name}: {silent}");
            }
        }
    }

    #[test]
    fn one_of_several_fields_is_enough() {
        let mut map = headers("sec-gpc", "0");
        map.append("sec-gpc", HeaderValue::from_static("1"));
        assert_eq!(Sources::new(&ALL).read_headers(&map).others().len(), 1);
    }

    #[test]
    fn only_configured_sources_are_read() {
        let keys = ConsentKeys::for_test(1);
        let value = ConsentRecord::for_test().sign(&keys, "s");
        let mut map = headers("sec-gpc", "1");
        map.insert("dnt", HeaderValue::from_static("1"));
        let read = |configured: &[ConsentSource]| {
            let signals = Sources::new(configured).read([value.as_bytes()], Some(&map), &keys, "s");
            (signals.own().len(), signals.others().iter().map(|s| s.source).collect::<Vec<_>>())
        };
        assert_eq!(read(&[]), (0, vec![]));
        assert_eq!(read(&[ConsentSource::Own]), (1, vec![]));
        assert_eq!(read(&[ConsentSource::Gpc]), (0, vec![Source::Gpc]));
        assert_eq!(read(&ALL), (1, vec![Source::Gpc, Source::Dnt]));
    }

    #[test]
    fn a_forged_copy_is_present_and_not_genuine() {
        let keys = ConsentKeys::for_test(1);
        let value = ConsentRecord::for_test().sign(&keys, "s");
        let signals = Sources::new(&ALL).read([value.as_bytes(), b"v1.forged"], None, &keys, "s");
        assert_eq!(signals.own(), [Some(ConsentRecord::for_test()), None]);
    }
}
