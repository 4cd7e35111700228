//! Which listeners the master has: those of `server.bind`, or the ones that the service manager passed, from socket units or
//! from its store; and what becomes of them when `server.bind` changes.
//!
//! A changed `server.bind` takes three steps. At the reload [`reconcile`] binds what is new, beside everything that is open: a
//! problem refuses the reload. The new generation is spawned with `listeners`. When it serves, [`adjust`] applies backlog and
//! permissions to what was kept, and `removed` is given to [`remove_files`] and dropped; when it is discarded, the same is
//! done to `bound`. So a reload that fails has changed nothing.
//!
//! A forked child must close every listener that is not of its own generation: the copy that it inherits would keep the
//! address listened on, with nobody to accept, beyond the end of the one that the master drops.

use std::fs;
use std::os::fd::RawFd;

use crate::config::Server;
use crate::net::inherit::{self, Passed};
use crate::net::{Address, Bind, Listener, SocketFile};

/// Opens every listener. A passed socket is taken for the address of `server.bind` that it has, and so is one that a
/// server before this one has left in the service manager's store. `removed` are the stored ones that are not wanted any
/// more: they are ended already.
///
/// # Errors
/// All addresses that cannot be listened on, a sentence each; then none is left open.
pub(super) fn open(server: &Server) -> Result<Reconciled, Vec<String>> {
    open_with(server, &inherit::take_passed())
}

fn open_with(server: &Server, passed: &[Passed]) -> Result<Reconciled, Vec<String>> {
    warn_of_short_backlog(server.backlog);
    let lent: Vec<RawFd> = passed.iter().filter(|it| !it.is_stored()).map(|it| it.fd).collect();
    let binds = choose(server, &lent);
    let Takings { passed: open, removed, mut problems } = take(passed, &binds);
    let is_among = |listener: &Listener, them: &[Listener]| them.iter().any(|it| it.is_same(listener));
    let mut listeners: Vec<Listener> = Vec::new();
    let mut descriptors = Vec::new();
    for bind in &binds {
        let found = match bind {
            // The number may be taken over once.
            Bind::Descriptor(fd) if descriptors.contains(fd) => Err(named_twice(bind)),
            Bind::Descriptor(fd) => {
                descriptors.push(*fd);
                match open.iter().find(|it| it.bind == *bind) {
                    Some(listener) => Ok(vec![listener.clone()]),
                    // Why it cannot be taken is said already.
                    None if lent.contains(fd) => Ok(Vec::new()),
                    None => Listener::inherit(*fd).map(|it| vec![it]).map_err(|error| error.to_string()),
                }
            }
            Bind::Tcp(_) | Bind::Name(..) | Bind::Unix(_) => {
                Listener::bind_beside(bind, server.backlog, server.socket_mode, &open)
                    .map_err(|error| error.to_string())
            }
        };
        match found {
            Ok(found) if found.iter().any(|it| is_among(it, &listeners)) => problems.push(named_twice(bind)),
            Ok(found) => listeners.extend(found),
            Err(problem) => problems.push(problem),
        }
    }
    let bound: Vec<_> = listeners.iter().filter(|it| !is_among(it, &open)).cloned().collect();
    if !problems.is_empty() {
        remove_files(&bound);
        return Err(problems);
    }
    let mut reconciled = Reconciled { listeners, bound, removed };
    for unused in open {
        if is_among(&unused, &reconciled.listeners) {
            continue;
        }
        if unused.is_lent() {
            warn_of_unused(&unused, passed);
        } else {
            unused.clone().end();
            reconciled.removed.push(unused);
        }
    }
    Ok(reconciled)
}

/// What came of what was passed.
struct Takings {
    passed: Vec<Listener>,
    /// Stored ones that are not wanted any more, ended, so that they are not in the way of what is bound next.
    removed: Vec<Listener>,
    problems: Vec<String>,
}

fn take(passed: &[Passed], binds: &[Bind]) -> Takings {
    let mut takings = Takings { passed: Vec::new(), removed: Vec::new(), problems: Vec::new() };
    for one in passed {
        match one.take() {
            Ok(listener) if listener.is_lent() || is_wanted(&listener, binds) => {
                takings.passed.push(listener)
            }
            Ok(listener) => {
                log::info!("no longer listening on {listener}, which was left by the server before this one");
                listener.clone().end();
                takings.removed.push(listener);
            }
            Err(error) if one.is_stored() => log::debug!("{}: {error}", one.name),
            Err(error) if binds.contains(&Bind::Descriptor(one.fd)) => {
                takings.problems.push(error.to_string())
            }
            Err(error) => log::warn!("{error}"),
        }
    }
    takings
}

/// Whether a listener may be for one of these addresses. What a name means is found out later.
fn is_wanted(listener: &Listener, binds: &[Bind]) -> bool {
    binds.iter().any(|bind| match (bind, &listener.local) {
        (Bind::Tcp(wanted), Address::Tcp(local)) => wanted == local,
        (Bind::Name(_, port), Address::Tcp(local)) => *port == local.port(),
        (Bind::Unix(wanted), Address::Unix(Some(local))) => wanted == local && listener.is_reachable(),
        (Bind::Tcp(_) | Bind::Name(..) | Bind::Unix(_) | Bind::Descriptor(_), _) => false,
    })
}

fn named_twice(bind: &Bind) -> String {
    format!("cannot listen on {bind}: server.bind names it twice")
}

fn warn_of_unused(listener: &Listener, passed: &[Passed]) {
    let Bind::Descriptor(fd) = listener.bind else { return };
    let name = passed.iter().find(|it| it.fd == fd).map(|it| it.name.as_str()).unwrap_or_default();
    log::warn!(
        "fd:{fd} ({name}, {listener}) was passed by the service manager but is not used: server.bind is set to other \
         addresses; remove server.bind, or add this address to it"
    );
}

/// The listeners of a new configuration in a server that runs.
#[derive(Debug)]
pub(super) struct Reconciled {
    /// Those of the new configuration, in its order. Kept ones share the descriptor with the one that was open.
    pub(super) listeners: Vec<Listener>,
    /// Those of them that were bound just now.
    pub(super) bound: Vec<Listener>,
    /// Those that were open and are not wanted any more.
    pub(super) removed: Vec<Listener>,
}

impl Reconciled {
    /// Whether the new configuration listens elsewhere than the one before.
    pub(super) fn moves(&self) -> bool {
        !self.bound.is_empty() || !self.removed.is_empty()
    }

    /// Those that there were before.
    pub(super) fn found(&self) -> impl Iterator<Item = &Listener> {
        let is_found = |it: &&Listener| !self.bound.iter().any(|bound| bound.is_same(it));
        self.listeners.iter().filter(is_found).chain(&self.removed)
    }
}

/// Keeps what is open and wanted, binds what is new, and names what is not wanted any more. Closes nothing: `current` are the
/// listeners of every generation that may yet serve.
///
/// # Errors
/// All addresses that cannot be listened on, a sentence each; then nothing has changed.
pub(super) fn reconcile(current: &[Listener], server: &Server) -> Result<Reconciled, Vec<String>> {
    let mut passed: Vec<RawFd> = Vec::new();
    for listener in current {
        match listener.bind {
            Bind::Descriptor(fd) if !passed.contains(&fd) => passed.push(fd),
            Bind::Descriptor(_) | Bind::Tcp(_) | Bind::Name(..) | Bind::Unix(_) => {}
        }
    }
    let is_among = |listener: &Listener, them: &[Listener]| them.iter().any(|it| it.is_same(listener));
    let mut listeners: Vec<Listener> = Vec::new();
    let mut problems = Vec::new();
    for bind in choose(server, &passed) {
        match keep_or_bind(&bind, current, &listeners, server) {
            Ok(found) if found.iter().any(|listener| is_among(listener, &listeners)) => {
                problems.push(named_twice(&bind));
            }
            Ok(found) => listeners.extend(found),
            Err(problem) => problems.push(problem),
        }
    }
    let bound: Vec<_> = listeners.iter().filter(|it| !is_among(it, current)).cloned().collect();
    if !problems.is_empty() {
        remove_files(&bound);
        return Err(problems);
    }
    let mut removed: Vec<Listener> = Vec::new();
    for listener in current {
        if !is_among(listener, &listeners) && !is_among(listener, &removed) {
            removed.push(listener.clone());
        }
    }
    Ok(Reconciled { listeners, bound, removed })
}

/// Brings the backlog and the permissions of kept listeners to what the configuration says, once its generation serves.
pub(super) fn adjust(listeners: &[Listener], server: &Server) {
    warn_of_short_backlog(server.backlog);
    for listener in listeners {
        if let Err(error) = listener.adjust(server.backlog, server.socket_mode) {
            log::error!(
                "{listener}: server.backlog and server.socket_mode cannot be applied: {error}; restart to apply them"
            );
        }
    }
}

/// Removes the socket files that these listeners made, as far as they are still theirs.
pub(super) fn remove_files(listeners: &[Listener]) {
    listeners.iter().filter_map(Listener::socket_file).for_each(SocketFile::remove);
}

/// The listeners of one address: those that are open for it, else new ones.
fn keep_or_bind(
    bind: &Bind,
    current: &[Listener],
    taken: &[Listener],
    server: &Server,
) -> Result<Vec<Listener>, String> {
    let is_free = |it: &&Listener| !taken.iter().any(|other| other.is_same(it));
    let written = current.iter().filter(|it| it.bind == *bind && it.is_reachable()).filter(is_free).cloned();
    // A name may have several listeners; an address with port 0 may be written several times, for one listener each.
    let mut kept: Vec<Listener> = Vec::new();
    for listener in written {
        let is_enough = !kept.is_empty() && !matches!(bind, Bind::Name(..));
        if !is_enough && !kept.iter().any(|it| it.is_same(&listener)) {
            kept.push(listener);
        }
    }
    if !kept.is_empty() {
        return Ok(kept);
    }
    if let Bind::Descriptor(fd) = bind {
        // The number may be another descriptor of this process by now.
        return Err(format!(
            "cannot listen on fd:{fd}: descriptors are taken over only at the start: restart to add one"
        ));
    }
    if let Some(obstacle) = current.iter().find(|it| is_in_the_way(&it.local, bind)) {
        return Err(format!(
            "cannot listen on {bind} while this server listens on {obstacle}: restart to change from one to the other"
        ));
    }
    Listener::bind_beside(bind, server.backlog, server.socket_mode, current).map_err(|error| {
        match &server.user {
            Some(user) if error.lacks_privilege() => format!(
                "{error}; this server gave its privileges up at the start, to run as {} (server.user): restart to bind the port",
                user.name
            ),
            Some(_) | None => error.to_string(),
        }
    })
}

/// Whether an open listener has the port of `bind` on all addresses, or `bind` wants it on all addresses.
fn is_in_the_way(local: &Address, bind: &Bind) -> bool {
    let (Address::Tcp(local), Bind::Tcp(wanted)) = (local, bind) else { return false };
    local != wanted
        && local.port() == wanted.port()
        && local.is_ipv4() == wanted.is_ipv4()
        && (local.ip().is_unspecified() || wanted.ip().is_unspecified())
}

/// What to bind: the sockets of socket units take the place of the default.
fn choose(server: &Server, lent: &[RawFd]) -> Vec<Bind> {
    if server.bind_is_default && !lent.is_empty() {
        return lent.iter().map(|&fd| Bind::Descriptor(fd)).collect();
    }
    server.bind.clone()
}

/// The kernel cuts a backlog silently (listen(2)).
fn warn_of_short_backlog(backlog: u32) {
    let limit =
        fs::read_to_string("/proc/sys/net/core/somaxconn").ok().and_then(|text| text.trim().parse().ok());
    if let Some(limit) = limit.filter(|&limit: &u32| backlog > limit) {
        log::warn!(
            "server.backlog = {backlog}: the system allows {limit} (net.core.somaxconn); raise it there, or lower server.backlog"
        );
    }
}

#[cfg(test)]
mod tests;
