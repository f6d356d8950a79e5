//! The page that shows a version of the policy.
//!
//! The text stands apart from the choice. Never edits it: what is shown is what was hashed, rendered as safe HTML.
//! Bound: the document.

use maud::{Markup, PreEscaped, html};

use super::consent::fill;
use super::language::Language;
use super::texts::texts;
use super::{shell, switcher};
use crate::clock::Timestamp;
use crate::consent::policy::{Document, Policies, Version, VersionId};

/// What the page shows.
#[derive(Clone, Copy, Debug)]
pub struct PolicyPage<'a> {
    /// Language of the page; the document's may differ.
    pub language: Language,
    /// Path of our endpoints, with both slashes.
    pub prefix: &'a str,
    /// The version.
    pub version: &'a Version,
    /// Its text.
    pub document: &'a Document,
    /// All versions, for the list.
    pub policies: &'a Policies,
    /// The version in force.
    pub in_force: VersionId,
    /// Now.
    pub now: Timestamp,
}

impl PolicyPage<'_> {
    /// The page as HTML.
    #[must_use]
    pub fn render(&self) -> Markup {
        let t = texts(self.language);
        // The history, the newest first.
        let mut versions: Vec<&Version> = self.policies.versions().iter().collect();
        versions.sort_by_key(|version| std::cmp::Reverse(version.effective));
        let body = html! {
            (switcher(self.language, t.languages, |language| self.address(self.version, language)))
            p.small {
                (fill(t.policy_version, self.version.id.as_str())) " · " (self.status(self.version))
            }
            // Rendered by `consent::markdown`, which lets nothing active through.
            article lang=(self.document.language) { (PreEscaped(&self.document.html)) }
            footer {
                h2 { (t.policy_versions) }
                ul {
                    @for version in versions {
                        li {
                            @if version.id == self.version.id {
                                span aria-current="page" { (fill(t.policy_version, version.id.as_str())) }
                            } @else {
                                a href=(self.address(version, self.language)) {
                                    (fill(t.policy_version, version.id.as_str()))
                                }
                            }
                            " · " (self.status(version))
                        }
                    }
                }
                p.small { (t.policy_hash) ": " code { (self.version.hash) } }
                p { a href={ (self.prefix) "?lang=" (self.language.tag()) } { (t.back_to_choices) } }
            }
        };
        shell(self.language, t.policy_heading, &body)
    }

    fn address(&self, version: &Version, language: Language) -> String {
        format!("{}policy/{}?lang={}", self.prefix, version.id, language.tag())
    }

    fn status(&self, version: &Version) -> String {
        let t = texts(self.language);
        let text = if version.id == self.in_force {
            t.policy_in_force
        } else if version.effective > self.now {
            t.policy_future
        } else {
            t.policy_past
        };
        fill(text, &day(version.effective))
    }
}

/// The day in UTC, as `2026-11-22`: read alike in every language.
fn day(at: Timestamp) -> String {
    let mut text = at.to_string();
    text.truncate(text.find('T').unwrap_or(text.len()));
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::consent::SiteConsent;

    fn render(language: Language, id: &str) -> String {
        let site = SiteConsent::for_test();
        let policies = &site.rules.policies;
        let now = Timestamp::from_secs(1_795_341_600);
        let version = policies.get(&VersionId::parse(id.as_bytes()).unwrap()).unwrap();
        PolicyPage {
            language,
            prefix: &site.prefix,
            version,
            document: policies.document(version, language.tag()).unwrap(),
            policies,
            in_force: policies.version_in_force(now),
            now,
        }
        .render()
        .into_string()
    }

    #[test]
    fn shows_text_status_hash_and_the_other_versions() {
        let page = render(Language::En, "2026-11");
        assert!(page.contains("<h1>Privacy policy</h1>"));
        assert!(page.contains("Version 2026-11 · In force since 2026-11-22"), "{page}");
        assert!(page.contains("Version 2025-01</a> · No longer in force; it applied from 2025-01-01"));
        let hash = page.split("<code>").nth(1).unwrap().split('<').next().unwrap();
        assert_eq!(hash.len(), 64);
        assert!(!page.contains("<script"));
    }

    /// Writes the page where `KELISIM_PAGES` says, to be looked at.
    #[test]
    fn pages_can_be_looked_at() {
        let Some(dir) = std::env::var_os("KELISIM_PAGES").map(std::path::PathBuf::from) else { return };
        std::fs::create_dir_all(&dir).unwrap();
        for language in Language::ALL {
            let file = dir.join(format!("policy.{}.html", language.tag()));
            std::fs::write(file, render(language, "2026-11")).unwrap();
        }
    }

    #[test]
    fn a_document_in_another_language_says_so() {
        let page = render(Language::Ru, "2026-11");
        assert!(page.contains("<html lang=\"ru\">") && page.contains("<article lang=\"kk\">"), "{page}");
        assert!(page.contains("Действует с 2026-11-22"));
    }
}
