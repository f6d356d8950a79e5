//! What is judged of addresses, and what the site is told of it.

use crate::support::builder::Builder;
use crate::support::{Answer, Client, Gateway, Origin, ask};

/// A gateway that tells the site of every level, behind a proxy that names the client.
fn telling(origin: &Origin) -> Builder {
    Gateway::build(&[origin])
        .key("risk.login_paths", "[\"/login\"]")
        .key("risk.action", "{ low = \"tag\", medium = \"tag\", high = \"tag\" }")
        .site("trusted_proxies = [\"127.0.0.0/8\"]")
}

/// Asks so often from one address; what the site was told of the risk of the last request.
fn told(
    client: &mut Client,
    origin: &Origin,
    from: &str,
    asks: impl Iterator<Item = (&'static str, String)>,
) -> String {
    for (method, target) in asks {
        client.fetch(&ask(method, &target).header("x-forwarded-for", from).header("user-agent", "test"));
    }
    origin.last().headers.one("kelisim-risk").unwrap_or_default().to_owned()
}

fn logins(count: usize) -> impl Iterator<Item = (&'static str, String)> {
    std::iter::repeat_n(("POST", "/login".to_owned()), count)
}

#[test]
fn a_capped_signal_is_never_high_and_a_reload_caps_at_once() {
    let origin = Origin::pages();
    let gateway = telling(&origin).start();
    let mut client = gateway.client();
    let one = |client: &mut Client| told(client, &origin, "192.0.2.1", logins(1));
    told(&mut client, &origin, "192.0.2.1", logins(24));
    assert_eq!(one(&mut client), "high;score=70");
    for (cap, expected) in [("medium", "low;score=25"), ("low", "")] {
        gateway.reload(|text| {
            let text = text.split("\n[risk.cap]").next().unwrap_or_default().to_owned();
            format!("{text}\n[risk.cap]\nvelocity = \"{cap}\"\n")
        });
        assert_eq!(one(&mut gateway.client()), expected, "{cap}");
    }
    let refused = gateway.reload(|text| text.replace("velocity = \"low\"", "velocty = \"low\""));
    assert!(refused.contains("stays in force"), "{refused}");
    assert_eq!(one(&mut gateway.client()), "");
}

#[test]
fn the_operator_says_what_a_failed_login_is_answered_with() {
    for (status, configured) in [(200, "200"), (302, "3xx"), (403, "403")] {
        let origin = Origin::start(move |_| Answer::new(status).header("Location", "/login"));
        let named = telling(&origin).key("risk.failed_login_statuses", &format!("[{configured:?}]")).start();
        assert_eq!(told(&mut named.client(), &origin, "192.0.2.1", logins(12)), "high;score=70", "{status}");
        let other = telling(&origin).key("risk.failed_login_statuses", "[\"500\"]").start();
        // A refusal counts as one in any case.
        let expected = if status == 403 { "low;score=25" } else { "" };
        assert_eq!(told(&mut other.client(), &origin, "192.0.2.1", logins(12)), expected, "{status}");
    }
}
