//! Tests of [`super`].

use proptest::prelude::*;

use super::*;

proptest! {
    #[test]
    fn durations_are_shown_as_they_are_read(millis in 0u64..u64::MAX / 2) {
        let time = Duration::from_millis(millis);
        prop_assert_eq!(duration(&show_duration(time)).unwrap(), time);
    }

    #[test]
    fn sizes_are_shown_as_they_are_read(bytes: u64) {
        prop_assert_eq!(size(&show_size(bytes)).unwrap(), bytes);
    }

    #[test]
    fn no_text_panics(text in "\\PC*") {
        let _ = (duration(&text), size(&text), host(&text), upstream(&text), network(&text));
        let _ = (prefix(&text), own_prefix(&text), id(&text, b"-"), target(&text), statuses(&text));
    }
}

#[test]
fn durations_need_a_whole_number_and_a_unit() {
    assert_eq!(duration("200ms").unwrap(), Duration::from_millis(200));
    assert_eq!(duration("30d").unwrap(), Duration::from_secs(30 * 86_400));
    for bad in
        ["", "15", "s", "1.5s", "-1s", "1 s", "1S", "1h30m", "99999999999999999999s", "18446744073709551615d"]
    {
        assert!(duration(bad).is_err(), "{bad}");
    }
}

#[test]
fn sizes_are_binary() {
    assert_eq!(size("64KiB").unwrap(), 65_536);
    assert_eq!(size("4096").unwrap(), 4096);
    for bad in ["", "64KB", "64k", "1.5MiB", "-1", "18446744073709551615KiB"] {
        assert!(size(bad).is_err(), "{bad}");
    }
}

#[test]
fn hosts_are_names_or_addresses() {
    for (text, host_) in
        [("kz.example", "kz.example"), ("127.0.0.1", "127.0.0.1"), ("[::1]", "[::1]"), ("::1", "[::1]")]
    {
        assert_eq!(host(text).unwrap(), host_);
    }
    for bad in [
        "",
        "KZ.example",
        "a:80",
        "[::1]:80",
        "[::x]",
        "*.a",
        "a.",
        "a..b",
        "-a",
        "қз",
        "http://a",
        "1.2.3.999",
        "a b",
    ] {
        assert!(host(bad).is_err(), "{bad}");
    }
}

#[test]
fn upstreams_are_bare_http_urls() {
    let at = |host: &str, port| Endpoint::Host { host: host.into(), port, tls: false };
    let secure = |host: &str, port| Endpoint::Host { host: host.into(), port, tls: true };
    assert_eq!(upstream("http://127.0.0.1:3000").unwrap(), at("127.0.0.1", 3000));
    assert_eq!(upstream("http://App_1/").unwrap(), at("app_1", 80));
    assert_eq!(upstream("http://[::1]:81").unwrap(), at("::1", 81));
    assert_eq!(show_upstream(&at("::1", 81)), "http://[::1]:81");
    assert_eq!(upstream("HTTPS://a").unwrap(), secure("a", 443));
    assert_eq!(show_upstream(&secure("a", 8443)), "https://a:8443");
    for text in ["unix:/run/app.sock", "unix:///run/app.sock"] {
        assert_eq!(show_upstream(&upstream(text).unwrap()), "unix:/run/app.sock");
    }
    for bad in [
        "",
        "a:80",
        "unix:",
        "unix:app.sock",
        "unix:/run/",
        "https://a/b",
        "h2c://a",
        "http+unix:///a",
        "ftp://a",
        "http://",
        "http://a/b",
        "http://a?b",
        "http://u:p@a",
        "http://a:0",
        "http://a:65536",
        "http://a:",
        "http://[::1",
        "http://::1",
    ] {
        assert!(upstream(bad).is_err(), "{bad}");
    }
}

#[test]
fn statuses_are_one_or_several() {
    for (text, range) in [("200", 200..=200), ("2xx", 200..=299), ("200-399", 200..=399)] {
        assert_eq!(statuses(text).unwrap(), range);
        assert_eq!(statuses(&show_statuses(&range)).unwrap(), range);
    }
    for bad in ["", "xx", "99", "600", "6xx", "300-200", "2x", "200-", "-1"] {
        assert!(statuses(bad).is_err(), "{bad}");
    }
}

#[test]
fn a_path_to_ask_for_may_have_a_query() {
    assert_eq!(target("/healthz?full=1").unwrap(), "/healthz?full=1");
    for bad in ["", "healthz", "http://a/", "/a b", "/қ", "/a#b"] {
        assert!(target(bad).is_err(), "{bad}");
    }
}

#[test]
fn networks_have_no_loose_bits_and_are_not_everything() {
    assert_eq!(network("10.1.2.3").unwrap().to_string(), "10.1.2.3/32");
    assert_eq!(network("::ffff:10.0.0.0/104").unwrap().to_string(), "10.0.0.0/8");
    for bad in ["", "10.0.0.1/8", "0.0.0.0/0", "::/0", "10.0.0.0/33", "example.com"] {
        assert!(network(bad).is_err(), "{bad}");
    }
}

#[test]
fn paths_can_match() {
    assert!(prefix("/тіркелу").is_ok() && prefix("/").is_ok());
    for bad in ["", "register", "/a?b", "/a#b", "/a//b", "/a/../b", "/a b", "/a\\b"] {
        assert!(prefix(bad).is_err(), "{bad}");
    }
    assert!(own_prefix("/.kelisim/").is_ok());
    for bad in ["/", "//", "/a", "a/", "/қ/"] {
        assert!(own_prefix(bad).is_err(), "{bad}");
    }
}

#[test]
fn days_are_days() {
    let read = |text: &str| day(&text.parse::<Datetime>().unwrap());
    assert_eq!(read("1990-01-01").unwrap(), 7305 * 86_400);
    assert_eq!(read("2026-11-22").unwrap(), 1_795_305_600);
    for bad in ["2026-11-22T10:00:00Z", "10:00:00", "0001-01-01", "9999-12-31"] {
        assert!(read(bad).is_err(), "{bad}");
    }
}
