//! Tests of whole configurations: the three sources in, settings out. The messages are tested in `messages`.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use log::LevelFilter;
use tempfile::TempDir;

mod corpus;
mod messages;

use super::*;
use crate::net::Bind;

/// A folder with an `app.toml`, and the sources around it.
struct Site {
    folder: TempDir,
    file: Option<PathBuf>,
    variables: Vec<(OsString, OsString)>,
    flags: Vec<FlagValues>,
    on_terminal: bool,
}

impl Site {
    fn new(text: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("app.toml"), text).unwrap();
        let file = Some(PathBuf::from("app.toml"));
        Self { folder, file, variables: Vec::new(), flags: Vec::new(), on_terminal: false }
    }

    /// A file with a target and these lines after it.
    fn with(lines: &str) -> Self {
        Self::new(&format!("app.target = \"app\"\n{lines}\n"))
    }

    fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.into(), value.into()));
        self
    }

    fn flag(mut self, section: &str, key: &str, values: &[&str]) -> Self {
        let values = values.iter().map(|value| (*value).to_owned()).collect();
        self.flags.push(FlagValues { setting: table::find(section, key).unwrap(), values });
        self
    }

    fn directory(self, name: &str) -> Self {
        std::fs::create_dir_all(self.path(name)).unwrap();
        self
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn sources(&self) -> Sources {
        let folder = self.folder.path().to_owned();
        Sources::new(self.file.clone(), self.variables.clone(), self.flags.clone(), folder, self.on_terminal)
    }

    fn settings(&self) -> Settings {
        self.sources().load().unwrap_or_else(|problems| panic!("{problems}"))
    }

    fn problems(&self) -> Vec<String> {
        self.sources().load().unwrap_err().lines().to_vec()
    }

    /// The only problem, without the folder's path.
    fn problem(&self) -> String {
        let problems = self.problems();
        assert_eq!(problems.len(), 1, "{problems:#?}");
        problems[0].replace(&format!("{}/", self.folder.path().display()), "FOLDER/")
    }
}

#[test]
fn defaults() {
    let site = Site::with("");
    let settings = site.settings();
    assert_eq!(settings.file, Some(site.path("app.toml")));
    assert_eq!(settings.app.target, Target { module: "app".into(), callable: "application".into() });
    assert_eq!(settings.app.directory, site.folder.path());
    assert_eq!((settings.app.virtualenv, settings.app.mount), (None, String::new()));
    assert_eq!(settings.server.bind, [Bind::Tcp("127.0.0.1:8000".parse().unwrap())]);
    assert!(settings.server.bind_is_default);
    assert_eq!(
        (settings.server.backlog, settings.server.socket_mode, settings.server.umask),
        (4096, 0o666, None)
    );
    assert_eq!((settings.server.user, settings.server.group, settings.server.pid_file), (None, None, None));
    assert_eq!(settings.server.process_name, "rwsgi");
    assert!(settings.workers.count >= 1);
    assert_eq!(settings.workers.threads, 1);
    assert_eq!(settings.workers.boot_timeout, Duration::from_secs(60));
    assert_eq!(settings.workers.graceful_timeout, Duration::from_secs(30));
    assert_eq!(settings.workers.request_timeout, Some(Duration::from_secs(30)));
    assert_eq!(settings.workers.timeout_grace, Duration::from_secs(5));
    assert_eq!(settings.workers.max_requests_jitter, Jitter::Percent(10));
    assert_eq!((settings.workers.max_requests, settings.workers.max_memory), (None, None));
    assert_eq!((settings.workers.max_lifetime, settings.app.preload), (None, Preload::Auto));
    assert_eq!((settings.reload.check, settings.control_socket), (None, None));
    assert_eq!((settings.hooks.worker_start, settings.hooks.worker_exit), (None, None));
    let http = settings.http;
    assert_eq!(http.keep_alive, Duration::from_secs(75));
    assert_eq!(http.header_timeout, Duration::from_secs(10));
    assert_eq!((http.body_timeout, http.write_timeout), (Duration::from_secs(30), Duration::from_secs(30)));
    assert_eq!((http.max_request_line, http.max_headers, http.max_header_bytes), (8192, 100, 32_768));
    assert_eq!((http.max_body, http.body_memory), (1 << 30, 256 << 10));
    assert!(http.request_buffering);
    assert_eq!((http.max_connections, http.queue_timeout), (4096, None));
    assert_eq!(http.server_header, "rwsgi");
    assert_eq!(settings.proxy.trusted.networks.len(), 2);
    assert!(settings.proxy.trusted.unix);
    assert_eq!((settings.proxy.forwarded, settings.proxy.protocol), (Forwarded::Scheme, ProxyProtocol::Off));
    let log = settings.log;
    assert_eq!((log.level, log.format), (LevelFilter::Info, LogFormat::Text));
    assert_eq!((log.file, log.access), (Sink::Standard, Sink::Off));
    assert_eq!(log.access_format, "combined");
    assert_eq!((log.access_exclude, log.slow_request), (Vec::<String>::new(), None));
}

#[test]
fn the_access_log_is_on_where_standard_output_is_a_terminal() {
    let mut site = Site::with("");
    site.on_terminal = true;
    assert_eq!(site.settings().log.access, Sink::Standard);
}

#[test]
fn every_kind_of_value_in_the_file() {
    let site = Site::new(
        r#"
[app]
target = "site.wsgi:make()"
directory = "src"
pythonpath = ["lib"]
environment = { DEBUG = "1", MODE = "x,y" }
mount = "/shop/"
[server]
bind = ["[::1]:8000", "unix:run/app.sock"]
umask = 0o027
socket_mode = "0660"
pid_file = "run/pid"
[workers]
count = 3
graceful_timeout = "1m30s"
[http]
keep_alive = "0s"
max_body = 1000
body_memory = "0B"
request_buffering = false
queue_timeout = "5s"
server_header = ""
[proxy]
trusted = ["10.1.2.3/8", "*"]
forwarded = "all"
protocol = "v2"
[log]
level = "debug"
file = "run/error.log"
format = "json"
access = "-"
access_exclude = "/healthz"
slow_request = "2s"
"#,
    );
    let site = site.directory("src").directory("lib").directory("run");
    let settings = site.settings();
    assert_eq!(settings.app.target, Target { module: "site.wsgi".into(), callable: "make()".into() });
    assert_eq!((settings.app.directory, settings.app.pythonpath), (site.path("src"), vec![site.path("lib")]));
    let environment = [("DEBUG".to_owned(), "1".to_owned()), ("MODE".to_owned(), "x,y".to_owned())];
    assert_eq!(
        (settings.app.environment.as_slice(), settings.app.mount.as_str()),
        (&environment[..], "/shop")
    );
    let tcp: SocketAddr = "[::1]:8000".parse().unwrap();
    assert_eq!(settings.server.bind, [Bind::Tcp(tcp), Bind::Unix(site.path("run/app.sock"))]);
    assert!(!settings.server.bind_is_default);
    assert_eq!((settings.server.umask, settings.server.socket_mode), (Some(0o027), 0o660));
    assert_eq!(settings.server.pid_file, Some(site.path("run/pid")));
    assert_eq!((settings.workers.count, settings.workers.graceful_timeout), (3, Duration::from_secs(90)));
    assert_eq!((settings.http.keep_alive, settings.http.max_body), (Duration::ZERO, 1000));
    assert_eq!((settings.http.body_memory, settings.http.request_buffering), (0, false));
    assert_eq!(settings.http.queue_timeout, Some(Duration::from_secs(5)));
    assert_eq!(settings.http.server_header, "");
    let networks: Vec<_> = settings.proxy.trusted.networks.iter().map(ToString::to_string).collect();
    assert_eq!(networks, ["10.0.0.0/8", "0.0.0.0/0", "::/0"]);
    assert!(settings.proxy.trusted.unix);
    assert_eq!((settings.proxy.forwarded, settings.proxy.protocol), (Forwarded::All, ProxyProtocol::V2));
    assert_eq!((settings.log.level, settings.log.format), (LevelFilter::Debug, LogFormat::Json));
    assert_eq!(settings.log.file, Sink::File(site.path("run/error.log")));
    assert_eq!(
        (settings.log.access, settings.log.access_exclude),
        (Sink::Standard, vec!["/healthz".to_owned()])
    );
    assert_eq!(settings.log.slow_request, Some(Duration::from_secs(2)));
}

#[test]
fn what_keeps_a_server_up_is_read() {
    let site = Site::new(
        r#"
[app]
target = "app"
preload = false
[workers]
request_timeout = "off"
timeout_grace = "1s"
max_requests = 1000
max_requests_jitter = 5
max_memory = "256MiB"
max_lifetime = "1h"
[reload]
check = "https://www.example.org/health?deep=1"
[control]
socket = "control.sock"
[hooks]
worker_start = "site.hooks:start"
worker_exit = "hooks:Hooks.exit"
"#,
    );
    let settings = site.settings();
    let workers = &settings.workers;
    assert_eq!((workers.request_timeout, workers.timeout_grace), (None, Duration::from_secs(1)));
    assert_eq!((workers.max_requests, workers.max_requests_jitter), (Some(1000), Jitter::Requests(5)));
    assert_eq!(
        (workers.max_memory, workers.max_lifetime),
        (Some(256 << 20), Some(Duration::from_secs(3600)))
    );
    assert_eq!(settings.app.preload, Preload::Never);
    let (path, host) = ("/health?deep=1".to_owned(), "www.example.org".to_owned());
    assert_eq!(settings.reload.check, Some(CheckTarget { path, host, https: true }));
    assert_eq!(settings.control_socket, Some(site.path("control.sock")));
    let hook = |module: &str, function: &str| Hook { module: module.into(), function: function.into() };
    assert_eq!(settings.hooks.worker_start, Some(hook("site.hooks", "start")));
    assert_eq!(settings.hooks.worker_exit, Some(hook("hooks", "Hooks.exit")));
}

#[test]
fn preload_jitter_and_check_in_their_other_forms() {
    for (written, preload) in
        [("true", Preload::Always), ("false", Preload::Never), ("\"auto\"", Preload::Auto)]
    {
        assert_eq!(Site::with(&format!("app.preload = {written}")).settings().app.preload, preload);
        let site = Site::with("").variable("RWSGI_APP_PRELOAD", written.trim_matches('"'));
        assert_eq!(site.settings().app.preload, preload);
    }
    for (written, jitter) in [
        ("\"0%\"", Jitter::Percent(0)),
        ("\"100%\"", Jitter::Percent(100)),
        ("\"7\"", Jitter::Requests(7)),
        ("0", Jitter::Requests(0)),
    ] {
        let site = Site::with(&format!("workers.max_requests_jitter = {written}"));
        assert_eq!(site.settings().workers.max_requests_jitter, jitter);
    }
    for (written, path, host, https) in [
        ("/health", "/health", "localhost", false),
        ("http://example.org", "/", "example.org", false),
        ("https://example.org:8443/", "/", "example.org:8443", true),
    ] {
        let site = Site::with(&format!("reload.check = \"{written}\""));
        let (path, host) = (path.to_owned(), host.to_owned());
        assert_eq!(site.settings().reload.check, Some(CheckTarget { path, host, https }));
    }
    assert_eq!(Site::with("workers.max_memory = \"off\"").settings().workers.max_memory, None);
    assert_eq!(Site::with("workers.max_memory = 1048576").settings().workers.max_memory, Some(1 << 20));
}

#[test]
fn the_command_line_is_stronger_than_the_environment_than_the_file() {
    let site = Site::with("workers.count = 2");
    assert_eq!(site.settings().workers.count, 2);
    let site = site.variable("RWSGI_WORKERS_COUNT", "3");
    assert_eq!(site.settings().workers.count, 3);
    let site = site.flag("workers", "count", &["4"]);
    assert_eq!(site.settings().workers.count, 4);
}

#[test]
fn lists_in_the_environment_and_on_the_command_line() {
    let site = Site::with("").directory("a").directory("b");
    let site = site
        .variable("RWSGI_SERVER_BIND", ":80, unix:x.sock")
        .variable("RWSGI_APP_PYTHONPATH", "a:b")
        .variable("RWSGI_APP_ENVIRONMENT", "A=1,B=2")
        .flag("app", "environment", &["B=3,4=5", "C="])
        .flag("log", "access_exclude", &["/a,/b", "/c"]);
    let settings = site.settings();
    assert_eq!(
        settings.server.bind,
        [Bind::Tcp("0.0.0.0:80".parse().unwrap()), Bind::Unix(site.path("x.sock"))]
    );
    assert_eq!(settings.app.pythonpath, [site.path("a"), site.path("b")]);
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(settings.app.environment, [pair("A", "1"), pair("B", "3,4=5"), pair("C", "")]);
    assert_eq!(settings.log.access_exclude, ["/a", "/b", "/c"]);
}

#[test]
fn variables_that_are_not_ours_are_ignored() {
    let site = Site::with("").variable("RWSGI_RELEASE", "7").variable("RWSGIX", "").variable("PATH", "/bin");
    site.settings();
}

#[test]
fn virtual_environments() {
    let site = Site::with("app.virtualenv = \"env\"").directory("env");
    assert_eq!(
        site.problem(),
        "app.toml:2: app.virtualenv = \"env\": FOLDER/env has no bin/python: write the path of a virtual environment, \
         or make one with python3 -m venv FOLDER/env"
    );
    let site = site.directory("env/bin");
    std::fs::write(site.path("env/bin/python"), "").unwrap();
    assert_eq!(site.settings().app.virtualenv, Some(site.path("env")));

    let site = Site::with("").directory(".venv/bin").directory("other/bin");
    std::fs::write(site.path(".venv/bin/python"), "").unwrap();
    std::fs::write(site.path("other/bin/python"), "").unwrap();
    assert_eq!(site.settings().app.virtualenv, Some(site.path(".venv")));
    let other = site.path("other").to_str().unwrap().to_owned();
    let site = site.variable("VIRTUAL_ENV", &other);
    assert_eq!(site.settings().app.virtualenv, Some(site.path("other")));
    let site = Site::with("").variable("VIRTUAL_ENV", "/nonexistent");
    assert_eq!(
        site.problem(),
        "VIRTUAL_ENV: app.virtualenv = /nonexistent: /nonexistent: does not exist: create it or correct the path"
    );
}

#[test]
fn a_program_in_a_virtual_environment_uses_it_when_no_other_is_named() {
    let site = Site::with("").directory("env/bin").directory("tools/bin");
    let of =
        |program: &str| site.sources().with_program(Some(site.path(program))).load().unwrap().app.virtualenv;
    std::fs::write(site.path("env/bin/python"), "").unwrap();
    assert_eq!(of("env/bin/rwsgi"), None, "a Python beside the program makes no virtual environment");
    std::fs::write(site.path("env/pyvenv.cfg"), "home = /usr/bin\n").unwrap();
    assert_eq!(of("env/bin/rwsgi"), Some(site.path("env")));
    assert_eq!(of("tools/bin/rwsgi"), None);
    std::fs::create_dir_all(site.path(".venv/bin")).unwrap();
    std::fs::write(site.path(".venv/bin/python"), "").unwrap();
    assert_eq!(of("env/bin/rwsgi"), Some(site.path(".venv")));
}

#[test]
fn without_a_file_the_current_directory_counts() {
    let mut site = Site::new("");
    site.file = None;
    assert_eq!(
        site.problem(),
        "app.target: is not set: write which application to run: rwsgi MODULE:CALLABLE"
    );
    assert!(site.sources().is_empty());
    let site = site.flag("app", "target", &["app:app"]);
    assert!(!site.sources().is_empty());
    let settings = site.settings();
    assert_eq!((settings.file, settings.app.directory), (None, site.folder.path().to_owned()));
    let site = site.flag("app", "target", &["app.py"]);
    assert_eq!(
        site.problem(),
        "command line: app.target = app.py: is a file name: write the module's name, \"app:application\""
    );
}

#[test]
fn relative_paths_start_at_the_file_or_at_the_current_directory() {
    let mut site = Site::new("").directory("conf/run").directory("run");
    std::fs::write(site.path("conf/app.toml"), "app.target = \"app\"\nserver.pid_file = \"run/pid\"")
        .unwrap();
    site.file = Some("./conf//app.toml".into());
    let settings = site.settings();
    assert_eq!(settings.app.directory.to_str(), site.path("conf").to_str());
    assert_eq!(settings.server.pid_file, Some(site.path("conf/run/pid")));
    let site = site.flag("server", "pid_file", &["run/pid"]);
    assert_eq!(site.settings().server.pid_file, Some(site.path("run/pid")));
}

#[test]
fn a_reload_reads_the_file_again_and_keeps_the_command_line() {
    let site = Site::with("workers.threads = 2").flag("workers", "count", &["3"]);
    let sources = site.sources();
    let workers = sources.load().unwrap().workers;
    assert_eq!((workers.count, workers.threads), (3, 2));
    std::fs::write(site.path("app.toml"), "app.target = \"app\"\nworkers = { count = 9, threads = 4 }")
        .unwrap();
    let workers = sources.load().unwrap().workers;
    assert_eq!((workers.count, workers.threads), (3, 4));
    std::fs::remove_file(site.path("app.toml")).unwrap();
    assert!(sources.load().is_err());
}

#[test]
fn the_control_socket_is_known_of_a_configuration_that_is_broken_elsewhere() {
    let site = Site::new("[control]\nsocket = \"c.sock\"\n[workers]\ncount = 0\n[app]\ntarget = =\n");
    assert!(site.problems().len() > 1);
    assert_eq!(site.sources().control_socket(), Some(site.path("c.sock")));
    let other = site.path("other.sock").to_str().unwrap().to_owned();
    let site = site.variable("RWSGI_CONTROL_SOCKET", &other);
    assert_eq!(site.sources().control_socket(), Some(site.path("other.sock")));
    assert_eq!(Site::with("").sources().control_socket(), None);
    assert_eq!(Site::with("control.socket = 1").sources().control_socket(), None);
    let mut site = Site::with("");
    site.file = Some("missing.toml".into());
    assert_eq!(site.sources().control_socket(), None);
    assert_eq!(site.sources().absolute_file(), Some(site.path("missing.toml")));
}
