//! Headless Chromium, driven by its DevTools protocol over one WebSocket.
//!
//! As much of the protocol as the tests need: open a page, run an expression, click, read cookies, take a picture. The
//! browser has a profile of its own in a temporary folder and is killed when dropped. Nothing is fetched from outside:
//! its background traffic is switched off, and every host but loopback resolves to nothing.

use std::io::{BufRead as _, BufReader};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio_tungstenite::tungstenite::client::client;
use tokio_tungstenite::tungstenite::{Message, WebSocket};

use super::{PATIENCE, program, wait_for};

/// A browser with one page.
pub struct Browser {
    process: Child,
    socket: WebSocket<TcpStream>,
    session: String,
    next: u64,
    _profile: TempDir,
}

/// A cookie as the browser holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cookie {
    /// Name.
    pub name: String,
    /// Value.
    pub value: String,
    /// Whether scripts cannot read it.
    pub http_only: bool,
}

impl Browser {
    /// Starts Chromium; `None`, with a line that says so, if there is none.
    pub fn start() -> Option<Self> {
        let binary = program("chromium", &["/usr/bin/chromium", "/usr/bin/google-chrome"])?;
        let profile = TempDir::new().expect("a profile");
        let mut process = Command::new(binary)
            .args(FLAGS)
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg("about:blank")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the browser starts");
        let mut lines = BufReader::new(process.stderr.take().expect("its messages")).lines();
        let address = lines
            .by_ref()
            .map_while(Result::ok)
            .find_map(|line| line.strip_prefix("DevTools listening on ").map(ToOwned::to_owned))
            .expect("the browser tells where it listens");
        // Its further messages are read and forgotten, so that it never waits for a reader.
        std::thread::spawn(move || lines.for_each(drop));
        let authority =
            address.trim_start_matches("ws://").split('/').next().expect("an authority").to_owned();
        let stream = TcpStream::connect(authority).expect("connected to the browser");
        stream.set_read_timeout(Some(PATIENCE)).expect("a limit");
        let (socket, _) = client(address, stream).expect("a WebSocket to the browser");
        let mut browser = Self { process, socket, session: String::new(), next: 0, _profile: profile };
        let targets = browser.call("Target.getTargets", &json!({}));
        let page = targets["targetInfos"]
            .as_array()
            .and_then(|all| all.iter().find(|t| t["type"] == "page"))
            .cloned();
        let target = page.expect("a page")["targetId"].clone();
        let attached = browser.call("Target.attachToTarget", &json!({ "targetId": target, "flatten": true }));
        attached["sessionId"].as_str().expect("a session").clone_into(&mut browser.session);
        browser.call("Page.enable", &json!({}));
        Some(browser)
    }

    /// Opens an address and waits until the page has loaded.
    pub fn open(&mut self, url: &str) {
        let answer = self.call("Page.navigate", &json!({ "url": url }));
        assert_eq!(answer["errorText"], Value::Null, "{url}");
        self.wait_until("document.readyState === 'complete' && location.href !== 'about:blank'");
    }

    /// The value of a JavaScript expression; promises are awaited.
    pub fn evaluate(&mut self, expression: &str) -> Value {
        self.try_evaluate(expression).unwrap_or_else(|error| panic!("{expression}: {error}"))
    }

    /// Waits until an expression is true; a page that is just being replaced counts as not yet.
    pub fn wait_until(&mut self, expression: &str) {
        wait_for(expression, || (self.try_evaluate(expression) == Ok(Value::Bool(true))).then_some(()));
    }

    /// Clicks in the middle of the element that a CSS selector finds, as a person does, and waits for the next page.
    pub fn click_through(&mut self, selector: &str) {
        let marked = "window.__before = true";
        self.evaluate(marked);
        let quoted = Value::from(selector).to_string();
        let place = self.evaluate(&format!(
            "(() => {{ const e = document.querySelector({quoted}); e.scrollIntoView({{ block: 'center' }});
              const r = e.getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2]; }})()"
        ));
        for kind in ["mousePressed", "mouseReleased"] {
            let event =
                json!({ "type": kind, "x": place[0], "y": place[1], "button": "left", "clickCount": 1 });
            self.call("Input.dispatchMouseEvent", &event);
        }
        self.wait_until("window.__before === undefined && document.readyState === 'complete'");
    }

    /// Switches JavaScript of pages on or off, from the next page on. [`Self::evaluate`] works all the same.
    pub fn scripts(&mut self, on: bool) {
        self.call("Emulation.setScriptExecutionDisabled", &json!({ "value": !on }));
    }

    /// Every cookie that the browser holds, by name.
    pub fn cookies(&mut self) -> Vec<Cookie> {
        let answer = self.call("Storage.getCookies", &json!({}));
        let cookie = |c: &Value| Cookie {
            name: c["name"].as_str().unwrap_or_default().into(),
            value: c["value"].as_str().unwrap_or_default().into(),
            http_only: c["httpOnly"] == true,
        };
        let mut all: Vec<Cookie> =
            answer["cookies"].as_array().expect("cookies").iter().map(cookie).collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }

    /// The value of a cookie, if the browser holds it.
    pub fn cookie(&mut self, name: &str) -> Option<String> {
        self.cookies().into_iter().find(|cookie| cookie.name == name).map(|cookie| cookie.value)
    }

    /// Sends a command of the DevTools protocol to the page.
    pub fn command(&mut self, method: &str, params: &Value) -> Value {
        self.call(method, params)
    }

    /// Presses a key, as a person does.
    pub fn press(&mut self, key: &str) {
        let (code, text) = match key {
            "Enter" => (13, "\r"),
            " " => (32, " "),
            _ => (9, ""),
        };
        for kind in ["keyDown", "keyUp"] {
            let text = if kind == "keyDown" { text } else { "" };
            let event =
                json!({ "type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code, "text": text });
            self.call("Input.dispatchKeyEvent", &event);
        }
    }

    /// Writes a picture of the page as PNG.
    pub fn screenshot(&mut self, path: &Path) {
        let answer = self.call("Page.captureScreenshot", &json!({ "format": "png" }));
        let data = answer["data"].as_str().expect("a picture");
        let engine = base64::engine::general_purpose::STANDARD;
        std::fs::write(path, base64::Engine::decode(&engine, data).expect("base64")).expect("written");
    }

    fn try_evaluate(&mut self, expression: &str) -> Result<Value, String> {
        let question = json!({ "expression": expression, "returnByValue": true, "awaitPromise": true });
        let answer = self.try_call("Runtime.evaluate", &question)?;
        match answer.get("exceptionDetails") {
            Some(details) => Err(details.to_string()),
            None => Ok(answer["result"]["value"].clone()),
        }
    }

    fn call(&mut self, method: &str, parameters: &Value) -> Value {
        self.try_call(method, parameters).unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    /// Calls a method and reads until its answer; events in between are passed over.
    fn try_call(&mut self, method: &str, parameters: &Value) -> Result<Value, String> {
        self.next += 1;
        let mut message = json!({ "id": self.next, "method": method, "params": parameters });
        if !self.session.is_empty() && !method.starts_with("Target.") && !method.starts_with("Storage.") {
            message["sessionId"] = self.session.clone().into();
        }
        self.socket.send(Message::text(message.to_string())).map_err(|error| error.to_string())?;
        loop {
            let Message::Text(text) = self.socket.read().map_err(|error| error.to_string())? else {
                continue;
            };
            let mut answer: Value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
            if answer["id"] != self.next {
                continue;
            }
            return match answer.get("error") {
                Some(error) => Err(error.to_string()),
                None => Ok(answer["result"].take()),
            };
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// No window, no sandbox (tests may run as root in a container), no traffic of its own.
const FLAGS: &[&str] = &[
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-domain-reliability",
    "--disable-extensions",
    "--disable-sync",
    "--metrics-recording-only",
    "--no-default-browser-check",
    "--no-first-run",
    "--no-pings",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1",
    "--remote-debugging-port=0",
];
