//! What `rwsgi check` warns of: settings that are valid, and will hurt in production. One sentence each: the value, why it
//! hurts, what to do.
//!
//! [`Surroundings::look`] looks at the machine; the rest compares plain values. A limit that cannot be read is not warned of.
//! The limits are those of the shell that runs the check; a service manager may set others.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit};
use nix::unistd::geteuid;

use crate::config::{Forwarded, Settings, Sink};
use crate::net::Bind;

/// For how long nginx keeps an idle connection to an upstream server (`keepalive_timeout` of `upstream`).
const PROXY_KEEP_ALIVE: Duration = Duration::from_secs(60);
/// For how long nginx waits for an answer (`proxy_read_timeout`).
const PROXY_PATIENCE: Duration = Duration::from_secs(60);
/// Descriptors that a process needs besides those of connections and processes: its own, logs, listeners, and what an
/// application usually has open.
const OTHER_DESCRIPTORS: u64 = 64;
/// Descriptors of the master for each worker (its channel, its scoreboard), and during a reload there are two generations.
const MASTER_DESCRIPTORS_PER_WORKER: u64 = 2 * 2;

/// What the warnings depend on besides the settings.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Surroundings {
    /// `net.core.somaxconn`
    somaxconn: Option<u32>,
    /// The soft and the hard limit of open files.
    open_files: Option<(u64, u64)>,
    is_root: bool,
    /// What everybody may write to: what it is for, and its path.
    exposed: Vec<(&'static str, PathBuf)>,
}

/// Whether a file or directory is open to everybody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Exposure {
    /// Everybody may change what is in it.
    Any,
    /// Everybody may remove what belongs to others; in a sticky directory, as `/tmp`, nobody may.
    Removal,
}

impl Surroundings {
    /// Looks at this machine.
    pub(super) fn look(settings: &Settings) -> Self {
        let somaxconn = fs::read_to_string("/proc/sys/net/core/somaxconn").ok();
        let exposed = places(settings).into_iter().filter(|(_, path, exposure)| is_exposed(path, *exposure));
        Self {
            somaxconn: somaxconn.and_then(|text| text.trim().parse().ok()),
            open_files: getrlimit(Resource::RLIMIT_NOFILE).ok(),
            is_root: geteuid().is_root(),
            exposed: exposed.map(|(purpose, path, _)| (purpose, path)).collect(),
        }
    }
}

/// All warnings.
pub(super) fn warnings(settings: &Settings, around: &Surroundings) -> Vec<String> {
    let mut all = Vec::new();
    all.extend(keep_alive(settings));
    all.extend(request_timeout(settings));
    all.extend(backlog(settings, around));
    all.extend(open_files(settings, around));
    all.extend(trusts_everybody(settings));
    if around.is_root && settings.server.user.is_none() {
        all.push(
            "server.user is not set and rwsgi is run as root: whoever finds a hole in the application has the machine: \
             set server.user, or start rwsgi as another user"
                .to_owned(),
        );
    }
    for (purpose, path) in &around.exposed {
        all.push(format!(
            "{} ({purpose}) is writable for everybody: any user of this machine can replace what is there: chmod o-w {}",
            path.display(),
            path.display()
        ));
    }
    all
}

fn keep_alive(settings: &Settings) -> Option<String> {
    let keep_alive = settings.http.keep_alive;
    (!keep_alive.is_zero() && keep_alive <= PROXY_KEEP_ALIVE).then(|| {
        format!(
            "http.keep_alive = \"{keep_alive:?}\": a proxy that keeps connections for longer (nginx: 60s, \
             keepalive_timeout of upstream) sends requests on connections that are being closed, and answers 502: set \
             \"75s\", or more than what the proxy has"
        )
    })
}

fn request_timeout(settings: &Settings) -> Option<String> {
    let why = "a proxy does not wait for longer (nginx: 60s, proxy_read_timeout) and answers 504 while the worker goes on with \
               work that nobody waits for";
    match settings.workers.request_timeout {
        Some(timeout) if timeout < PROXY_PATIENCE => None,
        Some(timeout) => Some(format!(
            "workers.request_timeout = \"{timeout:?}\": {why}: set less than 60s, or give the proxy more than {timeout:?}"
        )),
        None => Some(format!(
            "workers.request_timeout = \"off\": {why}, and a request that is stuck blocks its thread for ever: set less \
             than 60s"
        )),
    }
}

fn backlog(settings: &Settings, around: &Surroundings) -> Option<String> {
    let backlog = settings.server.backlog;
    let most = around.somaxconn.filter(|most| *most < backlog)?;
    Some(format!(
        "server.backlog = {backlog}: the kernel queues only {most} connections (net.core.somaxconn), more are turned away \
         or wait for a second and longer: sysctl -w net.core.somaxconn={backlog}, or set server.backlog to {most}"
    ))
}

fn open_files(settings: &Settings, around: &Surroundings) -> Option<String> {
    let (soft, hard) = around.open_files?;
    let connections = settings.http.max_connections as u64;
    let threads = u64::from(settings.workers.threads);
    // Each thread may have a spooled body or a file that it sends.
    let worker = connections + threads + OTHER_DESCRIPTORS;
    let master = u64::from(settings.workers.count) * MASTER_DESCRIPTORS_PER_WORKER + OTHER_DESCRIPTORS;
    let (whose, needed) = if worker >= master {
        (format!("http.max_connections = {connections}: a worker"), worker)
    } else {
        (format!("workers.count = {}: the master", settings.workers.count), master)
    };
    (soft < needed).then(|| {
        let hard = match hard {
            hard if hard >= needed => String::new(),
            hard => format!(" (the hard limit is {hard})"),
        };
        format!(
            "{whose} needs up to {needed} descriptors, but the limit of open files is {soft} here{hard}: set LimitNOFILE= \
             of the service, or ulimit -n, to {needed} or more, or lower the setting"
        )
    })
}

fn trusts_everybody(settings: &Settings) -> Option<String> {
    let everybody = settings.proxy.trusted.networks.iter().find(|network| network.prefix_len() == 0)?;
    if settings.proxy.forwarded == Forwarded::None {
        return None;
    }
    let bind = settings.server.bind.iter().find(|bind| is_reachable(bind))?;
    Some(format!(
        "proxy.trusted has \"{everybody}\" and server.bind \"{bind}\" is reachable from outside: every client can choose the \
         address and the scheme that the application sees: list only the addresses of the proxies"
    ))
}

/// Whether other machines can connect to it. Of a descriptor it is not known.
fn is_reachable(bind: &Bind) -> bool {
    match bind {
        Bind::Tcp(address) => !address.ip().is_loopback(),
        Bind::Name(name, _) => name != "localhost",
        Bind::Unix(_) | Bind::Descriptor(_) => false,
    }
}

/// The places where it matters who may write.
fn places(settings: &Settings) -> Vec<(&'static str, PathBuf, Exposure)> {
    let app = &settings.app;
    let mut places = vec![("app.directory", app.directory.clone(), Exposure::Any)];
    let paths = app.pythonpath.iter().map(|path| ("app.pythonpath", path.clone(), Exposure::Any));
    places.extend(paths);
    places.extend(app.virtualenv.iter().map(|path| ("app.virtualenv", path.clone(), Exposure::Any)));
    let folder = |purpose, path: &Path| Some((purpose, path.parent()?.to_owned(), Exposure::Removal));
    if let Some(file) = &settings.file {
        places.push(("the configuration", file.clone(), Exposure::Any));
        places.extend(folder("the folder of the configuration", file));
    }
    for bind in &settings.server.bind {
        if let Bind::Unix(path) = bind {
            places.extend(folder("the folder of the socket in server.bind", path));
        }
    }
    for (purpose, sink) in
        [("the folder of log.file", &settings.log.file), ("the folder of log.access", &settings.log.access)]
    {
        if let Sink::File(path) = sink {
            places.extend(folder(purpose, path));
        }
    }
    if let Some(path) = &settings.server.pid_file {
        places.extend(folder("the folder of server.pid_file", path));
    }
    // A folder with several purposes is told once.
    let mut seen = Vec::new();
    places.retain(|(_, path, _)| {
        let is_new = !seen.contains(path);
        seen.push(path.clone());
        is_new
    });
    places
}

fn is_exposed(path: &Path, exposure: Exposure) -> bool {
    // Of what is missing, others have told already.
    let Ok(metadata) = fs::metadata(path) else { return false };
    let mode = metadata.permissions().mode();
    let is_sticky = mode & 0o1000 != 0 && metadata.is_dir();
    mode & 0o002 != 0 && (exposure == Exposure::Any || !is_sticky)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Trusted;

    fn settings() -> Settings {
        let mut settings = Settings::for_tests();
        // Whatever the processors of this machine are.
        (settings.workers.count, settings.workers.threads) = (4, 2);
        settings
    }

    fn roomy() -> Surroundings {
        Surroundings {
            somaxconn: Some(65_535),
            open_files: Some((65_536, 65_536)),
            ..Surroundings::default()
        }
    }

    fn only(settings: &Settings, around: &Surroundings) -> String {
        let all = warnings(settings, around);
        assert_eq!(all.len(), 1, "{all:?}");
        all.into_iter().next().unwrap()
    }

    #[test]
    fn the_defaults_are_fit_for_production() {
        assert_eq!(warnings(&settings(), &roomy()), Vec::<String>::new());
        // What cannot be read is not warned of.
        assert_eq!(warnings(&settings(), &Surroundings::default()), Vec::<String>::new());
    }

    #[test]
    fn keep_alive_is_longer_than_that_of_the_proxy() {
        for (seconds, is_warned) in [(0, false), (1, true), (60, true), (61, false)] {
            let mut settings = settings();
            settings.http.keep_alive = Duration::from_secs(seconds);
            assert_eq!(!warnings(&settings, &roomy()).is_empty(), is_warned, "{seconds}");
            if is_warned {
                let said = only(&settings, &roomy());
                assert!(said.starts_with(&format!("http.keep_alive = \"{seconds}s\": ")), "{said}");
            }
        }
    }

    #[test]
    fn a_request_ends_before_the_patience_of_the_proxy() {
        let mut settings = settings();
        settings.workers.request_timeout = Some(Duration::from_secs(59));
        assert_eq!(warnings(&settings, &roomy()), Vec::<String>::new());
        settings.workers.request_timeout = Some(Duration::from_secs(60));
        assert!(only(&settings, &roomy()).starts_with("workers.request_timeout = \"60s\": "));
        settings.workers.request_timeout = None;
        assert!(only(&settings, &roomy()).starts_with("workers.request_timeout = \"off\": "));
    }

    #[test]
    fn limits_of_the_kernel_are_compared() {
        let small = Surroundings { somaxconn: Some(128), ..roomy() };
        let said = only(&settings(), &small);
        assert!(said.contains("server.backlog = 4096: the kernel queues only 128 connections"), "{said}");
        // 4096 connections, 2 threads, 64 others.
        let enough = Surroundings { open_files: Some((4162, 4162)), ..roomy() };
        assert_eq!(warnings(&settings(), &enough), Vec::<String>::new());
        let few = Surroundings { open_files: Some((4161, 4161)), ..roomy() };
        let said = only(&settings(), &few);
        assert!(
            said.starts_with("http.max_connections = 4096: a worker needs up to 4162 descriptors"),
            "{said}"
        );
        assert!(said.contains("is 4161 here (the hard limit is 4161)"), "{said}");
        let mut many = settings();
        (many.workers.count, many.http.max_connections) = (1000, 10);
        let said = only(&many, &few_open(1024));
        assert!(said.starts_with("workers.count = 1000: the master needs up to 4064 descriptors"), "{said}");
    }

    fn few_open(soft: u64) -> Surroundings {
        Surroundings { open_files: Some((soft, 1 << 20)), ..roomy() }
    }

    #[test]
    fn everybody_is_trusted_only_where_nobody_comes() {
        let mut settings = settings();
        let networks = vec!["127.0.0.0/8".parse().unwrap(), "0.0.0.0/0".parse().unwrap()];
        settings.proxy.trusted = Trusted { networks, unix: true };
        settings.server.bind = vec![Bind::Tcp("127.0.0.1:80".parse().unwrap()), Bind::Unix("/s".into())];
        assert_eq!(warnings(&settings, &roomy()), Vec::<String>::new());
        settings.server.bind.push(Bind::Tcp("0.0.0.0:80".parse().unwrap()));
        let said = only(&settings, &roomy());
        assert!(said.starts_with("proxy.trusted has \"0.0.0.0/0\" and server.bind \"0.0.0.0:80\""), "{said}");
        settings.proxy.forwarded = Forwarded::None;
        assert_eq!(warnings(&settings, &roomy()), Vec::<String>::new());
    }

    #[test]
    fn root_and_what_is_open_to_everybody() {
        let root = Surroundings { is_root: true, ..roomy() };
        assert!(only(&settings(), &root).starts_with("server.user is not set and rwsgi is run as root"));
        let exposed = vec![("app.directory", PathBuf::from("/srv/app"))];
        let said = only(&settings(), &Surroundings { exposed, ..roomy() });
        assert!(said.starts_with("/srv/app (app.directory) is writable for everybody"), "{said}");
    }

    #[test]
    fn a_sticky_directory_protects_sockets_but_no_code() {
        let folder = tempfile::tempdir().unwrap();
        for (mode, any, removal) in
            [(0o755, false, false), (0o775, false, false), (0o777, true, true), (0o1777, true, false)]
        {
            fs::set_permissions(folder.path(), fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(is_exposed(folder.path(), Exposure::Any), any, "{mode:o}");
            assert_eq!(is_exposed(folder.path(), Exposure::Removal), removal, "{mode:o}");
        }
        assert!(!is_exposed(&folder.path().join("missing"), Exposure::Any));
    }
}
