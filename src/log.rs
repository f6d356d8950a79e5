//! The gateway's own log: events on standard error, text for a terminal and JSON for everything else.
//!
//! `KELISIM_LOG` (a filter such as `kelisim=debug`) goes before every level. Never holds a request's fields: what is
//! logged is chosen where it happens. Bound: none is kept.

use std::io::{self, IsTerminal};
use std::sync::OnceLock;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::reload::Handle;

/// Begins to log at a level. A second call changes nothing: the first one wins, which is what tests and the demo want.
pub fn to_stderr(level: &str) {
    let builder =
        tracing_subscriber::fmt().with_env_filter(filter(level)).with_writer(io::stderr).with_target(false);
    if io::stderr().is_terminal() {
        let builder = builder.compact().with_filter_reloading();
        let handle = builder.reload_handle();
        if builder.try_init().is_ok() {
            keep(handle);
            warn_of_environment();
        }
    } else {
        let builder = builder.json().flatten_event(true).with_filter_reloading();
        let handle = builder.reload_handle();
        if builder.try_init().is_ok() {
            keep(handle);
            warn_of_environment();
        }
    }
}

/// Goes on at another level.
pub fn set_level(level: &str) {
    if let Some(set) = SET.get() {
        set(level);
    }
}

fn keep<S: 'static>(handle: Handle<EnvFilter, S>) {
    let set = move |level: &str| {
        if let Err(error) = handle.reload(filter(level)) {
            tracing::warn!(%error, "the level of the log cannot be changed");
        }
    };
    // Only the call that became the log comes here, so it is the first.
    let _ = SET.set(Box::new(set));
}

fn filter(level: &str) -> EnvFilter {
    EnvFilter::try_from_env(VARIABLE).unwrap_or_else(|_| EnvFilter::new(level))
}

fn warn_of_environment() {
    if std::env::var_os(VARIABLE).is_some()
        && let Err(error) = EnvFilter::try_from_env(VARIABLE)
    {
        tracing::warn!(%error, "{VARIABLE} is no filter and has no effect");
    }
}

/// Name of the environment variable.
const VARIABLE: &str = "KELISIM_LOG";

/// Sets a level; what it holds depends on the form of the log.
type SetLevel = Box<dyn Fn(&str) + Send + Sync>;

static SET: OnceLock<SetLevel> = OnceLock::new();
