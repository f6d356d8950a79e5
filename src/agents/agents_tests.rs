//! Known texts, limits of the cache, and how far the tables agree with data that others keep.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::super::cache::{Cache, GENERATION, GENERATION_BYTES};
use super::super::data::{Data, Role};
use super::super::patterns::Scratch;
use super::super::{Agent, parse};
use super::*;

fn said(text: &str) -> String {
    let Agent { family, major, os, os_major, device, bot } = parse(text.as_bytes());
    let number = |n: Option<u64>| n.map_or_else(|| "-".to_owned(), |n| n.to_string());
    let word = |text: Option<&'static str>| text.unwrap_or("-");
    let bot = bot.map_or_else(|| "-".to_owned(), |b| format!("{} ({})", b.name, b.category.label()));
    format!(
        "{} {} | {} {} | {} | {bot}",
        word(family),
        number(major),
        word(os),
        number(os_major),
        word(device)
    )
}

#[test]
fn people_use_these() {
    let webkit = "AppleWebKit/537.36 (KHTML, like Gecko)";
    for (text, wanted) in [
        (
            format!("Mozilla/5.0 (Windows NT 10.0; Win64; x64) {webkit} Chrome/142.0.0.0 Safari/537.36"),
            "Chrome 142 | Windows 10 | desktop | -",
        ),
        (
            format!("Mozilla/5.0 (Windows NT 10.0; Win64; x64) {webkit} Chrome/142.0.0.0 Safari/537.36 Edg/142.0.0.0"),
            "Edge 142 | Windows 10 | desktop | -",
        ),
        (
            format!("Mozilla/5.0 (X11; Linux x86_64) {webkit} Chrome/140.0.0.0 YaBrowser/25.8.0.0 Safari/537.36"),
            "Yandex Browser 25 | Linux - | desktop | -",
        ),
        (
            format!("Mozilla/5.0 (Linux; Android 10; K) {webkit} Chrome/142.0.0.0 Mobile Safari/537.36"),
            "Chrome 142 | Android 10 | mobile | -",
        ),
        (
            format!("Mozilla/5.0 (Linux; Android 13; SM-X906C) {webkit} SamsungBrowser/28.0 Chrome/130.0.0.0 Safari/537.36"),
            "Samsung Internet 28 | Android 13 | tablet | -",
        ),
        (
            "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1 Safari/605.1.15".to_owned(),
            "Safari 18 | macOS 10 | desktop | -",
        ),
        (
            "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Mobile/15E148 Safari/604.1".to_owned(),
            "Safari 17 | iOS 17 | mobile | -",
        ),
        (
            "Mozilla/5.0 (X11; Ubuntu; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0".to_owned(),
            "Firefox 145 | Linux - | desktop | -",
        ),
        (
            "Mozilla/4.0 (compatible; MSIE 8.0; Windows NT 6.1; Trident/4.0; .NET CLR 2.0.50727)".to_owned(),
            "Internet Explorer 8 | Windows 7 | desktop | -",
        ),
        (
            "Mozilla/5.0 (Windows NT 6.3; Trident/7.0; rv:11.0) like Gecko".to_owned(),
            "Internet Explorer 11 | Windows 8 | desktop | -",
        ),
        (
            format!("Mozilla/5.0 (Linux; Android 9; CUBOT X19) {webkit} Chrome/99.0.0.0 Mobile Safari/537.36"),
            "Chrome 99 | Android 9 | mobile | -",
        ),
    ] {
        assert_eq!(said(&text), wanted, "{text}");
    }
}

#[test]
fn programs_use_these() {
    for (text, wanted) in [
        (
            "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
            "Googlebot (search-engine)",
        ),
        ("Mozilla/5.0 (compatible; Claude-User/1.0; +Claude-User@anthropic.com)", "Claude-User (ai-crawler)"),
        ("Mozilla/5.0 (compatible; AhrefsBot/7.0; +http://ahrefs.com/robot/)", "AhrefsBot (seo)"),
        ("curl/8.5.0", "curl (http-library)"),
        ("python-requests/2.32.0", "Python Requests (http-library)"),
        (
            "facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)",
            "Facebook (social-preview)",
        ),
        (
            "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/140.0.0.0 Safari/537.36",
            "Headless Chrome (browser-automation)",
        ),
        ("Mozilla/5.0 zgrab/0.x", "ZGrab (scanner)"),
        ("Mozilla/5.0 (compatible; SomethingNewBot/1.0)", "bot (other)"),
        ("kube-probe/1.30", "Kubernetes probe (monitoring)"),
        ("AdsBot-Google (+http://www.google.com/adsbot.html)", "Google AdsBot (advertising)"),
    ] {
        let said = said(text);
        assert!(said.ends_with(&format!("| bot | {wanted}")), "{text}: {said}");
    }
}

#[test]
fn the_table_is_lower_case_without_repetition_and_large_enough() {
    let tokens: HashSet<_> = CRAWLERS.iter().map(|c| c.token).collect();
    assert_eq!(tokens.len(), CRAWLERS.len());
    assert!(CRAWLERS.len() >= 120);
    for crawler in CRAWLERS {
        assert_eq!(crawler.token, crawler.token.to_ascii_lowercase());
        assert!(crawler.token.len() >= 3 && !crawler.name.is_empty(), "{}", crawler.token);
        // Every entry can be reached: its own token finds it, or one that stands before it.
        let found = parse(crawler.token.as_bytes()).bot.expect(crawler.token);
        let place = |token: &str| CRAWLERS.iter().position(|c| c.token == token);
        assert!(place(found.rule) <= place(crawler.token), "{}", crawler.token);
    }
}

#[test]
fn the_cache_keeps_what_is_asked_for_and_its_bounds() {
    let mut cache = Cache::default();
    let text = |n: usize| n.to_string().into_bytes().into_boxed_slice();
    cache.put(Box::from(&b"usual"[..]), Box::from(&b"value"[..]));
    for n in 0..10 * GENERATION {
        cache.put(text(n), Box::from(&b"x"[..]));
        let mut found = Vec::new();
        assert!(cache.append(b"usual", &mut found) && found == b"value", "after {n}");
        assert!(cache.len() <= 2 * GENERATION);
    }
    let mut found = Vec::new();
    assert!(!cache.append(b"1", &mut found) && found.is_empty() && !cache.knows(b"1"));
    assert!(cache.knows(b"usual"));
    let kept = cache.len() as u64;
    assert_eq!(cache.take_forgotten() + kept, 1 + 10 * GENERATION as u64, "what is not kept is counted");
    assert_eq!(cache.take_forgotten(), 0);
    let mut cache = Cache::default();
    for n in 0..20_000 {
        cache.put(format!("{n:0>2000}").into_bytes().into(), Box::default());
        assert!(cache.bytes() <= 2 * GENERATION_BYTES);
    }
}

/// The file of a Python package, or `None` with a line that says what is skipped.
fn package_file(package: &str, module: &str, file: &str) -> Option<PathBuf> {
    let ask = format!("import {module},os;print(os.path.dirname({module}.__file__))");
    let said = Command::new("python3").args(["-c", &ask]).output().ok().filter(|said| said.status.success());
    let found = said.and_then(|said| Some(Path::new(String::from_utf8(said.stdout).ok()?.trim()).join(file)));
    installed(package, found)
}

/// The file of uap-core: from npm, where `.ci/run` puts it, or from Debian.
fn uap_core() -> Option<PathBuf> {
    let places = ["target/npm/node_modules/uap-core/regexes.yaml", "/usr/share/uap-core/regexes.yaml"];
    let given = std::env::var_os("KELISIM_UAP_CORE").map(PathBuf::from);
    installed("uap-core", given.into_iter().chain(places.map(PathBuf::from)).find(|path| path.is_file()))
}

fn installed(name: &str, found: Option<PathBuf>) -> Option<PathBuf> {
    let found = found.filter(|path| path.is_file());
    if found.is_none() {
        assert!(std::env::var_os("KELISIM_REQUIRE").is_none(), "required, but not installed: {name}");
        eprintln!("skipped: {name} is not installed");
    }
    found
}

fn crawler_list() -> Option<PathBuf> {
    package_file("crawler-user-agents", "crawleruseragents", "crawler-user-agents.json")
}

/// User agents of people's browsers, each once.
fn browsers() -> Option<Vec<String>> {
    let path = package_file("fake-useragent", "fake_useragent", "data/browsers.jsonl")?;
    let text = std::fs::read_to_string(path).expect("readable");
    let lines = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON"));
    let texts: BTreeSet<String> = lines.filter_map(|v| Some(v["useragent"].as_str()?.to_owned())).collect();
    assert!(texts.len() > 500, "{} texts", texts.len());
    Some(texts.into_iter().collect())
}

/// Prints the most frequent of what differs.
fn tell(what: &str, differs: &HashMap<String, u64>) {
    let mut most: Vec<_> = differs.iter().collect();
    most.sort_by_key(|(text, n)| (std::cmp::Reverse(**n), text.as_str()));
    for (text, n) in most.iter().take(25) {
        eprintln!("  {what}: {n} × {text}");
    }
}

#[test]
fn the_table_agrees_with_the_published_crawler_list() {
    let Some(path) = crawler_list() else { return };
    let list: serde_json::Value =
        serde_json::from_slice(&std::fs::read(path).expect("readable")).expect("JSON");
    let list = list.as_array().expect("a list");
    assert!(list.len() > 1_000, "{} entries", list.len());
    let (mut texts, mut bots, mut tagged, mut same) = (0, 0, 0, 0);
    let (mut unseen, mut differs) = (HashMap::new(), HashMap::new());
    for entry in list {
        let tags: Vec<&str> =
            entry["tags"].as_array().into_iter().flatten().filter_map(|t| t.as_str()).collect();
        for text in entry["instances"].as_array().into_iter().flatten().filter_map(|t| t.as_str()) {
            texts += 1;
            let Some(bot) = parse(text.as_bytes()).bot else {
                *unseen.entry(format!("{}: {text}", entry["pattern"])).or_insert(0) += 1;
                continue;
            };
            bots += 1;
            if bot.category != Other && !tags.is_empty() {
                tagged += 1;
                let agree = tags.contains(&bot.category.label());
                same += u64::from(agree);
                if !agree {
                    let said = format!("{} by {:?} is {tags:?}", bot.category.label(), bot.rule);
                    *differs.entry(said).or_insert(0) += 1;
                }
            }
        }
    }
    tell("not seen", &unseen);
    tell("category", &differs);
    eprintln!("{texts} crawlers: {bots} seen as bots; {tagged} with a category: {same} the same one");
    assert!(bots * 100 >= texts * CRAWLERS_SEEN, "{bots} of {texts} are seen as bots");
    assert!(same * 100 >= tagged * SAME_CATEGORY, "{same} of {tagged} have the same category");
}

#[test]
fn the_table_agrees_with_uap_core_about_browsers() {
    let (Some(path), Some(texts)) = (uap_core(), browsers()) else { return };
    let rules = Data::built_in().with(Data::load(Role::Agents, &path).expect("the file works"));
    eprintln!("{:?}", rules.counts(Role::Agents));
    let mut scratch = Scratch::default();
    let mut figures = [0_u64; 5];
    let mut differs = HashMap::new();
    for text in &texts {
        let table = Data::built_in();
        let table = table.say(text.as_bytes(), &mut Scratch::default(), &mut || true).expect("said");
        let theirs = rules.say(text.as_bytes(), &mut scratch, &mut || true).expect("said");
        let family = |name: &Option<Cow<'_, str>>| same_name(name.as_deref().unwrap_or("-")).to_owned();
        let pairs = [
            (family(&table.family), family(&theirs.family)),
            (format!("{:?}", table.major), format!("{:?}", theirs.major)),
            (family(&table.os), family(&theirs.os)),
            (format!("{:?}", table.os_major), format!("{:?}", theirs.os_major)),
            (table.bot.is_some().to_string(), "false".to_owned()),
        ];
        for (n, (ours, theirs)) in pairs.into_iter().enumerate() {
            if ours == theirs {
                figures[n] += 1;
            } else {
                let what = ["family", "major", "os", "os major", "a bot"][n];
                *differs.entry(format!("{what} {ours} is {theirs}")).or_insert(0) += 1;
            }
        }
    }
    tell("differs", &differs);
    let all = texts.len() as u64;
    eprintln!("{all} browsers: the same family, version, system, its version; no bot: {figures:?}");
    for (n, floor) in BROWSERS_AGREE.into_iter().enumerate() {
        assert!(figures[n] * 1000 >= all * floor, "figure {n}: {} of {all}", figures[n]);
    }
}

/// One name where both mean the same and only the kind of device differs, or a name of a maker.
fn same_name(name: &str) -> &str {
    match name {
        "Chrome Mobile" | "Chrome Mobile iOS" | "Chrome Mobile WebView" => "Chrome",
        "Mobile Safari" => "Safari",
        "Mobile Safari UI/WKWebView" => "WebKit view",
        "Edge Mobile" => "Edge",
        "Firefox Mobile" | "Firefox iOS" => "Firefox",
        "Opera Mobile" | "Opera Touch" => "Opera",
        "Google" => "Google app",
        "IE" | "IE Mobile" => "Internet Explorer",
        "Mac OS X" | "Mac OS" => "macOS",
        "Chrome OS" => "ChromeOS",
        "Ubuntu" | "Fedora" | "Debian" => "Linux",
        "QQ Browser Mobile" => "QQ Browser",
        "MiuiBrowser" => "Mi Browser",
        "DuckDuckGo Mobile" => "DuckDuckGo",
        other => other,
    }
}

#[test]
fn hostile_texts_cost_no_more_than_usual_ones_may() {
    let (Some(agents), Some(bots)) = (uap_core(), crawler_list()) else { return };
    let data = Data::built_in()
        .with(Data::load(Role::Agents, &agents).expect("the file works"))
        .with(Data::load(Role::Bots, &bots).expect("the file works"));
    let mut scratch = Scratch::default();
    let mut state = 1_u64;
    let mut next = |n: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 33) as usize % n
    };
    // Pieces that start many patterns, put together anew each time.
    let pieces: Vec<String> = std::fs::read_to_string(&agents)
        .expect("readable")
        .split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|piece| piece.len() > 3)
        .map(str::to_owned)
        .collect();
    let mut asked = 0_u64;
    for _ in 0..300 {
        let mut text = String::new();
        while text.len() < 4096 {
            text += &pieces[next(pieces.len())];
            text.push(['/', ' ', ';', '(', '1'][next(5)]);
        }
        let mut rules = 0;
        let said = data.say(text.as_bytes(), &mut scratch, &mut || {
            rules += 1;
            true
        });
        assert!(said.is_ok());
        asked = asked.max(rules);
    }
    eprintln!("at most {asked} rules were run for one text");
}

/// Of a hundred crawlers of the list, how many are seen as such; of those with a category, how many have the same.
const CRAWLERS_SEEN: u64 = 95;
const SAME_CATEGORY: u64 = 92;
/// Of a thousand browsers, how many have the family, its version, the system, its version, and are no bots.
const BROWSERS_AGREE: [u64; 5] = [970, 970, 980, 980, 990];
