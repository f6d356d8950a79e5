//! One TOML value against the kind of its key.
//!
//! [`Reader::read`] gives a [`Value`] or notes what is wrong, element by element in lists. Never looks at other keys
//! or at the disk. Bound: the value.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;
use toml::Spanned;
use toml::de::DeValue;
use toml::value::Datetime;

use super::problem::{Fault, Mistakes, Place, shown};
use super::reference::Kind;
use super::syntax;
use super::{Endpoint, ListenAddress};

/// A value that fits its key.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Duration(Duration),
    /// An integer, or bytes.
    Number(u64),
    Bool(bool),
    /// A word, a host, an id, a path prefix or a text.
    Text(String),
    /// Already joined to the folder of the configuration file.
    Path(PathBuf),
    Socket(SocketAddr),
    Listen(ListenAddress),
    Endpoint(Endpoint),
    Network(IpNet),
    Statuses(RangeInclusive<u16>),
    /// Midnight UTC of a day, in seconds since 1970.
    Day(i64),
    /// The elements and where each was said.
    List(Vec<(Self, Place)>),
    /// An element that was told as a mistake; there is no configuration with one.
    Unreadable,
}

/// Who wrote the text that is read.
#[derive(Clone, Copy)]
pub(super) enum Author<'a> {
    /// The file.
    File,
    /// The environment variable of that name.
    Environment(&'a str),
    /// The table of keys.
    Default,
}

/// Reads values, noting mistakes.
pub(super) struct Reader<'a> {
    /// Where relative paths start.
    pub(super) base: &'a Path,
    pub(super) mistakes: &'a mut Mistakes,
}

impl Author<'_> {
    /// Where this author said that value.
    pub(super) fn place<T>(self, value: &Spanned<T>) -> Place {
        match self {
            Self::File => Place::Span(value.span()),
            Self::Environment(name) => Place::Environment(name.to_owned()),
            Self::Default => Place::Nowhere,
        }
    }
}

impl Author<'_> {
    /// A variable is text without quotes, whatever is wanted: what is said about TOML does not help there.
    fn hinted(self, fault: Fault, value: &DeValue<'_>, kind: &Kind) -> Fault {
        let unquoted = value.is_str() && matches!(kind, Kind::Bool | Kind::Integer { .. });
        if matches!(self, Self::Environment(_)) && unquoted { fault.without_hint() } else { fault }
    }
}

impl Reader<'_> {
    /// The value, or `None` after noting what is wrong. In a list, what is wrong leaves [`Value::Unreadable`], so that the
    /// others can be compared.
    pub(super) fn read(
        &mut self,
        path: &str,
        kind: &Kind,
        value: &Spanned<DeValue<'_>>,
        author: Author<'_>,
    ) -> Option<Value> {
        let place = author.place(value);
        let Kind::List { of, filled } = kind else {
            return match scalar(kind, value.get_ref(), self.base) {
                Ok(value) => Some(value),
                Err(fault) => {
                    self.mistakes.add(&place, path, author.hinted(fault, value.get_ref(), kind));
                    None
                }
            };
        };
        let Some(elements) = value.get_ref().as_array() else {
            self.mistakes.add(&place, path, mismatch(kind, value.get_ref()));
            return None;
        };
        if *filled && elements.is_empty() {
            self.mistakes.add(&place, path, Fault::new("must not be empty"));
            return None;
        }
        let mut list = Vec::with_capacity(elements.len());
        for (i, element) in elements.iter().enumerate() {
            let read = self.read(&format!("{path}[{i}]"), of, element, author);
            list.push((read.unwrap_or(Value::Unreadable), author.place(element)));
        }
        Some(Value::List(list))
    }
}

/// The nearest of some names, if one is near enough to be meant.
pub(super) fn nearest<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    if name.len() > 64 {
        return None;
    }
    let name = name.to_ascii_lowercase().replace('-', "_");
    candidates
        .map(|c| (strsim::damerau_levenshtein(&name, &c.to_ascii_lowercase().replace('-', "_")), c))
        .filter(|(distance, c)| *distance <= (c.len() / 3).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, c)| c)
}

/// The type of a value with its article.
pub(super) fn found(value: &DeValue<'_>) -> String {
    let article = if matches!(value, DeValue::Integer(_) | DeValue::Array(_)) { "an" } else { "a" };
    format!("{article} {}", value.type_str())
}

/// What stands there is of another type.
pub(super) fn mismatch(kind: &Kind, value: &DeValue<'_>) -> Fault {
    let fault = Fault::new(format!("expected {}, found {}", kind.describe(), found(value)));
    match (kind, value) {
        (Kind::Duration { .. }, DeValue::Integer(_)) => {
            fault.hint("a duration has a unit: ms, s, m, h or d, for example \"15s\"")
        }
        (Kind::Days(_), DeValue::Integer(days)) => {
            fault.hint(format!("a duration has a unit; here whole days: \"{}d\"", days.as_str()))
        }
        (Kind::List { .. }, _) => fault.hint("write [ … ]"),
        (Kind::Bool | Kind::Integer { .. }, DeValue::String(_)) => fault.hint("write it without quotes"),
        _ => fault,
    }
}

fn scalar(kind: &Kind, value: &DeValue<'_>, base: &Path) -> Result<Value, Fault> {
    let text = || value.as_str().ok_or_else(|| mismatch(kind, value));
    match kind {
        Kind::Duration { min, max } => {
            let time = syntax::duration(text()?)?;
            within(kind, (min..=max).contains(&&time), Value::Duration(time))
        }
        Kind::Days(max) => {
            let time = syntax::duration(text()?)?;
            let days = time.as_secs() / DAY;
            let whole = time == Duration::from_secs(days * DAY);
            within(kind, whole && (1..=*max).contains(&days), Value::Duration(time))
        }
        Kind::Size { min, max } => {
            let bytes = if value.is_str() { syntax::size(text()?)? } else { integer(kind, value)? };
            within(kind, (min..=max).contains(&&bytes), Value::Number(bytes))
        }
        Kind::Integer { min, max } => {
            let number = integer(kind, value)?;
            within(kind, (min..=max).contains(&&number), Value::Number(number))
        }
        Kind::Bool => value.as_bool().map(Value::Bool).ok_or_else(|| mismatch(kind, value)),
        Kind::Date => match value {
            DeValue::Datetime(date) => syntax::day(date).map(Value::Day),
            DeValue::String(text) => match text.parse::<Datetime>() {
                Ok(date) => syntax::day(&date).map(Value::Day),
                Err(_) => Err(Fault::new(format!("`{}` is not a date", shown(text)))
                    .hint("write the day alone, for example 2026-11-22")),
            },
            _ => Err(mismatch(kind, value)),
        },
        Kind::Word { members, later } => word(text()?, members, later, kind),
        Kind::Socket(words) => match text()? {
            word if words.contains(&word) => Ok(Value::Text(word.to_owned())),
            address => socket(address),
        },
        Kind::Listen => match text()? {
            text if text.starts_with("unix:") => syntax::unix_listener(text).map(Value::Listen),
            address => socket(address).map(|value| match value {
                Value::Socket(address) => Value::Listen(address.into()),
                other => other,
            }),
        },
        Kind::Mode => syntax::mode(text()?).map(Value::Number),
        Kind::File { words, .. } => match text()? {
            word if words.contains(&word) => Ok(Value::Text(word.to_owned())),
            path => folder(path, base),
        },
        Kind::Output(words) => match text()? {
            word if words.contains(&word) => Ok(Value::Text(word.to_owned())),
            path => folder(path, base),
        },
        Kind::Folder => folder(text()?, base),
        Kind::Host => syntax::host(text()?).map(Value::Text),
        Kind::Upstream => syntax::upstream(text()?).map(Value::Endpoint),
        Kind::Target => syntax::target(text()?).map(Value::Text),
        Kind::Statuses => syntax::statuses(text()?).map(Value::Statuses),
        Kind::Network => syntax::network(text()?).map(Value::Network),
        Kind::Prefix => syntax::prefix(text()?).map(Value::Text),
        Kind::Route => syntax::route(text()?).map(Value::Text),
        Kind::OwnPrefix => syntax::own_prefix(text()?).map(Value::Text),
        Kind::Id(extra) => syntax::id(text()?, extra).map(Value::Text),
        Kind::Text => match text()? {
            text if (1..=128).contains(&text.chars().count()) => Ok(Value::Text(text.to_owned())),
            _ => Err(Fault::new("expected a text of 1 to 128 characters")),
        },
        Kind::Later => Err(Fault::new("this is not supported yet").hint("take the key out")),
        Kind::List { .. } => Err(Fault::new("a list must not stand in a list")),
    }
}

fn within(kind: &Kind, fits: bool, value: Value) -> Result<Value, Fault> {
    if fits { Ok(value) } else { Err(Fault::new(format!("out of bounds: expected {}", kind.describe()))) }
}

fn integer(kind: &Kind, value: &DeValue<'_>) -> Result<u64, Fault> {
    let number = value.as_integer().ok_or_else(|| mismatch(kind, value))?;
    let digits = number.as_str().strip_prefix('+').unwrap_or(number.as_str());
    // Only a sign or too many digits can be in the way; both are out of every bound.
    u64::from_str_radix(digits, number.radix())
        .map_err(|_| Fault::new(format!("out of bounds: expected {}", kind.describe())))
}

fn word(text: &str, members: &[&'static str], later: &[&'static str], kind: &Kind) -> Result<Value, Fault> {
    if members.contains(&text) {
        return Ok(Value::Text(text.to_owned()));
    }
    if later.contains(&text) {
        let hint = format!("supported now: {}", members.join(", "));
        return Err(Fault::new(format!("`{text}` is not supported yet")).hint(hint));
    }
    let fault = Fault::new(format!("`{}` is not {}", shown(text), kind.describe()));
    Err(match nearest(text, members.iter().copied()) {
        Some(near) => fault.hint(format!("did you mean \"{near}\"?")),
        None => fault,
    })
}

fn socket(text: &str) -> Result<Value, Fault> {
    if let Ok(address) = text.parse() {
        return Ok(Value::Socket(address));
    }
    let fault = Fault::new(format!("`{}` is not an address with port", shown(text)));
    Err(match text.strip_prefix(':').or_else(|| text.strip_prefix("*:")) {
        Some(port) => fault.hint(format!("write \"0.0.0.0:{0}\" or \"[::]:{0}\"", shown(port))),
        None => fault.hint("for example \"0.0.0.0:8080\" or \"[::1]:8080\""),
    })
}

fn folder(text: &str, base: &Path) -> Result<Value, Fault> {
    if text.is_empty() || text.contains('\0') || text.len() > MAX_PATH {
        return Err(Fault::new("this is not a path"));
    }
    Ok(Value::Path(base.join(text)))
}

/// Bytes of a path.
const MAX_PATH: usize = 4096;
/// Seconds of a day.
const DAY: u64 = 86_400;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::reference;

    fn try_at(path: &str, toml: &str) -> Result<Value, String> {
        let mut mistakes = Mistakes::default();
        let mut reader = Reader { base: Path::new("/etc/kelisim"), mistakes: &mut mistakes };
        let value = DeValue::parse(toml).unwrap();
        let read = reader.read("k", &reference::find(path).unwrap().kind, &value, Author::File);
        // A list with a mistake in it is still read.
        let problems = mistakes.finish("f", toml);
        read.filter(|_| problems.list().is_empty()).ok_or_else(|| problems.to_string())
    }

    #[test]
    fn bounds_are_part_of_the_kind() {
        assert_eq!(try_at("timeouts.drain", "\"30s\""), Ok(Value::Duration(Duration::from_secs(30))));
        for (path, toml) in [
            ("timeouts.drain", "\"0s\""),
            ("timeouts.drain", "\"2h\""),
            ("limits.head_fields", "0"),
            ("limits.head_fields", "-1"),
            ("limits.head_fields", "99999999999999999999999"),
            ("limits.head_bytes", "1"),
            ("records.retention.support", "\"36h\""),
            ("records.retention.support", "\"0d\""),
        ] {
            let told = try_at(path, toml).unwrap_err();
            assert!(told.contains("out of bounds: expected "), "{path} {toml}: {told}");
        }
    }

    #[test]
    fn integers_have_four_radixes_and_a_plus() {
        for toml in ["256", "+256", "0x100", "0o400", "0b1_0000_0000"] {
            assert_eq!(try_at("limits.connections_per_client", toml), Ok(Value::Number(256)), "{toml}");
        }
    }

    #[test]
    fn another_type_is_told_with_a_hint() {
        let told = try_at("timeouts.drain", "30").unwrap_err();
        assert!(told.contains("expected a duration from 1ms to 1h, found an integer"), "{told}");
        assert!(told.contains("a duration has a unit"), "{told}");
        let told = try_at("records.retention.support", "30").unwrap_err();
        assert!(told.contains("here whole days: \"30d\""), "{told}");
        assert!(try_at("limits.connections", "\"5\"").unwrap_err().contains("without quotes"));
        assert!(try_at("site[].hosts", "\"a\"").unwrap_err().contains("write [ … ]"));
    }

    #[test]
    fn words_are_suggested() {
        let told = try_at("cookies.mode", "\"enforced\"").unwrap_err();
        assert!(told.contains("did you mean \"enforce\"?"), "{told}");
        let told = try_at("consent.sources", "[\"own\", \"one-trust\"]").unwrap_err();
        assert!(told.contains("f:1:9: k[1]: `one-trust` is not one of"), "{told}");
        assert!(told.contains("did you mean \"onetrust\"?"), "{told}");
        let later = word("soon", &["now"], &["soon"], &Kind::Bool);
        assert!(later.is_err_and(|fault| format!("{fault:?}").contains("not supported yet")));
    }

    #[test]
    fn paths_start_at_the_folder_of_the_file() {
        assert_eq!(try_at("records.dir", "\"data\""), Ok(Value::Path("/etc/kelisim/data".into())));
        assert_eq!(try_at("records.dir", "\"/data\""), Ok(Value::Path("/data".into())));
        assert_eq!(try_at("geoip.country", "\"off\""), Ok(Value::Text("off".into())));
        assert!(try_at("records.dir", "\"\"").is_err());
    }

    #[test]
    fn addresses_need_a_port() {
        assert!(try_at("admin.address", "\"127.0.0.1\"").is_err());
        assert!(try_at("admin.address", "\":9180\"").unwrap_err().contains("0.0.0.0:9180"));
    }

    #[test]
    fn nearest_does_not_guess_wildly() {
        let names = ["head_bytes", "head_fields", "uri_bytes"];
        assert_eq!(nearest("head_byte", names.into_iter()), Some("head_bytes"));
        assert_eq!(nearest("Head-Bytes", names.into_iter()), Some("head_bytes"));
        assert_eq!(nearest("colour", names.into_iter()), None);
        assert_eq!(nearest(&"h".repeat(65), names.into_iter()), None);
    }
}
