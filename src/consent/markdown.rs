//! Markdown of the operator becomes HTML that can do nothing.
//!
//! Raw HTML is shown as text, images become their description, and links lead to `http`, `https`, `mailto` or a
//! relative address or are plain text. Never loads anything. Bound: linear in the text.

use pulldown_cmark::{Alignment, CowStr, Event, LinkType, Options, Parser, Tag, TagEnd, html};

/// The text as HTML.
#[must_use]
pub fn to_html(markdown: &str) -> String {
    let mut out = String::with_capacity(markdown.len() + markdown.len() / 4);
    // Links do not nest, but an image may hold one in its description: one entry per open link.
    let mut links: Vec<bool> = Vec::new();
    let events =
        Parser::new_ext(markdown, Options::ENABLE_TABLES).filter_map(|event| tame(event, &mut links));
    html::push_html(&mut out, events);
    out
}

fn tame<'a>(event: Event<'a>, links: &mut Vec<bool>) -> Option<Event<'a>> {
    match event {
        Event::Html(text) | Event::InlineHtml(text) => Some(Event::Text(text)),
        Event::Start(Tag::HtmlBlock) => Some(Event::Start(Tag::Paragraph)),
        Event::End(TagEnd::HtmlBlock) => Some(Event::End(TagEnd::Paragraph)),
        Event::Start(Tag::Link { link_type, dest_url, title, id }) => {
            let kept = link_type == LinkType::Email || leads_somewhere_safe(&dest_url);
            links.push(kept);
            kept.then_some(Event::Start(Tag::Link { link_type, dest_url, title, id }))
        }
        Event::End(TagEnd::Link) => links.pop().unwrap_or(false).then_some(event),
        Event::Start(Tag::Image { .. }) | Event::End(TagEnd::Image) => None,
        // Alignment is written as an inline style, which our content policy does not allow.
        Event::Start(Tag::Table(columns)) => {
            Some(Event::Start(Tag::Table(columns.iter().map(|_| Alignment::None).collect())))
        }
        other => Some(other),
    }
}

/// Whether an address has an allowed scheme or none. Browsers drop control characters before they look for a scheme,
/// so an address with one is not looked at further.
fn leads_somewhere_safe(url: &CowStr<'_>) -> bool {
    if url.chars().any(char::is_control) {
        return false;
    }
    match url.split_once([':', '/', '?', '#']) {
        Some((scheme, _)) if url.as_bytes().get(scheme.len()) == Some(&b':') => {
            ["http", "https", "mailto"].iter().any(|allowed| scheme.eq_ignore_ascii_case(allowed))
        }
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ordinary_text() {
        assert_eq!(
            to_html("# T\n\n1. a\n2. **b** [c](https://e.example/?a=1&b=2 \"t\")\n"),
            "<h1>T</h1>\n<ol>\n<li>a</li>\n<li><strong>b</strong> <a href=\"https://e.example/?a=1&amp;b=2\" title=\"t\">c</a></li>\n</ol>\n"
        );
    }

    #[test]
    fn raw_html_is_text() {
        for source in [
            "<script>alert(1)</script>",
            "a <img src=x onerror=alert(1)> b",
            "<div\nonclick=x>\n\n</div>",
            "<!-- --><svg/onload=alert(1)>",
            "<style>*{}</style>",
            "`<b>`",
            "> <iframe src=//x>",
            "<![CDATA[<script>]]>",
            "<?php ?><script>",
        ] {
            let html = to_html(source);
            for tag in ["<script", "<img", "<div", "<svg", "<style", "<b>", "<iframe", "<!", "<?"] {
                assert!(!html.contains(tag), "{source} gave {html}");
            }
        }
        assert_eq!(to_html("<b>x</b>"), "<p>&lt;b&gt;x&lt;/b&gt;</p>\n");
    }

    #[test]
    fn links_lead_somewhere_safe_or_nowhere() {
        for bad in [
            "[x](javascript:alert(1))",
            "[x](JavaScript:alert(1))",
            "[x](&#106;avascript:alert(1))",
            "[x](<java&#10;script:alert(1)>)",
            "[x](<&#1;javascript:alert(1)>)",
            "[x](<&#32;javascript:alert(1)>)",
            "<javascript:alert(1)>",
            "[x](data:text/html,x)",
            "[x](vbscript:x)",
            "[x](file:///etc/passwd)",
            "[x][r]\n\n[r]: javascript:alert(1)",
        ] {
            let html = to_html(bad);
            assert!(!html.contains("<a"), "{bad} gave {html}");
            assert!(html.contains("<p>"), "the text stays: {bad}");
        }
        for (good, href) in [
            ("[x](/a:b)", "/a:b"),
            ("[x](a?b:c)", "a?b:c"),
            ("[x](#c:d)", "#c:d"),
            ("[x](HTTPS://e.example)", "HTTPS://e.example"),
            ("[x](mailto:a@e.example)", "mailto:a@e.example"),
            ("<a@e.example>", "mailto:a@e.example"),
        ] {
            assert!(to_html(good).contains(&format!("<a href=\"{href}\"")), "{good} gave {}", to_html(good));
        }
    }

    #[test]
    fn images_become_their_description() {
        assert_eq!(to_html("![a *b*](https://e.example/x.png)"), "<p>a <em>b</em></p>\n");
        assert_eq!(to_html("![[a](javascript:x)](y) [c](/d)"), "<p>a <a href=\"/d\">c</a></p>\n");
    }

    #[test]
    fn tables_have_no_inline_style() {
        let html = to_html("|a|b|\n|:-:|-:|\n|1|2|\n");
        assert!(html.contains("<td>1</td>") && !html.contains("style"), "{html}");
    }

    proptest! {
        #[test]
        fn nothing_active_comes_out(source in "[ -~\n]{0,200}") {
            let html = to_html(&source).to_ascii_lowercase();
            for tag in ["<script", "<img", "<iframe", "<svg", "<style", "<form", "href=\"javascript", "href=\"data"] {
                prop_assert!(!html.contains(tag));
            }
        }
    }
}
