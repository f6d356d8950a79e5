//! What was done to a request and its answer beyond passing them on: the words of `decision.log`.
//!
//! One bit for each word, so that a request to which nothing was done costs nothing. What was done to cookies stands in
//! columns of its own, by name; here stands whether it was only decided. Never holds a text of the request. Bound: the words.

/// Something that was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Note {
    /// The request was recorded before the site saw it.
    RecordedFirst,
    /// The browser's advertising signals were kept from the site.
    RequestAdvertising,
    /// High-entropy client hints were kept from the site.
    RequestHints,
    /// Click ids were kept from the site.
    ClickIds,
    /// Campaign parameters were kept from the site.
    Campaign,
    /// What starts an advertising interface was kept from the browser.
    AnswerAdvertising,
    /// What asks for client hints was kept from the browser.
    AnswerHints,
    /// The browser was told to forget advertising cookies.
    Expired,
    /// An answer of ours: the site did not see the request because of a policy gate.
    Gate,
    /// Nothing is enforced: the cookies that the record tells of were removed in neither direction.
    DryRun,
}

impl Note {
    /// Every word, in the order in which a record tells them.
    pub const ALL: [Self; 10] = [
        Self::RecordedFirst,
        Self::RequestAdvertising,
        Self::RequestHints,
        Self::ClickIds,
        Self::Campaign,
        Self::AnswerAdvertising,
        Self::AnswerHints,
        Self::Expired,
        Self::Gate,
        Self::DryRun,
    ];

    /// The word in the record.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::RecordedFirst => "recorded-first",
            Self::RequestAdvertising => "request-advertising",
            Self::RequestHints => "request-client-hints",
            Self::ClickIds => "request-click-ids",
            Self::Campaign => "request-campaign",
            Self::AnswerAdvertising => "answer-advertising",
            Self::AnswerHints => "answer-client-hints",
            Self::Expired => "answer-expired-cookies",
            Self::Gate => "gate",
            Self::DryRun => "dry-run",
        }
    }
}

/// What was done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Decisions(u16);

impl Decisions {
    /// It was done.
    pub const fn note(&mut self, note: Note) {
        self.0 |= 1 << note as u8;
    }

    /// It was done, if so.
    pub const fn note_if(&mut self, done: bool, note: Note) {
        self.0 |= (done as u16) << note as u8;
    }

    /// Whether nothing was.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The words.
    pub fn words(self) -> impl Iterator<Item = &'static str> {
        Note::ALL.into_iter().filter(move |note| self.0 & 1 << *note as u8 != 0).map(Note::label)
    }
}

const _: () = assert!(Note::ALL.len() <= 16, "one bit each");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_noted_is_told_once_and_in_order() {
        let mut decisions = Decisions::default();
        assert!(decisions.is_empty());
        decisions.note(Note::Gate);
        decisions.note(Note::RequestHints);
        decisions.note_if(false, Note::Expired);
        decisions.note_if(true, Note::Gate);
        assert_eq!(decisions.words().collect::<Vec<_>>(), ["request-client-hints", "gate"]);
        assert_eq!(Note::ALL.map(|note| note as u8), std::array::from_fn(|i| i as u8));
    }
}
