//! Adds what the user agent says to records, on the journal's writer thread.
//!
//! A text that is known costs one look into the cache. A new one is parsed; when a batch has spent [`BUDGET`] on new
//! texts, the rest of it goes without these fields and is counted. Never keeps a text longer than the cache does.
//! Bound: [`BUDGET`] and the cache.

use std::time::{Duration, Instant};

use super::cache::Cache;
use super::find::parse;
use super::table::VERSION;
use crate::clock::monotonic;
use crate::record::event::Encoded;
use crate::record::{Class, Event, field_of};
use crate::store::Enrich;

/// Most time that one batch may spend on texts that are not in the cache.
pub const BUDGET: Duration = Duration::from_millis(2);

/// Parses user agents, and knows the usual ones.
pub struct Agents {
    cache: Cache,
    clock: fn() -> Instant,
    spent: Duration,
    skipped: u64,
    encoded: Vec<u8>,
}

impl Agents {
    /// With the built-in tables.
    #[must_use]
    pub fn built_in() -> Self {
        Self {
            cache: Cache::default(),
            clock: monotonic,
            spent: Duration::ZERO,
            skipped: 0,
            encoded: Vec::new(),
        }
    }
}

impl Enrich for Agents {
    fn begin(&mut self) -> u64 {
        self.spent = Duration::ZERO;
        std::mem::take(&mut self.skipped)
    }

    fn fields(&mut self, record: &Encoded<'_>) -> &[u8] {
        let Some(text) = field_of(record.sections[Class::Diag as usize], USER_AGENT) else { return &[] };
        // Asked twice: a value that is returned at once would be borrowed for the whole function.
        if self.cache.get(text).is_none() {
            if self.spent >= BUDGET {
                self.skipped += 1;
                return &[];
            }
            let begun = (self.clock)();
            encode(text, &mut self.encoded);
            self.cache.put(text.into(), clear_fields(&self.encoded).into());
            self.spent += (self.clock)().saturating_duration_since(begun);
        }
        self.cache.get(text).unwrap_or_default()
    }
}

/// Encodes an event of nothing but these fields.
fn encode(text: &[u8], out: &mut Vec<u8>) {
    let agent = parse(text);
    let bytes = |text: Option<&'static str>| text.map(str::as_bytes);
    out.clear();
    let event = Event {
        agent_family: bytes(agent.family),
        agent_major: agent.major,
        os_family: bytes(agent.os),
        os_major: agent.os_major,
        device_class: bytes(agent.device),
        bot: Some(agent.bot.is_some()),
        bot_name: agent.bot.map(|bot| bot.name.as_bytes()),
        bot_category: agent.bot.map(|bot| bot.category.label().as_bytes()),
        bot_rule: agent.bot.map(|bot| bot.rule.as_bytes()),
        agent_data: Some(VERSION.as_bytes()),
        ..Event::default()
    };
    event.encode(out);
}

/// The clear fields of an encoded event, without its kind.
fn clear_fields(encoded: &[u8]) -> &[u8] {
    let clear = Encoded::take(encoded).map(|(record, _)| record.sections[Class::Clear as usize]);
    clear.and_then(|clear| clear.get(1..)).unwrap_or_default()
}

/// The id of `user_agent.original`.
const USER_AGENT: u8 = 222;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Column, Purpose, Value};
    use crate::store::query::testing::Stored;

    fn fields(agents: &mut Agents, text: &[u8]) -> usize {
        let mut bytes = Vec::new();
        Event { user_agent: Some(text), ..Event::default() }.encode(&mut bytes);
        agents.fields(&Encoded::take(&bytes).expect("whole").0).len()
    }

    #[test]
    fn the_fields_are_columns_that_support_can_read() {
        let mut agents = Agents::built_in();
        let mut bytes = Vec::new();
        let text = b"Mozilla/5.0 (compatible; GPTBot/1.2; +https://openai.com/gptbot)";
        Event { user_agent: Some(text), status: Some(200), ..Event::default() }.encode(&mut bytes);
        let (record, _) = Encoded::take(&bytes).expect("whole");
        let added = agents.fields(&record).to_vec();
        let row = Stored::with_clear(&bytes, &added);
        let row = row.row(Purpose::Support, 1, crate::clock::Timestamp::default());
        let get = |name| match row.get(Column::by_name(name).expect(name)) {
            Some(Value::Text(text)) => String::from_utf8_lossy(text).into_owned(),
            Some(Value::Bool(yes)) => yes.to_string(),
            Some(Value::U64(n)) => n.to_string(),
            _ => "-".to_owned(),
        };
        assert_eq!([get("bot.is"), get("bot.name"), get("bot.category")], ["true", "GPTBot", "ai-crawler"]);
        assert_eq!(
            [get("bot.rule"), get("device.class"), get("ua.data_version")],
            ["gptbot", "bot", VERSION]
        );
        assert_eq!([get("http.response.status_code"), get("user_agent.original")], ["200", "-"]);
    }

    #[test]
    fn the_id_is_that_of_the_text() {
        assert_eq!(Column::by_name("user_agent.original").map(|c| c.id), Some(USER_AGENT));
    }

    #[test]
    fn a_batch_that_has_used_its_time_leaves_new_texts_and_keeps_known_ones() {
        // A clock by which every text takes half of the budget.
        fn slow() -> Instant {
            use std::sync::OnceLock;
            use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
            static BEGUN: OnceLock<Instant> = OnceLock::new();
            static CALLS: AtomicU32 = AtomicU32::new(0);
            *BEGUN.get_or_init(Instant::now) + CALLS.fetch_add(1, Relaxed) * (BUDGET / 2)
        }
        let mut agents = Agents { clock: slow, ..Agents::built_in() };
        assert_eq!(agents.begin(), 0);
        assert!(fields(&mut agents, b"curl/8.1") > 0 && fields(&mut agents, b"curl/8.2") > 0);
        assert_eq!(fields(&mut agents, b"curl/8.3"), 0);
        assert!(fields(&mut agents, b"curl/8.1") > 0, "a known text costs nothing");
        assert_eq!(agents.begin(), 1);
        assert!(fields(&mut agents, b"curl/8.3") > 0, "the next batch");
    }

    #[test]
    fn a_record_without_the_text_gets_nothing() {
        let mut bytes = Vec::new();
        Event { path: Some(b"/"), ..Event::default() }.encode(&mut bytes);
        assert!(Agents::built_in().fields(&Encoded::take(&bytes).expect("whole").0).is_empty());
    }
}
