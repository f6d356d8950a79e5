//! Names that move, hang and vanish, by a resolver that does as it is told.

use tokio::sync::Notify;

use super::*;

/// A resolver under the control of a test.
#[derive(Default)]
pub(in crate::forward) struct Fake {
    answer: RefCell<Option<Vec<SocketAddr>>>,
    asked: Cell<usize>,
    hangs: Cell<bool>,
    go: Rc<Notify>,
}

impl Fake {
    /// Says that from now on.
    pub(in crate::forward) fn saying(addresses: &[SocketAddr]) -> Rc<Self> {
        let fake = Self::default();
        fake.say(addresses);
        Rc::new(fake)
    }

    pub(in crate::forward) fn say(&self, addresses: &[SocketAddr]) {
        self.answer.replace(Some(addresses.to_vec()));
    }

    /// Fails from now on.
    pub(in crate::forward) fn fail(&self) {
        self.answer.replace(None);
    }

    /// From now on says nothing until told to go on.
    pub(in crate::forward) fn hang(&self, hangs: bool) {
        self.hangs.set(hangs);
        self.go.notify_waiters();
    }

    /// How often it was asked.
    pub(in crate::forward) fn asked(&self) -> usize {
        self.asked.get()
    }
}

impl Resolve for Fake {
    fn look_up(&self, _: &str, _: u16) -> Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>>>> {
        self.asked.set(self.asked.get() + 1);
        let answer = self.answer.borrow().clone();
        let (hangs, go) = (self.hangs.get(), Rc::clone(&self.go));
        Box::pin(async move {
            if hangs {
                go.notified().await;
            }
            answer.ok_or_else(|| io::Error::other("no such host"))
        })
    }
}

fn local<F: Future>(test: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, test)
}

fn at(last: u8) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, last], 80))
}

fn name(fake: &Rc<Fake>) -> Name {
    Name::new("app.example", 80, Rc::clone(fake) as Rc<dyn Resolve>)
}

async fn addresses(name: &Name, now: Instant) -> Result<Vec<SocketAddr>, Reason> {
    let deadline = clock::monotonic() + Duration::from_secs(10);
    let known = name.addresses(now, deadline).await.map_err(|refusal| refusal.reason())?;
    Ok(known.addresses.to_vec())
}

/// Lets look-ups that nobody waits for end.
async fn settle() {
    for _ in 0..8 {
        tokio::task::yield_now().await;
    }
}

#[test]
fn a_name_is_looked_up_every_thirty_seconds_and_nobody_waits_for_that() {
    local(async {
        let fake = Fake::saying(&[at(1)]);
        let (name, now) = (name(&fake), clock::monotonic());
        assert_eq!(addresses(&name, now).await, Ok(vec![at(1)]));
        fake.say(&[at(2)]);
        assert_eq!(addresses(&name, now + KEEP / 2).await, Ok(vec![at(1)]));
        assert_eq!(fake.asked(), 1);
        fake.hang(true);
        let later = clock::monotonic() + KEEP;
        assert_eq!(addresses(&name, later).await, Ok(vec![at(1)]));
        assert_eq!(addresses(&name, later).await, Ok(vec![at(1)]));
        settle().await;
        assert_eq!(fake.asked(), 2);
        fake.hang(false);
        settle().await;
        assert_eq!(addresses(&name, later).await, Ok(vec![at(2)]));
    });
}

#[test]
fn requests_that_come_together_cause_one_look_up() {
    local(async {
        let fake = Fake::saying(&[at(1)]);
        let (name, now) = (name(&fake), clock::monotonic());
        let (one, other) = tokio::join!(addresses(&name, now), addresses(&name, now));
        assert_eq!((one, other), (Ok(vec![at(1)]), Ok(vec![at(1)])));
        assert_eq!(fake.asked(), 1);
    });
}

#[test]
fn a_look_up_that_hangs_is_a_timeout_and_goes_on() {
    local(async {
        let fake = Fake::saying(&[at(1)]);
        fake.hang(true);
        let (name, now) = (name(&fake), clock::monotonic());
        let refusal = name.addresses(now, now + Duration::from_millis(20)).await.err().unwrap();
        assert_eq!(refusal.reason(), Reason::DnsTimeout);
        fake.hang(false);
        assert_eq!(addresses(&name, now).await, Ok(vec![at(1)]));
        assert_eq!(fake.asked(), 1);
    });
}

#[test]
fn a_failure_is_not_asked_for_again_at_once_and_leaves_what_was_known() {
    local(async {
        let fake = Fake::saying(&[at(1)]);
        let (name, now) = (name(&fake), clock::monotonic());
        fake.fail();
        for _ in 0..3 {
            assert_eq!(addresses(&name, now).await, Err(Reason::Dns));
        }
        assert_eq!(fake.asked(), 1);
        fake.say(&[at(1)]);
        assert_eq!(addresses(&name, now + REST).await, Ok(vec![at(1)]));
        fake.fail();
        assert_eq!(addresses(&name, clock::monotonic() + KEEP_AT_MOST).await, Ok(vec![at(1)]));
        assert_eq!(fake.asked(), 3);
    });
}

#[test]
fn addresses_take_turns_and_bad_ones_come_last() {
    let known = Known::new(&[at(1), at(2), at(3)], clock::monotonic());
    let order = || known.order().iter().map(|(index, _)| *index).collect::<Vec<_>>();
    assert_eq!([order(), order(), order()], [[0, 1, 2], [1, 2, 0], [2, 0, 1]]);
    known.note_failed(0);
    assert_eq!([order(), order()], [[1, 2, 0], [1, 2, 0]]);
}

#[test]
fn no_name_has_more_addresses_than_bits() {
    let many: Vec<_> = (0..40).map(at).collect();
    let known = Known::new(&many, clock::monotonic());
    assert_eq!(known.order().len(), MAX_ADDRESSES);
    known.note_failed(MAX_ADDRESSES - 1);
}
