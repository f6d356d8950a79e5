//! What records say of cookies is true, and holds no value.

use serde_json::json;

use crate::support::{Answer, Gateway, Origin, Protocol, Visitor};

#[test]
fn of_a_cookie_without_a_name_nothing_is_recorded() {
    let origin = Origin::start(|_| {
        Answer::page().header("Set-Cookie", "_gcl_SECRET; Path=/").header("Set-Cookie", "=_gcl_SECRET=SECRET")
    });
    let gateway = Gateway::of(&origin);
    for (n, protocol) in Protocol::ALL.into_iter().enumerate() {
        let path = format!("/{n}");
        let reply = Visitor::new(&gateway, protocol).open(&path);
        assert!(
            !reply.set_cookies().iter().any(|field| field.contains("SECRET")),
            "{:?}",
            reply.set_cookies()
        );
        let record = gateway.record(&path);
        assert_eq!(record["set_cookie.blocked"], json!(["", ""]));
        assert!(!record.to_string().contains("SECRET"), "{record}");
    }
}

#[test]
fn a_site_that_speaks_in_our_name_is_counted_and_recorded() {
    let origin = Origin::start(|_| Answer::page().header("Set-Cookie", "kelisim_consent=forged; Path=/"));
    let gateway = Gateway::of(&origin);
    for (n, protocol) in Protocol::ALL.into_iter().enumerate() {
        let path = format!("/{n}");
        let reply = Visitor::new(&gateway, protocol).open(&path);
        assert!(!reply.set_cookies().iter().any(|field| field.starts_with("kelisim_consent=")));
        assert_eq!(gateway.record(&path)["set_cookie.blocked"], json!(["kelisim_consent"]));
    }
    let count = |labels: &[&str]| gateway.metric("kelisim_cookies_total", labels);
    assert_eq!(count(&["direction=\"response\""]), 2.0);
    assert_eq!(count(&["direction=\"response\"", "action=\"stripped\""]), 2.0);
}
