//! The date of an `Expires` attribute, where every browser reads the same one.
//!
//! Browsers read more than RFC 6265 §5.1.1 has them read, and differ in what: `1st Jan 2020 0:0:0` is a date of the past
//! there, and none at all in Chromium, which then keeps the cookie. So only the forms that servers write are dates here:
//! `Thu, 01 Jan 1970 00:00:00 GMT`, the same with dashes or a year of two digits, and that of asctime with `GMT`. Never
//! guesses: a part that is missing, twice or unknown makes it no date. Bound: one pass over the value, no allocation.

use crate::clock::Timestamp;

/// The time that every browser takes this date for; `None` if they may differ.
pub(super) fn parse(text: &[u8]) -> Option<Timestamp> {
    let (mut time, mut day, mut month, mut year) = (None, None, None, None);
    let (mut weekday, mut zone) = (None, None);
    for token in text.split(|&byte| matches!(byte, b' ' | b',' | b'-')).filter(|token| !token.is_empty()) {
        let place = match token {
            [b'0'..=b'9', _, b':', ..] => put(&mut time, time_of_day(token)?),
            [b'0'..=b'9', ..] if day.is_none() => put(&mut day, number(token, &[1, 2])?),
            [b'0'..=b'9', ..] => put(&mut year, full_year(token)?),
            b"GMT" | b"UTC" => put(&mut zone, ()),
            _ => match position(token, &MONTHS) {
                Some(number) => put(&mut month, number),
                None => put(&mut weekday, position(token, &WEEKDAYS).or(position(token, &LONG_WEEKDAYS))?),
            },
        };
        place?;
    }
    let ((hour, minute, second), day, month, year) = (time?, day?, month?, year?);
    zone?;
    if year < 1601 || day < 1 || day > days_in(month, year) || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let seconds = days_since_1970(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second;
    Some(Timestamp::from_secs(seconds))
}

/// Fills a place that is empty.
fn put<T>(place: &mut Option<T>, value: T) -> Option<()> {
    place.replace(value).is_none().then_some(())
}

/// A token of digits alone, as many as one of these.
fn number(token: &[u8], lengths: &[usize]) -> Option<i64> {
    let good = lengths.contains(&token.len()) && token.iter().all(u8::is_ascii_digit);
    good.then(|| token.iter().fold(0, |sum, &digit| sum * 10 + i64::from(digit - b'0')))
}

/// Four digits, or two. For 69 browsers differ: the later century is the one that deletes nothing.
fn full_year(token: &[u8]) -> Option<i64> {
    Some(match number(token, &[2, 4])? {
        short @ 70..=99 if token.len() == 2 => short + 1900,
        short if token.len() == 2 => short + 2000,
        long => long,
    })
}

/// `hh:mm:ss`.
fn time_of_day(token: &[u8]) -> Option<(i64, i64, i64)> {
    let mut parts = token.split(|&byte| byte == b':').map(|part| number(part, &[2]));
    let time = (parts.next()??, parts.next()??, parts.next()??);
    parts.next().is_none().then_some(time)
}

/// The place of a word in a list, from 1.
fn position(token: &[u8], words: &[&[u8]]) -> Option<i64> {
    (1..).zip(words).find(|(_, word)| token.eq_ignore_ascii_case(word)).map(|(number, _)| number)
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
const WEEKDAYS: [&[u8]; 7] = [b"mon", b"tue", b"wed", b"thu", b"fri", b"sat", b"sun"];
const LONG_WEEKDAYS: [&[u8]; 7] =
    [b"monday", b"tuesday", b"wednesday", b"thursday", b"friday", b"saturday", b"sunday"];

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
            "Wed, 09-Jun-2021 10:18:14 GMT",
            "Wed Jun  9 10:18:14 2021 GMT",
            "wed, 9 JUN 2021 10:18:14 UTC",
            "09 Jun 2021 10:18:14 GMT",
        ] {
            assert_eq!(shown(text).as_deref(), Some("2021-06-09T10:18:14"), "{text}");
        }
    }

    #[test]
    fn knows_centuries_and_leap_years() {
        assert_eq!(shown("1 Jan 70 00:00:00 GMT").as_deref(), Some("1970-01-01T00:00:00"));
        assert_eq!(shown("1 Jan 69 00:00:00 GMT").as_deref(), Some("2069-01-01T00:00:00"));
        assert_eq!(shown("29 Feb 2000 23:59:59 GMT").as_deref(), Some("2000-02-29T23:59:59"));
        assert_eq!(shown("1 Mar 1900 00:00:00 GMT").as_deref(), Some("1900-03-01T00:00:00"));
        assert_eq!(shown("1 Jan 1601 00:00:00 GMT").as_deref(), Some("1601-01-01T00:00:00"));
        assert_eq!(parse(b"31 Dec 9999 23:59:59 GMT"), Some(Timestamp::from_secs(253_402_300_799)));
    }

    #[test]
    fn what_lacks_a_part_or_cannot_be_is_no_date() {
        for text in [
            "",
            "0",
            "Thu",
            "09 Jun 2021 GMT",
            "10:18:14 2021 GMT",
            "Jun 2021 10:18:14 GMT",
            "9 Jun 10:18:14 GMT",
            "9 Jun 2021 10:18:14",
            "31 Apr 2021 00:00:00 GMT",
            "29 Feb 1900 00:00:00 GMT",
            "0 Jun 2021 00:00:00 GMT",
            "9 Jun 2021 24:00:00 GMT",
            "9 Jun 2021 00:60:00 GMT",
            "9 Jun 2021 00:00:60 GMT",
            "9 Jun 1600 00:00:00 GMT",
            "9 Jun 20210 00:00:00 GMT",
            "9 Jun 0070 00:00:00 GMT",
            "9 Jun 2021 100:00:00 GMT",
            "9 Jun 2021 00:00 GMT",
        ] {
            assert_eq!(shown(text), None, "{text}");
        }
    }

    /// Each of these RFC 6265 reads as a date of the past; Chromium reads no date or one of the future.
    #[test]
    fn what_browsers_read_differently_is_no_date() {
        for text in [
            "Wed, 01 Jan 2020 00:00:00Z",
            "Wed, 01 Jan 2020 00:00:00x GMT",
            "Wed, 01 Jan 2020 00:00:00UTC",
            "1st Jan 2020 00:00:00 GMT",
            "1 Jan 2020 00:00:00:00 GMT",
            "1 Jan 2020 0:0:0 GMT",
            "01 Jan 2020abc 2040 00:00:00 GMT",
            "01 Jan 2020 2040 00:00:00 GMT",
            "01 02 Jan 2020 00:00:00 GMT",
            "01 Jan Feb 2020 00:00:00 GMT",
            "01abc Jan 2020 00:00:00 GMT",
            "01 Januar 2020 00:00:00 GMT",
            "01 Jan 99x 00:00:00 GMT",
            "01 Jan 2020 00:00:00 GMT+0300",
            "01 Jan 2020 00:00:00 GMT GMT",
            "01 Jan 2020 00:00:00 PST",
            "10:18:14:9 09 Jun 2021 2040 GMT",
            "10:18:14 11:18:14 09 Jun 2021 GMT",
            "01/Jan/2020 00:00:00 GMT",
            "\"Wed, 01 Jan 2020 00:00:00 GMT\"",
            "Wed, 01 Jan 2020\u{ff} 00:00:00 GMT",
            "Wed, Thu, 01 Jan 2020 00:00:00 GMT",
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
