use proptest::prelude::*;

use super::*;

const NOON: Timestamp = Timestamp::from_secs(1_795_348_800);

fn values(fields: &[HeaderValue]) -> Vec<String> {
    fields.iter().map(|value| String::from_utf8_lossy(value.as_bytes()).replace(EXPIRED, "=…")).collect()
}

fn planned(name: &str, host: &str, https: bool) -> Vec<String> {
    values(&plan(std::iter::once(name.as_bytes()), host, https, Limits::default()).fields)
}

#[test]
fn the_whole_field_is_as_browsers_want_it() {
    let plan = plan(std::iter::once(b"_fbp".as_slice()), "localhost", false, Limits::default());
    let expected = "_fbp=; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Path=/";
    assert_eq!(plan.fields.iter().map(|v| v.to_str().expect("ASCII")).collect::<Vec<_>>(), [expected]);
    assert_eq!(plan.names, 1);
}

#[test]
fn the_likeliest_scope_comes_first() {
    assert_eq!(
        planned("n", "a.b.shop.example.co.uk", false),
        [
            "n=…; Domain=example.co.uk",
            "n=…",
            "n=…; Domain=a.b.shop.example.co.uk",
            "n=…; Domain=b.shop.example.co.uk",
            "n=…; Domain=shop.example.co.uk"
        ]
    );
    assert_eq!(
        planned("n", "WWW.Example.com", true),
        [
            "n=…; Domain=example.com; Secure",
            "n=…; Secure",
            "n=…; Secure; Partitioned",
            "n=…; Domain=www.example.com; Secure"
        ]
    );
    assert_eq!(planned("n", "example.kz", false), ["n=…; Domain=example.kz", "n=…"]);
}

#[test]
fn hosts_without_a_registrable_domain_get_host_only() {
    for host in [
        "localhost",
        "127.0.0.1",
        "::1",
        "[::1]",
        "co.uk",
        "github.io",
        "example.com.",
        "",
        "a..b",
        "bad;host.com",
        "é.fr",
    ] {
        assert_eq!(planned("n", host, false), ["n=…"], "{host}");
    }
}

#[test]
fn prefixes_of_browsers_are_respected() {
    assert_eq!(
        planned("__Host-n", "www.example.com", true),
        ["__Host-n=…; Secure", "__Host-n=…; Secure; Partitioned"]
    );
    assert!(planned("__host-n", "www.example.com", false).is_empty());
    assert!(planned("__Secure-n", "www.example.com", false).is_empty());
    assert_eq!(planned("__Secure-n", "www.example.com", true).len(), 4);
}

#[test]
fn names_that_cannot_be_written_are_passed_over() {
    let names: [&[u8]; 7] = [b"a;b", b"a=b", b"", b"a\x0bb", b"a\x7fb", b"ok", b"\xC3\xA9"];
    let plan = plan(names.into_iter(), "localhost", false, Limits::default());
    assert_eq!(values(&plan.fields), ["ok=…", "é=…"]);
    assert_eq!(plan.names, names.len());
}

#[test]
fn at_most_sixteen_fields_and_whole_names() {
    let names: Vec<Vec<u8>> = (0..9).map(|i| format!("n{i}").into_bytes()).collect();
    let plan = plan(names.iter().map(Vec::as_slice), "www.example.com", true, Limits::default());
    assert_eq!((plan.fields.len(), plan.names), (16, 4));
    let deep = format!("{}example.com", "a.".repeat(40));
    assert_eq!(planned("n", &deep, true).len(), 16);
}

#[test]
fn at_most_four_kibibytes() {
    let names: Vec<Vec<u8>> = (0..9_u8).map(|i| vec![b'a' + i; 900]).collect();
    let plan = plan(names.iter().map(Vec::as_slice), "localhost", false, Limits::default());
    assert_eq!((plan.fields.len(), plan.names), (4, 4));
}

#[test]
fn a_name_too_long_for_any_response_keeps_nobody_waiting() {
    let long = vec![b'x'; 5000];
    let names = [long.as_slice(), b"n"];
    let plan = plan(names.into_iter(), "localhost", false, Limits::default());
    assert_eq!((values(&plan.fields), plan.names), (vec!["n=…".to_owned()], 2));
}

#[test]
fn a_visitor_is_told_once_a_day() {
    let mut expirer = Expirer::new(4096);
    let mut told = |visitor, name: &'static [u8], at| {
        expirer.expire(visitor, [name, name].into_iter(), "localhost", false, at).len()
    };
    assert_eq!(told(1, b"_fbp", NOON), 1);
    assert_eq!(told(1, b"_fbp", NOON), 0);
    assert_eq!(told(1, b"_fbc", NOON), 1);
    assert_eq!(told(2, b"_fbp", NOON), 1);
    let almost = NOON.plus(QUIET).minus(Duration::from_micros(1));
    assert_eq!(told(1, b"_fbp", almost), 0);
    assert_eq!(told(1, b"_fbp", NOON.plus(QUIET)), 1);
}

#[test]
fn what_is_forgotten_is_told_again() {
    let mut expirer = Expirer::new(4096);
    let names = [b"a".as_slice(), b"b"];
    for visitor in [1, 2] {
        assert_eq!(expirer.expire(visitor, names.into_iter(), "localhost", false, NOON).len(), 2);
    }
    expirer.forget(1, [b"a".as_slice(), b"c"].into_iter());
    let told = |visitor, name: &[u8]| expirer.was_told(visitor, name, NOON);
    assert_eq!([told(1, b"a"), told(1, b"b"), told(2, b"a"), told(2, b"b")], [false, true, true, true]);
}

#[test]
fn a_response_has_room_for_so_much_altogether() {
    let taken = [HeaderValue::from_static("a=1"), HeaderValue::from_static("b=12")];
    let left = Limits::default().beside(taken.iter());
    assert_eq!((left.fields, left.bytes), (14, 4096 - 3 - 4 - 28));
    assert_eq!((left.half().fields, Limits { fields: 1, bytes: 1 }.beside(taken.iter()).fields), (7, 0));
    let none = plan([b"n".as_slice()].into_iter(), "localhost", true, Limits { fields: 0, bytes: 0 });
    assert_eq!(none.fields.len(), 0);
}

#[test]
fn a_clock_set_back_does_not_silence() {
    let mut expirer = Expirer::new(4096);
    assert_eq!(expirer.expire(1, std::iter::once(b"n".as_slice()), "localhost", false, NOON).len(), 1);
    assert!(!expirer.was_told(1, b"n", NOON.minus(Duration::from_secs(1))));
}

#[test]
fn what_does_not_fit_waits_for_the_next_response() {
    let mut expirer = Expirer::new(4096);
    let names: Vec<Vec<u8>> = (0..9).map(|i| format!("n{i}").into_bytes()).collect();
    let mut next = || expirer.expire(1, names.iter().map(Vec::as_slice), "www.example.com", true, NOON).len();
    assert_eq!([next(), next(), next(), next()], [16, 16, 4, 0]);
}

#[test]
fn the_memory_has_a_fixed_size_and_forgets_the_oldest() {
    let mut expirer = Expirer::new(WAYS * size_of::<Entry>());
    assert_eq!(expirer.entries.len(), WAYS);
    for visitor in 0..100 {
        let at = NOON.plus(Duration::from_secs(visitor));
        assert_eq!(
            expirer.expire(visitor, std::iter::once(b"n".as_slice()), "localhost", false, at).len(),
            1
        );
    }
    let later = NOON.plus(Duration::from_secs(100));
    let remembered: Vec<u64> = (0..100).filter(|&visitor| expirer.was_told(visitor, b"n", later)).collect();
    assert_eq!(remembered, [96, 97, 98, 99]);
    assert_eq!(Expirer::new(0).entries.len(), WAYS);
}

#[test]
fn a_cookie_of_ours_is_expired_everywhere_but_in_its_own_scope() {
    let fields = |host: &str, https: bool| -> Vec<String> {
        elsewhere("k", ["/shop", "/a;b", "/shop/"].into_iter(), host, https, Limits::default())
            .iter()
            .map(|field| field.to_str().unwrap().to_owned())
            .collect()
    };
    let gone = "k=; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Path=";
    let expected =
        ["/; Domain=kz.example", "/shop; Domain=kz.example", "/shop", "/shop/; Domain=kz.example", "/shop/"];
    assert_eq!(fields("kz.example", false), expected.map(|end| format!("{gone}{end}")));
    assert_eq!(
        fields("127.0.0.1", true),
        ["/shop; Secure", "/shop/; Secure"].map(|end| format!("{gone}{end}"))
    );
    let paths: Vec<String> = (0..50).map(|i| format!("/{i}")).collect();
    let many = elsewhere("k", paths.iter().map(String::as_str), "a.b.kz.example", true, Limits::default());
    assert_eq!(many.len(), 16);
}

proptest! {
    #[test]
    fn never_more_than_the_limits_and_never_a_public_suffix(
        names in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 0..40),
        host in "[a-z.]{0,30}(com|co\\.uk|github\\.io|kz)",
        https in any::<bool>(),
    ) {
        let plan = plan(names.iter().map(Vec::as_slice), &host, https, Limits::default());
        prop_assert!(plan.fields.len() <= 16);
        prop_assert!(plan.fields.iter().map(|f| f.len() + 14).sum::<usize>() <= 4096);
        for field in &plan.fields {
            let text = String::from_utf8_lossy(field.as_bytes()).into_owned();
            if let Some((_, domain)) = text.split_once("; Domain=") {
                let domain = domain.split(';').next().unwrap_or_default();
                let is_parent = host == domain || host.ends_with(&format!(".{domain}"));
                prop_assert!(is_parent, "{} for {}", domain, host);
                prop_assert!(psl::suffix_str(domain) != Some(domain));
            }
        }
    }
}
