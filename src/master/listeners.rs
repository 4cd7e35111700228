//! Which listeners the master has: those of `server.bind`, or the ones that the service manager passed.

use std::fs;
use std::os::fd::RawFd;

use crate::config::Server;
use crate::net::{Bind, Listener, SocketFile, inherit};

/// Opens every listener.
///
/// # Errors
/// All addresses that cannot be listened on, a sentence each; then none is left open.
pub(super) fn open(server: &Server) -> Result<Vec<Listener>, Vec<String>> {
    let passed = inherit::take_passed();
    let (binds, unused) = choose(server, &passed);
    for fd in unused {
        log::warn!(
            "fd:{fd} was passed by the service manager but is not used: server.bind is set; remove server.bind, or add \"fd:{fd}\" to it"
        );
        // Adopted and closed: nobody would ever accept from it.
        Listener::inherit(fd).ok();
    }
    warn_of_short_backlog(server.backlog);
    let mut listeners = Vec::new();
    let mut problems = Vec::new();
    let mut descriptors = Vec::new();
    for bind in &binds {
        if let Bind::Descriptor(fd) = bind {
            if descriptors.contains(fd) {
                problems.push(format!("cannot listen on fd:{fd}: server.bind names it twice"));
                continue;
            }
            descriptors.push(*fd);
        }
        match Listener::bind(bind, server.backlog, server.socket_mode) {
            Ok(bound) => listeners.extend(bound),
            Err(error) => problems.push(error.to_string()),
        }
    }
    if problems.is_empty() {
        return Ok(listeners);
    }
    listeners.iter().filter_map(Listener::socket_file).for_each(SocketFile::remove);
    Err(problems)
}

/// What to bind, and which passed descriptors nobody asked for.
fn choose(server: &Server, passed: &[RawFd]) -> (Vec<Bind>, Vec<RawFd>) {
    if server.bind_is_default && !passed.is_empty() {
        return (passed.iter().map(|&fd| Bind::Descriptor(fd)).collect(), Vec::new());
    }
    let unused = passed.iter().filter(|&&fd| !server.bind.contains(&Bind::Descriptor(fd)));
    (server.bind.clone(), unused.copied().collect())
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
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn server(bind: Vec<Bind>, bind_is_default: bool) -> Server {
        Server {
            bind,
            bind_is_default,
            backlog: 16,
            user: None,
            group: None,
            umask: None,
            socket_mode: 0o600,
            pid_file: None,
            process_name: "rwsgi".to_owned(),
        }
    }

    #[test]
    fn passed_sockets_replace_the_default_only() {
        let bind = vec![Bind::Tcp("127.0.0.1:8000".parse().unwrap())];
        assert_eq!(choose(&server(bind.clone(), true), &[]), (bind.clone(), vec![]));
        let passed = (vec![Bind::Descriptor(3), Bind::Descriptor(4)], vec![]);
        assert_eq!(choose(&server(bind.clone(), true), &[3, 4]), passed);
        assert_eq!(choose(&server(bind.clone(), false), &[3]), (bind, vec![3]));
        let explicit = vec![Bind::Descriptor(3)];
        assert_eq!(choose(&server(explicit.clone(), false), &[3, 4]), (explicit, vec![4]));
    }

    #[test]
    fn all_problems_are_reported_and_nothing_stays_behind() {
        let directory = tempfile::tempdir().unwrap();
        let good = directory.path().join("x.sock");
        let bind = vec![
            Bind::Unix(good.clone()),
            Bind::Unix(PathBuf::from("/no/such/directory/x.sock")),
            Bind::Descriptor(987_654),
            Bind::Descriptor(987_654),
        ];
        let problems = open(&server(bind, false)).unwrap_err();
        assert_eq!(problems.len(), 3, "{problems:?}");
        assert!(!good.exists());
    }
}
