//! The Django site, and somebody who uses it as a browser does.

use std::fmt::Write as _;
use std::process::Command;

use tempfile::TempDir;

use crate::support::gateway::run;
use crate::support::server::{Server, python_with};
use crate::support::{ADS, Ask, Reply, Visitor, ask};

/// Whose word on host and scheme the site takes.
#[derive(Clone, Copy, Debug)]
pub enum Believes {
    /// `X-Forwarded-Host` and `X-Forwarded-Proto`.
    Gateway,
    /// Nobody's: it names its origins.
    Nothing,
}

/// Whether the site serves cleartext too.
#[derive(Clone, Copy, Debug)]
pub enum Tls {
    /// It does.
    Optional,
    /// It redirects, and its cookies are `Secure`.
    Only,
}

/// A running site with a database of its own.
pub struct Site {
    /// Its process.
    pub server: Server,
    _folder: TempDir,
}

impl Site {
    /// Makes and starts the site; `None`, with a line that says so, without Django.
    pub fn start(believes: Believes, tls: Tls) -> Option<Self> {
        let python = python_with("django")?;
        let folder = TempDir::new().expect("a folder");
        for (name, text) in FILES {
            std::fs::write(folder.path().join(name), text).expect("written");
        }
        let command = |arguments: &[&str]| {
            let mut command = Command::new(&python);
            command
                .args(arguments)
                .current_dir(folder.path())
                .env("PYTHONPATH", folder.path())
                .env("PYTHONUNBUFFERED", "1")
                .env("PYTHONDONTWRITEBYTECODE", "1")
                .env("DJANGO_SETTINGS_MODULE", "settings")
                .env(
                    "SITE_BELIEVES",
                    if matches!(believes, Believes::Gateway) { "gateway" } else { "nothing" },
                )
                .env("SITE_TLS", if matches!(tls, Tls::Only) { "only" } else { "optional" });
            command
        };
        let prepared = run(&mut command(&["prepare.py"]));
        assert!(prepared.status.success(), "{}", String::from_utf8_lossy(&prepared.stderr));
        // `--insecure` serves the admin's style sheets although this is no debug mode.
        let server = Server::telling(&mut command(&[
            "-m",
            "django",
            "runserver",
            "--noreload",
            "--insecure",
            "127.0.0.1:0",
        ]));
        Some(Self { server, _folder: folder })
    }
}

/// A visitor whose browser also holds advertising cookies, on every request anew.
pub struct Member {
    /// The browser.
    pub visitor: Visitor,
}

impl Member {
    /// Somebody who has not logged in.
    pub fn new(visitor: Visitor) -> Self {
        Self { visitor }
    }

    /// Opens a page.
    pub fn open(&mut self, path: &str) -> Reply {
        self.hold_ads();
        self.visitor.open(path)
    }

    /// Opens a page and sends its form to the same address.
    pub fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> Reply {
        self.post_from(path, path, fields)
    }

    /// Opens a page and sends its form to another address.
    pub fn post_from(&mut self, page: &str, path: &str, fields: &[(&str, &str)]) -> Reply {
        let mut form = self.form(page, fields);
        form.target = path.into();
        let origin = self.visitor.origin();
        self.hold_ads();
        self.visitor.fetch(form.header("origin", &origin).header("referer", &format!("{origin}{page}")))
    }

    /// The form of a page with its token, filled in, but nothing about where it was.
    pub fn form(&mut self, page: &str, fields: &[(&str, &str)]) -> Ask {
        let text = self.open(page).text();
        let mut body = format!("csrfmiddlewaretoken={}", token(&text));
        for (name, value) in fields {
            write!(body, "&{name}={}", encoded(value)).expect("written");
        }
        ask("POST", page)
            .header("content-type", "application/x-www-form-urlencoded")
            .header("sec-fetch-dest", "document")
            .header("sec-fetch-mode", "navigate")
            .body(body)
    }

    /// What scripts of advertisers do on every page: the gateway may just have had the cookies deleted.
    pub fn hold_ads(&mut self) {
        ADS.iter().for_each(|(name, value)| self.visitor.hold(name, value));
    }
}

fn token(page: &str) -> &str {
    let field = page.split_once("name=\"csrfmiddlewaretoken\" value=\"");
    let token = field.and_then(|(_, rest)| Some(rest.split_once('"')?.0));
    token.unwrap_or_else(|| panic!("no token: {page}"))
}

fn encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, byte| {
        match byte {
            b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' => out.push(char::from(byte)),
            _ => write!(out, "%{byte:02X}").expect("written"),
        }
        out
    })
}

/// Where the admin asks for name and password.
pub const LOGIN: &str = "/admin/login/?next=/admin/";

/// Who may do everything; `prepare.py` says so too.
pub const USER: &str = "aigerim";

/// And by which password.
pub const PASSWORD: &str = "correct horse";

const FILES: &[(&str, &str)] = &[
    ("settings.py", include_str!("settings.py")),
    ("site_urls.py", include_str!("site_urls.py")),
    ("prepare.py", include_str!("prepare.py")),
];
