//! The date of an `Expires` attribute, read as browsers read it (RFC 6265 §5.1.1).
//!
//! Tolerant by specification: order, separators and weekday do not matter. Never fails loudly: what has no time, day,
//! month or year is no date. Bound: one pass over the value, no allocation.

use crate::clock::Timestamp;

/// The time that a cookie date names; `None` if it is no date.
pub(super) fn parse(text: &[u8]) -> Option<Timestamp> {
    let (mut time, mut day, mut month, mut year) = (None, None, None, None);
    for token in text.split(|&byte| is_delimiter(byte)).filter(|token| !token.is_empty()) {
        // The order of these questions is part of the algorithm.
        if time.is_none() {
            time = time_of_day(token);
            if time.is_some() {
                continue;
            }
        }
        if day.is_none() {
            day = number(token, 1, 2);
            if day.is_some() {
                continue;
            }
        }
        if month.is_none() {
            month = month_number(token);
            if month.is_some() {
                continue;
            }
        }
        if year.is_none() {
            year = number(token, 2, 4);
        }
    }
    let ((hour, minute, second), day, month) = (time?, day?, month?);
    let year = match year? {
        short @ 70..=99 => short + 1900,
        short @ 0..=69 => short + 2000,
        long => long,
    };
    if year < 1601 || day < 1 || day > days_in(month, year) || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let seconds = days_since_1970(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second;
    Some(Timestamp::from_secs(seconds))
}

const fn is_delimiter(byte: u8) -> bool {
    matches!(byte, 0x09 | 0x20..=0x2F | 0x3B..=0x40 | 0x5B..=0x60 | 0x7B..=0x7E)
}

/// A number of `least` to `most` digits at the beginning of a token, with no further digit after them.
fn number(token: &[u8], least: usize, most: usize) -> Option<i64> {
    let digits = token.iter().take_while(|byte| byte.is_ascii_digit()).count();
    (least <= digits && digits <= most)
        .then(|| token[..digits].iter().fold(0, |sum, &digit| sum * 10 + i64::from(digit - b'0')))
}

/// `hh:mm:ss`, one or two digits each; anything but a digit may follow.
fn time_of_day(token: &[u8]) -> Option<(i64, i64, i64)> {
    let mut parts = token.splitn(3, |&byte| byte == b':');
    let whole = |part: &[u8]| part.iter().all(u8::is_ascii_digit).then(|| number(part, 1, 2)).flatten();
    Some((whole(parts.next()?)?, whole(parts.next()?)?, number(parts.next()?, 1, 2)?))
}

fn month_number(token: &[u8]) -> Option<i64> {
    let start = token.get(..3)?;
    (1..).zip(MONTHS).find(|(_, month)| start.eq_ignore_ascii_case(month)).map(|(number, _)| number)
}

const fn days_in(month: i64, year: i64) -> i64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

/// Days of the proleptic Gregorian calendar, counted in years that begin in March so that the leap day comes last.
const fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    // Five months from March on have 153 days, whichever they are.
    year * 365 + leap_days + (153 * month + 2) / 5 + day - 1 - DAYS_TO_MARCH_1970
}

/// Days from 0000-03-01 to 1970-01-01.
const DAYS_TO_MARCH_1970: i64 = 719_468;

const MONTHS: [&[u8]; 12] =
    [b"jan", b"feb", b"mar", b"apr", b"may", b"jun", b"jul", b"aug", b"sep", b"oct", b"nov", b"dec"];

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Option<String> {
        parse(text.as_bytes()).map(|at| at.to_string()[..19].to_owned())
    }

    #[test]
    fn reads_the_usual_forms() {
        for text in [
            "Wed, 09 Jun 2021 10:18:14 GMT",
            "Wednesday, 09-Jun-21 10:18:14 GMT",
            "Wed Jun  9 10:18:14 2021",
            "9 june 21 10:18:14",
            "10:18:14 9 JUNE 2021",
            "10:18:14x 9th Junius 2021BC",
            "\"Wed, 9/Jun/2021 10:18:14\"",
        ] {
            assert_eq!(shown(text).as_deref(), Some("2021-06-09T10:18:14"), "{text}");
        }
    }

    #[test]
    fn knows_centuries_and_leap_years() {
        assert_eq!(shown("1 Jan 70 0:0:0").as_deref(), Some("1970-01-01T00:00:00"));
        assert_eq!(shown("1 Jan 69 0:0:0").as_deref(), Some("2069-01-01T00:00:00"));
        assert_eq!(shown("29 Feb 2000 23:59:59").as_deref(), Some("2000-02-29T23:59:59"));
        assert_eq!(shown("1 Mar 1900 0:0:0").as_deref(), Some("1900-03-01T00:00:00"));
        assert_eq!(shown("1 Jan 1601 0:0:0").as_deref(), Some("1601-01-01T00:00:00"));
        assert_eq!(parse(b"31 Dec 9999 23:59:59"), Some(Timestamp::from_secs(253_402_300_799)));
    }

    #[test]
    fn what_lacks_a_part_or_cannot_be_is_no_date() {
        for text in [
            "",
            "0",
            "Thu",
            "09 Jun 2021",
            "10:18:14 2021",
            "Jun 2021 10:18:14",
            "9 Jun 10:18:14",
            "31 Apr 2021 0:0:0",
            "29 Feb 1900 0:0:0",
            "0 Jun 2021 0:0:0",
            "9 Jun 2021 24:0:0",
            "9 Jun 2021 0:60:0",
            "9 Jun 2021 0:0:60",
            "9 Jun 1600 0:0:0",
            "9 Jun 20210 0:0:0",
            "9 Jun 2021 100:0:0",
            "9 Jun 2021 0:0",
            "9 Jun 2021 0:0:000",
            "9 Jun 2021 0x:0:0",
        ] {
            assert_eq!(shown(text), None, "{text}");
        }
    }

    #[test]
    fn agrees_with_the_calendar_on_every_day_of_eight_centuries() {
        let mut expected = 0;
        for year in 1970..2770 {
            for month in 1..=12 {
                for day in 1..=days_in(month, year) {
                    assert_eq!(days_since_1970(year, month, day), expected);
                    expected += 1;
                }
            }
        }
    }
}
