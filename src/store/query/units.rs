//! Durations, byte counts and times as people write them.
//!
//! Each parser has a formatter whose output parses back to the same value: filters are shown, logged and put in URLs.
//! Never asks what time it is. Bound: the length of one word on a command line.

use std::fmt::Write as _;
use std::time::Duration;

use crate::clock::Timestamp;

/// A span of time: `90s`, `1h30m`, `2.5ms`. Units `us ms s m h d w`, largest first when there are several.
///
/// `None` for anything else, a bare number included, and for more than 2⁶⁴ microseconds.
#[must_use]
pub fn parse_duration(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut total = 0_u64;
    let mut last_unit = u64::MAX;
    while !rest.is_empty() {
        let split = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at(split);
        let unit_len = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_len);
        let scale = DURATION_UNITS.iter().find(|(name, _)| *name == unit)?.1;
        if scale >= last_unit {
            return None;
        }
        total = total.checked_add(scaled(number, scale)?)?;
        last_unit = scale;
        rest = tail;
    }
    (last_unit != u64::MAX).then(|| Duration::from_micros(total))
}

/// A span of time in whole microseconds, exactly, as [`parse_duration`] reads it.
#[must_use]
pub fn exact_duration(span: Duration) -> String {
    let mut micros = u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
    let mut out = String::new();
    for (name, scale) in DURATION_UNITS {
        let count = micros / scale;
        micros %= scale;
        if count > 0 {
            let _ = write!(out, "{count}{name}");
        }
    }
    if out.is_empty() {
        out.push_str("0s");
    }
    out
}

/// A span of time in at most five characters and a unit, for tables: `850us`, `12.4ms`, `3.20s`, `12m05s`.
#[must_use]
#[allow(clippy::cast_precision_loss, reason = "three digits are shown")]
pub fn short_duration(micros: u64) -> String {
    match micros {
        0..1_000 => format!("{micros}us"),
        1_000..1_000_000 => format!("{}ms", three_digits(micros as f64 / 1e3)),
        1_000_000..60_000_000 => format!("{}s", three_digits(micros as f64 / 1e6)),
        60_000_000..3_600_000_000 => format!("{}m{:02}s", micros / 60_000_000, micros / 1_000_000 % 60),
        _ => format!("{}h{:02}m", micros / 3_600_000_000, micros / 60_000_000 % 60),
    }
}

/// A number of bytes: `512`, `512B`, `1.5kB`, `1MiB`. `kB MB GB TB` are powers of 1000, `KiB MiB GiB TiB` of 1024.
#[must_use]
pub fn parse_bytes(text: &str) -> Option<u64> {
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let scale = if unit.is_empty() {
        1
    } else {
        BYTE_UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit))?.1
    };
    scaled(number, scale)
}

/// A number of bytes, exactly, as [`parse_bytes`] reads it.
#[must_use]
pub fn exact_bytes(bytes: u64) -> String {
    match BYTE_UNITS.iter().find(|(_, scale)| bytes > 0 && bytes.is_multiple_of(*scale)) {
        Some((name, scale)) if *scale > 1 => format!("{}{name}", bytes / scale),
        _ => bytes.to_string(),
    }
}

/// A number of bytes for tables: `812B`, `1.50KiB`, `20.1MiB`.
#[must_use]
#[allow(clippy::cast_precision_loss, reason = "three digits are shown")]
pub fn short_bytes(bytes: u64) -> String {
    const NAMES: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1024 {
        return format!("{bytes}B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut name = 0;
    while value >= 1000.0 && name + 1 < NAMES.len() {
        value /= 1024.0;
        name += 1;
    }
    format!("{}{}", three_digits(value), NAMES[name])
}

/// A moment: a date, a date and time to the minute, second or fraction, or RFC 3339 with an offset. Without an
/// offset it is UTC.
#[must_use]
pub fn parse_time(text: &str) -> Option<Timestamp> {
    if let Ok(moment) = text.parse::<jiff::Timestamp>() {
        return Some(Timestamp::from_micros(moment.as_microsecond()));
    }
    let civil = if let Ok(when) = text.parse::<jiff::civil::DateTime>() {
        when
    } else {
        text.parse::<jiff::civil::Date>().ok()?.to_datetime(jiff::civil::Time::midnight())
    };
    let zoned = civil.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
    Some(Timestamp::from_micros(zoned.timestamp().as_microsecond()))
}

/// `number * scale`, rounded to a whole; at most six decimals.
fn scaled(number: &str, scale: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() || fraction.len() > 6 || (number.contains('.') && fraction.is_empty()) {
        return None;
    }
    let mut total = whole.parse::<u64>().ok()?.checked_mul(scale)?;
    if !fraction.is_empty() {
        let divisor = 10_u128.pow(u32::try_from(fraction.len()).ok()?);
        let part = u128::from(fraction.parse::<u64>().ok()?) * u128::from(scale);
        total = total.checked_add(u64::try_from((part + divisor / 2) / divisor).ok()?)?;
    }
    Some(total)
}

fn three_digits(value: f64) -> String {
    if value >= 99.95 {
        format!("{value:.0}")
    } else if value >= 9.995 {
        format!("{value:.1}")
    } else {
        format!("{value:.2}")
    }
}

/// Units of time in microseconds, largest first.
const DURATION_UNITS: [(&str, u64); 7] = [
    ("w", 604_800_000_000),
    ("d", 86_400_000_000),
    ("h", 3_600_000_000),
    ("m", 60_000_000),
    ("s", 1_000_000),
    ("ms", 1_000),
    ("us", 1),
];

/// Units of size in bytes; the order is the preference of [`exact_bytes`].
const BYTE_UNITS: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("TB", 1_000_000_000_000),
    ("GiB", 1 << 30),
    ("GB", 1_000_000_000),
    ("MiB", 1 << 20),
    ("MB", 1_000_000),
    ("KiB", 1 << 10),
    ("kB", 1_000),
    ("B", 1),
];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations() {
        let micros = |text| parse_duration(text).map(|d| d.as_micros());
        assert_eq!(micros("200ms"), Some(200_000));
        assert_eq!(micros("1h30m"), Some(5_400_000_000));
        assert_eq!(micros("2.5ms"), Some(2_500));
        assert_eq!(micros("0s"), Some(0));
        for bad in ["", "5", "h", "1m1h", "1h1h", "1.s", ".5s", "-1s", "1fortnight", "99999999999999999w"] {
            assert_eq!(micros(bad), None, "{bad}");
        }
    }

    #[test]
    fn sizes() {
        assert_eq!(parse_bytes("1MiB"), Some(1 << 20));
        assert_eq!(parse_bytes("1.5kb"), Some(1_500));
        assert_eq!(parse_bytes("0"), Some(0));
        for bad in ["", "MiB", "1 MiB", "1.2.3", "1XiB"] {
            assert_eq!(parse_bytes(bad), None, "{bad}");
        }
    }

    #[test]
    fn times() {
        let ten = Timestamp::from_secs(1_795_341_600);
        for same in
            ["2026-11-22T10:00", "2026-11-22T10:00:00Z", "2026-11-22 10:00:00", "2026-11-22T15:00:00+05:00"]
        {
            assert_eq!(parse_time(same), Some(ten), "{same}");
        }
        assert_eq!(parse_time("2026-11-22"), Some(Timestamp::from_secs(1_795_305_600)));
        for bad in ["", "yesterday", "2026-13-01", "10:00", "2026"] {
            assert_eq!(parse_time(bad), None, "{bad}");
        }
    }

    #[test]
    fn short_forms() {
        assert_eq!(short_duration(999), "999us");
        assert_eq!(short_duration(12_400), "12.4ms");
        assert_eq!(short_duration(725_000_000), "12m05s");
        assert_eq!(short_bytes(1023), "1023B");
        assert_eq!(short_bytes(1536), "1.50KiB");
        assert_eq!(short_bytes(1_048_000), "1.00MiB");
    }

    proptest! {
        #[test]
        fn exact_forms_parse_back(n in any::<u64>()) {
            prop_assert_eq!(parse_bytes(&exact_bytes(n)), Some(n));
            prop_assert_eq!(parse_duration(&exact_duration(Duration::from_micros(n))), Some(Duration::from_micros(n)));
        }

        #[test]
        fn no_word_upsets_the_parsers(text in "\\PC{0,24}") {
            let _ = (parse_duration(&text), parse_bytes(&text), parse_time(&text));
        }
    }
}
