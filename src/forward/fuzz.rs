//! What the fuzz target `answer` holds together: our client of an endpoint and hyper's. Built for fuzzing only.

#[allow(dead_code, reason = "the tests ask for more")]
#[path = "tests/play.rs"]
mod play;

use http::Method;
use tokio::io::DuplexStream;
use tokio::runtime::Builder;
use tokio::task::LocalSet;

use self::play::{Script, Seen};
use super::wire::Http1;
use super::wire::reference::Hyper;

/// Plays these bytes as an answer, whole and in pieces that end at `cuts`; the connection ends behind them.
///
/// # Panics
/// If the pieces change what is seen, or if an answer that is accepted is not what hyper sees.
pub fn answer(bytes: &[u8], cuts: &[usize], head: bool) {
    let method = if head { Method::HEAD } else { Method::GET };
    let script = Script::whole(method, bytes, true);
    let runtime = Builder::new_current_thread().build().expect("a runtime without a driver");
    LocalSet::new().block_on(&runtime, async {
        let ours = script.play::<Box<Http1<DuplexStream>>>().await;
        assert_eq!(ours, script.cut(cuts).play::<Box<Http1<DuplexStream>>>().await, "pieces");
        // What we pass over in such a head hyper does not.
        if matches!(ours, Seen::Whole(_)) && !format!("{ours:?}").contains("kelisim_unreadable") {
            assert_eq!(ours, script.play::<Hyper<DuplexStream>>().await, "hyper");
        }
    });
}
