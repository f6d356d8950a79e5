//! What visitors are told on the consent page and by its API: a change of the policy, an incident.
//!
//! Plain text of the operator in up to three languages, shown between two days. Never decides anything. Bound: what the
//! configuration names.

use crate::clock::Timestamp;
use crate::config;

/// The notices of one site.
#[derive(Clone, Debug, Default)]
pub struct Notices(Vec<Notice>);

#[derive(Clone, Debug)]
struct Notice {
    id: String,
    texts: Vec<(String, String)>,
    from: Option<Timestamp>,
    until: Option<Timestamp>,
}

/// A notice as it is shown now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shown<'a> {
    /// Its id.
    pub id: &'a str,
    /// Language of the text.
    pub language: &'a str,
    /// The text.
    pub text: &'a str,
}

impl Notices {
    /// Compiles what the configuration holds.
    #[must_use]
    pub fn new(notices: &[config::Notice]) -> Self {
        let compile = |notice: &config::Notice| Notice {
            id: notice.id.clone(),
            texts: notice.texts.clone(),
            from: notice.from.map(Timestamp::from_secs),
            until: notice.until.map(Timestamp::from_secs),
        };
        Self(notices.iter().map(compile).collect())
    }

    /// Those of this moment, in the order of the file, each in this language, else in that of the site, else in any.
    pub fn shown<'a>(
        &'a self,
        language: &'a str,
        default: &'a str,
        now: Timestamp,
    ) -> impl Iterator<Item = Shown<'a>> {
        let current = move |notice: &&Notice| {
            notice.from.is_none_or(|from| from <= now) && notice.until.is_none_or(|until| now < until)
        };
        self.0.iter().filter(current).filter_map(move |notice| {
            let find = |tag: &str| notice.texts.iter().find(|(language, _)| language == tag);
            let (language, text) =
                find(language).or_else(|| find(default)).or_else(|| notice.texts.first())?;
            Some(Shown { id: &notice.id, language, text })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notice_is_shown_in_its_time_and_in_the_nearest_language() {
        let notice = |id: &str, from, until| config::Notice {
            id: id.into(),
            texts: vec![("ru".into(), "Р".into()), ("en".into(), "E".into())],
            from,
            until,
        };
        let notices = Notices::new(&[notice("a", None, None), notice("b", Some(10), Some(20))]);
        let shown = |language: &str, default: &str, at| {
            let now = Timestamp::from_secs(at);
            notices.shown(language, default, now).map(|n| format!("{}{}", n.id, n.text)).collect::<Vec<_>>()
        };
        assert_eq!(shown("en", "ru", 9), ["aE"]);
        assert_eq!(shown("en", "ru", 10), ["aE", "bE"]);
        assert_eq!(shown("kk", "en", 19), ["aE", "bE"]);
        assert_eq!(shown("kk", "kk", 20), ["aР"]);
    }
}
