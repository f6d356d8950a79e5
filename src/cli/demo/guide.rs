//! What the demo prints: where everything is, and what to try.
//!
//! The lines with addresses are a contract: a word, blanks, an address. Never prints a secret: there is none. Bound: one
//! screen.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;

use super::gateway::Port;

/// What the guide tells.
#[derive(Debug)]
pub(super) struct Guide<'a> {
    /// How this program was called.
    pub(super) program: &'a str,
    /// The gateway's port.
    pub(super) site: Port,
    /// The admin listener's port.
    pub(super) admin: Port,
    /// The site without the gateway.
    pub(super) direct: SocketAddr,
    /// The data folder.
    pub(super) data: &'a Path,
    /// Whether to use colours.
    pub(super) colour: bool,
}

impl Guide<'_> {
    /// The whole text.
    pub(super) fn render(&self) -> String {
        let mut out = String::with_capacity(4096);
        let (site, admin) = (format!("http://localhost:{}", self.site.number), self.admin.number);
        let data = self.data.display();
        self.line(
            &mut out,
            BOLD,
            "A demo site with the Kelisim gateway in front of it, all on this computer.",
        );
        for port in [self.site, self.admin] {
            if let Some(wanted) = port.instead_of {
                self.line(&mut out, YELLOW, &format!("Port {wanted} is taken, so {} is used.", port.number));
            }
        }
        out.push('\n');
        for (name, address) in [
            ("site", format!("{site}/")),
            ("choice", format!("{site}/.kelisim/")),
            ("received", format!("{site}/received")),
            ("admin", format!("http://127.0.0.1:{admin}/")),
            ("metrics", format!("http://127.0.0.1:{admin}/metrics")),
            ("direct", format!("http://{}/", self.direct)),
            ("records", data.to_string()),
        ] {
            self.line(&mut out, CYAN, &format!("{name:<9} {address}"));
        }
        self.line(&mut out, DIM, "`direct` is the site without the gateway, to compare.");
        for (number, (title, commands)) in (1..).zip(self.things_to_try(&site)) {
            out.push('\n');
            self.line(&mut out, BOLD, &format!("{number}. {title}"));
            for command in commands {
                self.line(&mut out, GREEN, &format!("   {command}"));
            }
        }
        out.push('\n');
        self.line(&mut out, BOLD, "The records of this run, from another terminal:");
        for command in ["tail -f", "top blocked", "query consent=denied", "top browser", "audit"] {
            self.line(&mut out, GREEN, &format!("   {} logs {command} --data {data}", self.program));
        }
        out.push('\n');
        self.line(&mut out, DIM, "Ctrl-C ends the demo and removes its data.");
        out
    }

    fn things_to_try(&self, site: &str) -> [(String, Vec<String>); 6] {
        let direct = self.direct;
        [
            (
                "In a browser, one after the other; at the end allow advertising and look again:".into(),
                ["/", "/shop", "/login", "/received", "/.kelisim/?return=/received"]
                    .map(|path| format!("{site}{path}"))
                    .into(),
            ),
            (
                "The site sets advertising cookies; without consent they do not reach the browser:".into(),
                vec![
                    format!("curl -s -o /dev/null -D - http://{direct}/ | grep -i set-cookie"),
                    format!("curl -s -o /dev/null -D - {site}/ | grep -i set-cookie"),
                ],
            ),
            (
                "A browser that has them already sends them; the site gets the session and the statistics only:".into(),
                vec![format!("curl -s -H 'Cookie: sessionid=1; _ga=2; _fbp=3' {site}/received.json")],
            ),
            (
                "Consent, and from the next request on they pass:".into(),
                vec![
                    format!(
                        "curl -s -c /tmp/jar -H 'Origin: {site}' -H 'Content-Type: application/json' -d \
                         '{{\"advertising\":true}}' {site}/.kelisim/consent"
                    ),
                    format!("curl -s -b /tmp/jar -H 'Cookie: _fbp=3' {site}/received.json"),
                ],
            ),
            (
                "Registering needs the policy to be accepted; everything else works without:".into(),
                vec![format!(
                    "curl -s -o /dev/null -w '%{{http_code}} %{{redirect_url}}\\n' -H 'Accept: text/html' {site}/register"
                )],
            ),
            (
                "Many logins from one address are told to the site as a risk:".into(),
                vec![
                    format!("for i in $(seq 25); do curl -s -o /dev/null -d name=x {site}/login; done"),
                    format!("curl -s {site}/received.json | grep kelisim-"),
                ],
            ),
        ]
    }

    fn line(&self, out: &mut String, colour: &str, text: &str) {
        // Writing to a string cannot fail.
        let _ = if self.colour { writeln!(out, "{colour}{text}{RESET}") } else { writeln!(out, "{text}") };
    }
}

const RESET: &str = "\x1b[0m";
const BOLD: &str = "\x1b[1m";
const DIM: &str = "\x1b[2m";
const GREEN: &str = "\x1b[32m";
const YELLOW: &str = "\x1b[33m";
const CYAN: &str = "\x1b[36m";

#[cfg(test)]
mod tests {
    use super::*;

    fn guide(colour: bool, instead_of: Option<u16>) -> String {
        let guide = Guide {
            program: "kelisim",
            site: Port { number: 18080, ipv6: true, instead_of },
            admin: Port { number: 19180, ipv6: true, instead_of: None },
            direct: "127.0.0.1:13000".parse().unwrap(),
            data: Path::new("/tmp/kelisim-demo-x"),
            colour,
        };
        let masked =
            guide.render().replace("18080", "SITE").replace("19180", "ADMIN").replace("13000", "DIRECT");
        masked.replace("/tmp/kelisim-demo-x", "DATA")
    }

    #[test]
    fn snapshot() {
        insta::assert_snapshot!(guide(false, None));
    }

    #[test]
    fn the_lines_with_addresses_can_be_found_by_programs() {
        let text = guide(false, Some(8080));
        for line in ["site      http://localhost:SITE/", "admin     http://127.0.0.1:ADMIN/"] {
            assert!(text.lines().any(|l| l == line), "{line}");
        }
        assert!(text.contains("Port 8080 is taken, so SITE is used."));
    }

    #[test]
    fn colours_are_for_terminals_only() {
        assert!(!guide(false, Some(1)).contains('\x1b'));
        let coloured = guide(true, Some(1));
        assert_eq!(coloured.matches("\x1b[0m").count() * 2, coloured.matches('\x1b').count());
    }
}
