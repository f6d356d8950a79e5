//! Known texts, limits of the cache, and how far the tables agree with data that others keep.

use std::collections::HashSet;
use std::process::Command;

use super::super::cache::{Cache, GENERATION, GENERATION_BYTES};
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
        assert_eq!(cache.get(b"usual"), Some(&b"value"[..]), "after {n}");
        assert!(cache.len() <= 2 * GENERATION);
    }
    assert_eq!(cache.get(b"1"), None);
    let mut cache = Cache::default();
    for n in 0..20_000 {
        cache.put(format!("{n:0>2000}").into_bytes().into(), Box::default());
        assert!(cache.bytes() <= 2 * GENERATION_BYTES);
    }
}

/// Where the crawler list lies that PyPI's `crawler-user-agents` installs; `None` when it is not there.
fn crawler_list() -> Option<serde_json::Value> {
    let ask = "import crawleruseragents,os;print(os.path.dirname(crawleruseragents.__file__))";
    let folder = std::env::var("KELISIM_CRAWLER_LIST").ok().or_else(|| {
        let said = Command::new("python3").args(["-c", ask]).output().ok().filter(|o| o.status.success())?;
        let folder = String::from_utf8(said.stdout).ok()?;
        Some(format!("{}/crawler-user-agents.json", folder.trim()))
    });
    let list = folder.and_then(|path| std::fs::read(path).ok());
    if list.is_none() {
        assert!(
            std::env::var_os("KELISIM_REQUIRE").is_none(),
            "required, but not installed: crawler-user-agents"
        );
        eprintln!("skipped: crawler-user-agents is not installed");
    }
    serde_json::from_slice(&list?).ok()
}

#[test]
fn the_table_agrees_with_the_published_crawler_list() {
    let Some(list) = crawler_list() else { return };
    let list = list.as_array().expect("a list");
    assert!(list.len() > 1_000, "{} entries", list.len());
    let (mut texts, mut bots, mut tagged, mut same) = (0, 0, 0, 0);
    for entry in list {
        let tags: Vec<&str> =
            entry["tags"].as_array().into_iter().flatten().filter_map(|t| t.as_str()).collect();
        for text in entry["instances"].as_array().into_iter().flatten().filter_map(|t| t.as_str()) {
            texts += 1;
            let Some(bot) = parse(text.as_bytes()).bot else { continue };
            bots += 1;
            if bot.category != Other && !tags.is_empty() {
                tagged += 1;
                same += u64::from(tags.contains(&bot.category.label()));
            }
        }
    }
    eprintln!("{texts} crawlers: {bots} seen as bots; {tagged} with a category: {same} the same one");
    assert!(bots * 100 >= texts * 85, "{bots} of {texts} are seen as bots");
    assert!(same * 100 >= tagged * 80, "{same} of {tagged} have the same category");
}

#[test]
#[ignore = "a measurement: run it in a release build"]
fn measure() {
    use crate::record::Event;
    use crate::record::event::Encoded;
    use crate::store::Enrich as _;
    let text = |n: u32| {
        format!(
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{n}.0.0.0 Safari/537.36"
        )
    };
    let begun = std::time::Instant::now();
    (0..100_000).for_each(|n| {
        std::hint::black_box(parse(text(n).as_bytes()));
    });
    eprintln!("uncached: {} ns", begun.elapsed().as_nanos() / 100_000);
    let mut agents = super::super::Agents::built_in();
    let mut bytes = Vec::new();
    let text = text(142);
    Event { user_agent: Some(text.as_bytes()), ..Event::default() }.encode(&mut bytes);
    let (record, _) = Encoded::take(&bytes).expect("whole");
    let begun = std::time::Instant::now();
    (0..1_000_000).for_each(|_| {
        std::hint::black_box(agents.fields(&record).len());
    });
    eprintln!("cached: {} ns", begun.elapsed().as_nanos() / 1_000_000);
}
