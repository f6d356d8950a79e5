//! Browsers and systems, from the tokens that they put into the text.
//!
//! The order is what matters: nearly every browser also claims to be Chrome and Safari, so the more special token
//! comes first. Written from the formats that the makers document. Pure. Bound: the tables.

use memchr::memmem;

/// A family and its major version, where one is said.
pub(super) type Version = (&'static str, Option<u64>);

/// The browser of a lower-case text.
pub(super) fn browser(text: &[u8]) -> Option<Version> {
    for (token, family) in BROWSERS {
        if let Some(at) = memmem::find(text, token.as_bytes()) {
            return Some((family, number(&text[at + token.len()..])));
        }
    }
    // Safari says its version in `Version/`; what has neither is a view inside an application.
    if find(text, "safari/") && find(text, "version/") {
        let family = if find(text, "android") { "Android Browser" } else { "Safari" };
        return Some((family, after(text, "version/")));
    }
    if find(text, "applewebkit/") && (find(text, "iphone") || find(text, "ipad")) {
        return Some(("WebKit view", None));
    }
    if let Some(version) = after(text, "rv:").filter(|_| find(text, "trident/")) {
        return Some(("Internet Explorer", Some(version)));
    }
    None
}

/// The system of a lower-case text.
pub(super) fn system(text: &[u8]) -> Option<Version> {
    if let Some(at) = memmem::find(text, b"windows nt ") {
        return Some(("Windows", windows(&text[at + 11..])));
    }
    for (token, family) in SYSTEMS {
        if let Some(at) = memmem::find(text, token.as_bytes()) {
            return Some((family, number(&text[at + token.len()..])));
        }
    }
    None
}

/// The sort of device: `mobile`, `tablet`, `tv`, `console`, `desktop`.
pub(super) fn device(text: &[u8], system: Option<Version>) -> Option<&'static str> {
    let any = |tokens: &[&str]| tokens.iter().any(|token| find(text, token));
    Some(if any(&["playstation", "xbox", "nintendo"]) {
        "console"
    } else if any(&[
        "smart-tv", "smarttv", "appletv", "apple tv", "googletv", "hbbtv", "web0s", "netcast", "aftb", "roku",
    ]) {
        "tv"
    } else if any(&["ipad", "tablet", "kindle", "silk/"]) {
        "tablet"
    } else if any(&["mobile", "iphone", "ipod", "windows phone", "opera mini", "kaios"]) {
        "mobile"
    } else {
        match system?.0 {
            // An Android browser without the word is on a tablet: that is how Google asks makers to tell them apart.
            "Android" => "tablet",
            "iOS" | "KaiOS" | "Windows Phone" => "mobile",
            "Tizen" => "tv",
            _ => "desktop",
        }
    })
}

/// The major version in the number that a system of the NT line says.
fn windows(after: &[u8]) -> Option<u64> {
    Some(match after.get(..3)? {
        // 11 says 10.0 as well: the text does not tell them apart.
        b"10." => 10,
        b"6.3" | b"6.2" => 8,
        b"6.1" => 7,
        _ => return None,
    })
}

fn find(text: &[u8], token: &str) -> bool {
    memmem::find(text, token.as_bytes()).is_some()
}

fn after(text: &[u8], token: &str) -> Option<u64> {
    memmem::find(text, token.as_bytes()).and_then(|at| number(&text[at + token.len()..]))
}

/// The number at the beginning, after at most one separator; one with more than five digits is no version.
fn number(text: &[u8]) -> Option<u64> {
    let text = text.strip_prefix(b"/").or_else(|| text.strip_prefix(b" ")).unwrap_or(text);
    let digits = text.iter().take_while(|b| b.is_ascii_digit()).count();
    if !(1..=5).contains(&digits) {
        return None;
    }
    std::str::from_utf8(&text[..digits]).ok()?.parse().ok()
}

/// Tokens of browsers, the special ones first. The version follows the token.
const BROWSERS: &[(&str, &str)] = &[
    ("edg/", "Edge"),
    ("edga/", "Edge"),
    ("edgios/", "Edge"),
    ("edge/", "Edge"),
    ("opr/", "Opera"),
    ("opt/", "Opera"),
    ("opios/", "Opera"),
    ("opera mini/", "Opera Mini"),
    ("opx/", "Opera"),
    ("opera", "Opera"),
    ("yabrowser/", "Yandex Browser"),
    ("yasearchbrowser/", "Yandex Browser"),
    ("samsungbrowser/", "Samsung Internet"),
    ("ucbrowser/", "UC Browser"),
    ("ubrowser/", "UC Browser"),
    ("miuibrowser/", "Mi Browser"),
    ("xiaomi/miuibrowser/", "Mi Browser"),
    ("huaweibrowser/", "Huawei Browser"),
    ("heytapbrowser/", "HeyTap Browser"),
    ("vivobrowser/", "Vivo Browser"),
    ("micromessenger/", "WeChat"),
    ("mqqbrowser/", "QQ Browser"),
    ("qqbrowser/", "QQ Browser"),
    ("vivaldi/", "Vivaldi"),
    ("brave/", "Brave"),
    ("duckduckgo/", "DuckDuckGo"),
    ("ddg/", "DuckDuckGo"),
    ("whale/", "Whale"),
    ("coc_coc_browser/", "Coc Coc"),
    ("silk/", "Amazon Silk"),
    ("sleipnir/", "Sleipnir"),
    ("maxthon", "Maxthon"),
    ("puffin/", "Puffin"),
    ("avast/", "Avast Secure Browser"),
    ("avg/", "AVG"),
    ("twitter for iphone/", "Twitter"),
    (" line/", "LINE"),
    ("ecosia ios", "Ecosia iOS"),
    ("electron/", "Electron"),
    ("fbav/", "Facebook"),
    ("fban/", "Facebook"),
    ("instagram ", "Instagram"),
    ("gsa/", "Google app"),
    ("focus/", "Firefox"),
    ("fxios/", "Firefox"),
    ("palemoon/", "Pale Moon"),
    ("seamonkey/", "SeaMonkey"),
    ("waterfox/", "Waterfox"),
    ("firefox/", "Firefox"),
    ("crios/", "Chrome"),
    ("headlesschrome/", "Chrome"),
    ("chromium/", "Chromium"),
    ("chrome/", "Chrome"),
    ("konqueror/", "Konqueror"),
    ("epiphany/", "Epiphany"),
    ("iemobile", "Internet Explorer"),
    ("msie ", "Internet Explorer"),
    ("lynx/", "Lynx"),
    ("links ", "Links"),
    ("w3m/", "w3m"),
    ("thunderbird/", "Thunderbird"),
];

/// Tokens of systems, the special ones first: a phone that runs Android also says Linux.
const SYSTEMS: &[(&str, &str)] = &[
    ("windows phone", "Windows Phone"),
    ("xbox", "Xbox"),
    ("windows 98", "Windows"),
    ("windows", "Windows"),
    ("iphone os ", "iOS"),
    ("cpu os ", "iOS"),
    ("iphone", "iOS"),
    ("ipad", "iOS"),
    ("kaios", "KaiOS"),
    ("harmonyos", "HarmonyOS"),
    ("openharmony", "HarmonyOS"),
    ("tizen", "Tizen"),
    ("web0s", "webOS"),
    ("android ", "Android"),
    ("android", "Android"),
    ("mac os x ", "macOS"),
    ("mac os x", "macOS"),
    ("macintosh", "macOS"),
    ("cros x86_64 ", "ChromeOS"),
    ("cros aarch64 ", "ChromeOS"),
    ("cros armv7l ", "ChromeOS"),
    ("cros ", "ChromeOS"),
    ("playstation", "PlayStation"),
    ("nintendo", "Nintendo"),
    ("freebsd", "FreeBSD"),
    ("openbsd", "OpenBSD"),
    ("netbsd", "NetBSD"),
    ("sunos", "Solaris"),
    ("ubuntu", "Linux"),
    ("fedora", "Linux"),
    ("debian", "Linux"),
    ("linux", "Linux"),
    ("x11", "Linux"),
];
