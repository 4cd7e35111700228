//! Which listeners `metrics.bind` asks for, and what becomes of them when it changes: the same three steps as with
//! `server.bind` (see `listeners`).

use crate::config::Settings;
use crate::net::{Bind, Listener};

use super::super::listeners::Reconciled;

/// Scrapers are few.
const BACKLOG: u32 = 128;

/// Keeps what is open and wanted, binds what is new, and names what is not wanted any more. Closes nothing: `current` are the
/// listeners of every generation that may yet serve.
///
/// # Errors
/// One sentence; then nothing has changed.
pub(in crate::master) fn reconcile(current: &[Listener], settings: &Settings) -> Result<Reconciled, String> {
    let listeners = match &settings.metrics_bind {
        Some(bind) => keep_or_bind(bind, current, settings)?,
        None => Vec::new(),
    };
    let is_among = |listener: &Listener, them: &[Listener]| them.iter().any(|it| it.is_same(listener));
    let bound = listeners.iter().filter(|it| !is_among(it, current)).cloned().collect();
    let mut removed: Vec<Listener> = Vec::new();
    for listener in current {
        if !is_among(listener, &listeners) && !is_among(listener, &removed) {
            removed.push(listener.clone());
        }
    }
    Ok(Reconciled { listeners, bound, removed })
}

/// Brings the permissions of kept listeners to what the configuration says.
pub(in crate::master) fn adjust(listeners: &[Listener], settings: &Settings) {
    for listener in listeners {
        if let Err(error) = listener.adjust(BACKLOG, settings.server.socket_mode) {
            log::error!("{listener}: server.socket_mode cannot be applied: {error}; restart to apply it");
        }
    }
}

fn keep_or_bind(bind: &Bind, current: &[Listener], settings: &Settings) -> Result<Vec<Listener>, String> {
    let mut kept: Vec<Listener> = Vec::new();
    for listener in current.iter().filter(|it| it.bind == *bind && it.is_reachable()) {
        if !kept.iter().any(|other| other.is_same(listener)) {
            kept.push(listener.clone());
        }
    }
    if !kept.is_empty() {
        return Ok(kept);
    }
    let server = &settings.server;
    // Port 0 is another free port each time.
    let is_fresh = matches!(bind, Bind::Tcp(address) if address.port() == 0);
    if !is_fresh && server.bind.contains(bind) {
        return Err(format!(
            "metrics.bind: cannot listen on {bind}: server.bind has the address: set metrics.bind to another address"
        ));
    }
    let bound = Listener::bind_beside(bind, BACKLOG, server.socket_mode, current);
    bound.map_err(|error| match &server.user {
        Some(user) if error.lacks_privilege() && !nix::unistd::geteuid().is_root() => format!(
            "metrics.bind: {}; if this server gave its privileges up at the start, to run as {} (server.user), restart to bind the port",
            reworded(&error.to_string()),
            user.name
        ),
        Some(_) | None => format!("metrics.bind: {}", reworded(&error.to_string())),
    })
}

/// What is said of listeners advises on `server.bind`.
fn reworded(said: &str) -> String {
    said.replace(
        "this process listens there already: server.bind names it twice",
        "this server listens there itself: set metrics.bind to another address, or restart",
    )
    .replace("server.bind / --bind", "server.bind")
    .replace("server.bind", "metrics.bind")
}
