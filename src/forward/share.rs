//! How much of one endpoint a single client may hold: its share of the connections, or streams, of one thread.
//!
//! A connection to the site is held for as long as a client takes to send its request and to read its answer. Without a
//! bound, one that is slow in many requests at once leaves nothing for anybody else. What is beyond the share waits for
//! the client's own requests, not in the queue that all share. Forgets a client with its last request. Bounds:
//! `limits.upstream_connections_per_client` held, `limits.upstream_queue` waiting for each client, and
//! `timeouts.upstream_queue`.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use ipnet::IpNet;

use super::queue::Queue;
use crate::error::{Reason, Refusal};

/// Who holds how much.
#[derive(Default)]
pub(super) struct Shares {
    /// Few at a time: those with a request on its way to this endpoint.
    holders: RefCell<Vec<Holder>>,
}

struct Holder {
    client: IpNet,
    held: usize,
    /// Only while more is wanted than the share.
    waiting: Option<Rc<Queue<Share>>>,
}

/// The right to one connection, or stream, within a client's share. Dropping it passes it on to the client's next request.
pub(super) struct Share {
    shares: Rc<Shares>,
    client: IpNet,
}

impl Shares {
    /// Takes one of the client's share of `most`, and waits for it if all is taken.
    ///
    /// # Errors
    /// `ClientShare` if `queue` wait already, or after `limit`.
    pub(super) async fn take(
        self: &Rc<Self>,
        client: IpNet,
        most: usize,
        queue: usize,
        limit: Duration,
    ) -> Result<Share, Refusal> {
        let Some(waiting) = self.enter(client, most) else {
            return Ok(Share { shares: Rc::clone(self), client });
        };
        // Boxed: rare, and else every request has room for it.
        Box::pin(waiting.wait(queue, limit))
            .await
            .map_err(|refusal| Refusal::caused_by(Reason::ClientShare, refusal))
    }

    /// Takes one of the client's share of `most`, if one is free now.
    pub(super) fn try_take(self: &Rc<Self>, client: IpNet, most: usize) -> Option<Share> {
        self.enter(client, most).is_none().then(|| Share { shares: Rc::clone(self), client })
    }

    /// Counts one more for the client; gives where to wait if that is too much.
    fn enter(&self, client: IpNet, most: usize) -> Option<Rc<Queue<Share>>> {
        let mut holders = self.holders.borrow_mut();
        let Some(holder) = holders.iter_mut().find(|holder| holder.client == client) else {
            holders.push(Holder { client, held: 1, waiting: None });
            return None;
        };
        if holder.held < most {
            holder.held += 1;
            return None;
        }
        Some(Rc::clone(holder.waiting.get_or_insert_default()))
    }

    #[cfg(test)]
    fn clients(&self) -> usize {
        self.holders.borrow().len()
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let waiter = {
            let mut holders = self.shares.holders.borrow_mut();
            let Some(at) = holders.iter().position(|holder| holder.client == self.client) else { return };
            let holder = &mut holders[at];
            let waiter = holder.waiting.as_ref().and_then(|waiting| waiting.next());
            if waiter.is_none() {
                holder.held -= 1;
                if holder.held == 0 {
                    holders.swap_remove(at);
                }
            }
            waiter
        };
        if let Some(waiter) = waiter {
            // A waiter that left in this moment drops it, and it goes to the next.
            drop(waiter.send(Self { shares: Rc::clone(&self.shares), client: self.client }));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(20);
    const NOTHING: Duration = Duration::from_millis(1);

    fn client(n: u8) -> IpNet {
        IpNet::from(std::net::IpAddr::from([192, 0, 2, n]))
    }

    fn run(test: impl Future<Output = ()>) {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test);
    }

    async fn refused(shares: &Rc<Shares>, queue: usize, limit: Duration) -> Reason {
        shares.take(client(1), 2, queue, limit).await.err().unwrap().reason()
    }

    #[test]
    fn a_client_gets_its_share_and_leaves_others_theirs() {
        run(async {
            let shares = Rc::<Shares>::default();
            let first = shares.take(client(1), 2, 8, LONG).await.unwrap();
            let _second = shares.take(client(1), 2, 8, LONG).await.unwrap();
            assert_eq!(refused(&shares, 8, NOTHING).await, Reason::ClientShare, "after the wait");
            assert_eq!(refused(&shares, 0, LONG).await, Reason::ClientShare, "with a full queue");
            let _other = shares.take(client(2), 2, 0, NOTHING).await.unwrap();
            drop(first);
            assert!(shares.take(client(1), 2, 0, NOTHING).await.is_ok());
        });
    }

    #[test]
    fn what_is_given_back_goes_to_the_one_that_waited_longest_and_still_does() {
        run(async {
            let shares = Rc::<Shares>::default();
            let held = shares.take(client(1), 1, 8, LONG).await.unwrap();
            let mut left = Box::pin(shares.take(client(1), 1, 8, LONG));
            let mut first = Box::pin(shares.take(client(1), 1, 8, LONG));
            let mut second = Box::pin(shares.take(client(1), 1, 8, LONG));
            for waiting in [&mut left, &mut first, &mut second] {
                assert!(tokio::time::timeout(NOTHING, waiting).await.is_err());
            }
            drop(left);
            drop(held);
            assert!(tokio::time::timeout(NOTHING, &mut second).await.is_err());
            let turn = first.await.unwrap();
            drop(turn);
            drop(second.await.unwrap());
        });
    }

    #[test]
    fn nothing_is_remembered_of_a_client_without_a_request() {
        run(async {
            let shares = Rc::<Shares>::default();
            let held = shares.take(client(1), 1, 8, LONG).await.unwrap();
            let others: Vec<_> = futures_of(&shares).await;
            assert_eq!(shares.clients(), 6);
            // One gets the turn while it is being dropped itself.
            let mut waiting = Box::pin(shares.take(client(1), 1, 8, LONG));
            assert!(tokio::time::timeout(NOTHING, &mut waiting).await.is_err());
            drop(held);
            drop(waiting);
            drop(others);
            assert_eq!(shares.clients(), 0);
        });
    }

    async fn futures_of(shares: &Rc<Shares>) -> Vec<Share> {
        let mut held = Vec::new();
        for n in 2..7 {
            held.push(shares.take(client(n), 1, 8, LONG).await.unwrap());
        }
        held
    }
}
