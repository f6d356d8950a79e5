//! Which networks host machines rather than people.
//!
//! Reads the list of ASNs that is shipped as `geoip/hosting-asns.txt`. Never asks the network. Bound:
//! [`MAX_ENTRIES`] numbers.

/// ASNs of hosting networks, sorted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostingAsns(Box<[u32]>);

/// A line of a list that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ListError {
    /// The line is not `AS<number>`.
    #[error("line {line}: expected AS<number>, with a comment after #")]
    Malformed {
        /// Counted from 1.
        line: usize,
    },
    /// More than [`MAX_ENTRIES`] entries.
    #[error("more than {MAX_ENTRIES} networks")]
    TooMany,
}

impl HostingAsns {
    /// The list inside the program. Were it broken, which a test forbids, it would be empty: no network is then
    /// taken for hosting.
    #[must_use]
    pub fn shipped() -> Self {
        Self::parse(SHIPPED).unwrap_or_else(|_| Self(Box::default()))
    }

    /// Reads a list: one `AS<number>` per line, comments after `#`.
    ///
    /// # Errors
    /// The first line that cannot be read, or too many entries.
    pub fn parse(text: &str) -> Result<Self, ListError> {
        let mut asns = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let entry = line.split('#').next().unwrap_or_default().trim();
            if entry.is_empty() {
                continue;
            }
            let asn = entry.strip_prefix("AS").and_then(|number| number.parse().ok());
            asns.push(asn.ok_or(ListError::Malformed { line: index + 1 })?);
            if asns.len() > MAX_ENTRIES {
                return Err(ListError::TooMany);
            }
        }
        asns.sort_unstable();
        asns.dedup();
        Ok(Self(asns.into_boxed_slice()))
    }

    /// Whether the network hosts machines.
    #[must_use]
    pub fn contains(&self, asn: u32) -> bool {
        self.0.binary_search(&asn).is_ok()
    }
}

/// Entries in one list.
pub const MAX_ENTRIES: usize = 10_000;

const SHIPPED: &str = include_str!("../../geoip/hosting-asns.txt");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_list_reads() {
        let list = HostingAsns::parse(SHIPPED).unwrap();
        assert!(list.0.len() >= 30, "{}", list.0.len());
        assert!(list.contains(16509));
        assert!(!list.contains(9198));
        assert_eq!(list, HostingAsns::shipped());
    }

    #[test]
    fn comments_order_and_doubles_do_not_matter() {
        let list = HostingAsns::parse("AS3 # three\n\n# none\n AS1\nAS3\n").unwrap();
        assert_eq!(&*list.0, [1, 3]);
    }

    #[test]
    fn a_bad_line_is_named() {
        assert_eq!(HostingAsns::parse("AS1\n16509"), Err(ListError::Malformed { line: 2 }));
        assert_eq!(HostingAsns::parse("AS99999999999"), Err(ListError::Malformed { line: 1 }));
    }

    #[test]
    fn the_list_is_bounded() {
        let text: String = (0..=MAX_ENTRIES).map(|n| format!("AS{n}\n")).collect();
        assert_eq!(HostingAsns::parse(&text), Err(ListError::TooMany));
    }
}
