//! Adds what the user agent says to records, on the journal's writer thread.
//!
//! A text that is known costs one look into the cache. A new one is parsed; when a batch has spent [`BUDGET`] on new
//! texts, or one text takes that long, the record goes without these fields and is counted. The text is then parsed beside
//! the writer, for records to come; the record itself is completed by the compactor, which is in no hurry and opens every
//! class. Never keeps a text longer than the cache
//! does. Bound: [`BUDGET`] and the cache.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use super::cache::Cache;
use super::data::{Data, Said};
use super::find;
use super::live::AgentData;
use super::patterns::Scratch;
use crate::clock::monotonic;
use crate::record::event::Encoded;
use crate::record::{Class, Column, Event, Row, Value};
use crate::store::{Complete, Enrich, Facts};

/// Most time that one batch may spend on texts that are not in the cache.
pub const BUDGET: Duration = Duration::from_millis(2);
/// Most time that the compactor may spend on one text; then what the files say of it stays unknown.
pub const COMPLETE_BUDGET: Duration = Duration::from_millis(100);

/// Parses user agents by the rules in force, and knows the usual ones.
pub struct Agents {
    live: Arc<AgentData>,
    data: Arc<Data>,
    cache: Cache,
    /// The fields that a row lacks.
    missing: Vec<u8>,
    scratch: Scratch,
    clock: fn() -> Instant,
    spent: Duration,
    skipped: u64,
}

impl Agents {
    /// With the built-in table alone.
    #[must_use]
    pub fn built_in() -> Self {
        Self::following(Arc::default())
    }

    /// With whatever rules are in force.
    #[must_use]
    pub fn following(live: Arc<AgentData>) -> Self {
        find::prepare();
        Self {
            data: live.in_force(),
            live,
            cache: Cache::default(),
            missing: Vec::new(),
            scratch: Scratch::default(),
            clock: monotonic,
            spent: Duration::ZERO,
            skipped: 0,
        }
    }

    /// Takes over other rules, which make everything that is known stale.
    fn follow(&mut self) {
        let data = self.live.data.load();
        if !Arc::ptr_eq(&data, &self.data) {
            self.data = Arc::clone(&data);
            self.cache.clear();
        }
        count(&self.live.figures.evicted, self.cache.take_forgotten());
    }

    /// Appends the fields of a text and puts them into the cache, within `budget`; whether it could.
    fn learn(&mut self, text: &[u8], budget: Duration, out: &mut Vec<u8>) -> bool {
        count(&self.live.figures.misses, 1);
        let begun = (self.clock)();
        let mut go_on = || (self.clock)().saturating_duration_since(begun) < budget;
        let fields = fields(&self.data, text, &mut self.scratch, &mut go_on);
        self.spent += (self.clock)().saturating_duration_since(begun);
        let Some(fields) = fields else {
            count(&self.live.figures.given_up, 1);
            return false;
        };
        out.extend_from_slice(&fields);
        self.cache.put(text.into(), fields);
        true
    }
}

/// The encoded clear fields of a text; `None` when that takes longer than `budget`.
pub(super) fn fields_within(
    data: &Data,
    text: &[u8],
    scratch: &mut Scratch,
    budget: Duration,
) -> Option<Box<[u8]>> {
    let begun = monotonic();
    fields(data, text, scratch, &mut || monotonic().saturating_duration_since(begun) < budget)
}

fn fields(
    data: &Data,
    text: &[u8],
    scratch: &mut Scratch,
    go_on: &mut dyn FnMut() -> bool,
) -> Option<Box<[u8]>> {
    let said = data.say(text, scratch, go_on).ok()?;
    let mut encoded = Vec::new();
    encode(&said, data.version(), &mut encoded);
    Some(clear_fields(&encoded).into())
}

impl Enrich for Agents {
    fn begin(&mut self) -> u64 {
        self.follow();
        for learned in self.live.take_learned() {
            if Arc::ptr_eq(&learned.data, &self.data) && !self.cache.knows(&learned.text) {
                self.cache.put(learned.text, learned.fields);
            }
        }
        self.spent = Duration::ZERO;
        std::mem::take(&mut self.skipped)
    }

    fn fields(&mut self, facts: &Facts<'_>, out: &mut Vec<u8>) {
        let Some(text) = facts.agent else { return };
        if self.cache.append(text, out) {
            count(&self.live.figures.hits, 1);
        } else if self.spent >= BUDGET || !self.learn(text, BUDGET.saturating_sub(self.spent), out) {
            self.skipped += 1;
            self.live.ask(text);
        }
    }
}

impl Complete for Agents {
    fn begin_segment(&mut self) {
        self.follow();
    }

    fn missing(&mut self, row: &Row<'_>) -> &[u8] {
        let value = |id| Column::by_id(id).and_then(|column| row.get(column));
        let (None, Some(Value::Text(text))) = (value(DATA_VERSION), value(USER_AGENT)) else { return &[] };
        let mut missing = std::mem::take(&mut self.missing);
        missing.clear();
        if self.cache.append(text, &mut missing) || self.learn(text, COMPLETE_BUDGET, &mut missing) {
            count(&self.live.figures.completed, 1);
        }
        self.missing = missing;
        &self.missing
    }
}

fn count(figure: &AtomicU64, n: u64) {
    if n > 0 {
        figure.fetch_add(n, Relaxed);
    }
}

/// Encodes an event of nothing but these fields.
fn encode(said: &Said<'_>, version: &str, out: &mut Vec<u8>) {
    out.clear();
    let event = Event {
        agent_family: said.family.as_deref().map(str::as_bytes),
        agent_major: said.major,
        os_family: said.os.as_deref().map(str::as_bytes),
        os_major: said.os_major,
        device_class: said.device.map(str::as_bytes),
        bot: Some(said.bot.is_some()),
        bot_name: said.bot.map(|bot| bot.name.as_bytes()),
        bot_category: said.bot.map(|bot| bot.category.as_bytes()),
        bot_rule: said.bot.map(|bot| bot.rule.as_bytes()),
        agent_data: Some(version.as_bytes()),
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
/// The id of `ua.data_version`, which every record has that was enriched.
const DATA_VERSION: u8 = 166;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Column, Purpose, Value};
    use crate::store::query::testing::Stored;

    fn added(agents: &mut Agents, agent: Option<&[u8]>) -> Vec<u8> {
        let mut out = Vec::new();
        agents.fields(&Facts { agent, ..Facts::default() }, &mut out);
        out
    }

    fn length(agents: &mut Agents, text: &[u8]) -> usize {
        added(agents, Some(text)).len()
    }

    #[test]
    fn the_fields_are_columns_that_support_can_read() {
        let mut agents = Agents::built_in();
        let mut bytes = Vec::new();
        let text = b"Mozilla/5.0 (compatible; GPTBot/1.2; +https://openai.com/gptbot)";
        Event { user_agent: Some(text), status: Some(200), ..Event::default() }.encode(&mut bytes);
        let added = added(&mut agents, Some(text));
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
            ["gptbot", "bot", super::super::table::VERSION]
        );
        assert_eq!([get("http.response.status_code"), get("user_agent.original")], ["200", "-"]);
    }

    #[test]
    fn the_ids_are_those_of_the_columns() {
        assert_eq!(Column::by_name("user_agent.original").map(|c| c.id), Some(USER_AGENT));
        assert_eq!(Column::by_name("ua.data_version").map(|c| c.id), Some(DATA_VERSION));
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
        assert!(length(&mut agents, b"curl/8.1") > 0 && length(&mut agents, b"curl/8.2") > 0);
        assert_eq!(length(&mut agents, b"curl/8.3"), 0);
        assert!(length(&mut agents, b"curl/8.1") > 0, "a known text costs nothing");
        assert_eq!(agents.begin(), 1);
        assert!(length(&mut agents, b"curl/8.3") > 0, "the next batch");
    }

    #[test]
    fn what_was_parsed_beside_the_writer_is_known_to_the_next_batch_unless_the_rules_changed() {
        let live = Arc::<AgentData>::default();
        let mut agents = Agents::following(Arc::clone(&live));
        // A batch whose time is used up.
        agents.spent = BUDGET;
        assert_eq!(length(&mut agents, b"curl/8.1"), 0);
        live.learn(&mut Scratch::default());
        agents.begin();
        agents.spent = BUDGET;
        assert!(length(&mut agents, b"curl/8.1") > 0);
        assert_eq!(length(&mut agents, b"curl/8.2"), 0);
        live.learn(&mut Scratch::default());
        live.data.store(Arc::new(Data::built_in()));
        agents.begin();
        agents.spent = BUDGET;
        assert_eq!(length(&mut agents, b"curl/8.2"), 0, "said by rules that are no longer in force");
    }

    #[test]
    fn a_record_without_the_text_gets_nothing() {
        assert!(added(&mut Agents::built_in(), None).is_empty());
    }
}
