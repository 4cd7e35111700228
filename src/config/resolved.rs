//! Settings as the program uses them: typed, checked, with every default filled in. How they are written is the
//! business of the table; no default is repeated here.

use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use crate::net::Bind;

/// All settings of one generation.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The configuration file, absolute, if there is one.
    pub file: Option<PathBuf>,
    /// `[app]`
    pub app: App,
    /// `[server]`
    pub server: Server,
    /// `[workers]`
    pub workers: Workers,
    /// `[http]`
    pub http: Http,
    /// `[proxy]`
    pub proxy: Proxy,
    /// `[reload]`
    pub reload: Reload,
    /// `[log]`
    pub log: Log,
    /// `control.socket`: absolute; `None` for the one that follows from the configuration file.
    pub control_socket: Option<PathBuf>,
    /// `metrics.bind`; never a descriptor.
    pub metrics_bind: Option<Bind>,
    /// `[hooks]`
    pub hooks: Hooks,
}

/// `MODULE[:CALLABLE]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Dotted module name.
    pub module: String,
    /// The callable as written: `application`, `site.wsgi_app`, `factory()`, `create_app("production", debug=False)`.
    pub callable: String,
}

/// `[app]`
#[derive(Debug, Clone)]
pub struct App {
    /// `app.target`
    pub target: Target,
    /// `app.directory`: absolute; the worker's working directory and first on `sys.path`.
    pub directory: PathBuf,
    /// `app.virtualenv`: absolute.
    pub virtualenv: Option<PathBuf>,
    /// `app.pythonpath`: absolute, put on `sys.path` after the directory.
    pub pythonpath: Vec<PathBuf>,
    /// `app.environment`: variables set in the worker before Python starts.
    pub environment: Vec<(String, String)>,
    /// `app.mount`: `""` or `/prefix` without a slash at its end.
    pub mount: String,
    /// `app.preload`
    pub preload: Preload,
}

/// `app.preload`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Preload {
    /// Fork from a template where that is safe.
    Auto,
    /// Always fork from a template.
    Always,
    /// Import in every worker.
    Never,
}

/// A user or group by name and number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// As written.
    pub name: String,
    /// The user's or group's number.
    pub id: u32,
    /// For a user: its primary group.
    pub primary_group: u32,
}

/// `[server]`
#[derive(Debug, Clone)]
pub struct Server {
    /// `server.bind`
    pub bind: Vec<Bind>,
    /// True when `server.bind` was left at its default, so that passed sockets (`LISTEN_FDS`) replace it.
    pub bind_is_default: bool,
    /// `server.backlog`
    pub backlog: u32,
    /// `server.user`
    pub user: Option<User>,
    /// `server.group`
    pub group: Option<User>,
    /// `server.umask`
    pub umask: Option<u32>,
    /// `server.socket_mode`: permissions of unix sockets.
    pub socket_mode: u32,
    /// `server.pid_file`: absolute.
    pub pid_file: Option<PathBuf>,
    /// `server.process_name`
    pub process_name: String,
}

/// `[workers]`
#[derive(Debug, Clone)]
pub struct Workers {
    /// `workers.count`, `"auto"` resolved.
    pub count: u32,
    /// `workers.threads`
    pub threads: u32,
    /// `workers.boot_timeout`
    pub boot_timeout: Duration,
    /// `workers.graceful_timeout`
    pub graceful_timeout: Duration,
    /// `workers.request_timeout`
    pub request_timeout: Option<Duration>,
    /// `workers.timeout_grace`
    pub timeout_grace: Duration,
    /// `workers.max_requests`; `None` for no limit.
    pub max_requests: Option<u64>,
    /// `workers.max_requests_jitter`
    pub max_requests_jitter: Jitter,
    /// `workers.max_memory`, bytes.
    pub max_memory: Option<u64>,
    /// `workers.max_lifetime`
    pub max_lifetime: Option<Duration>,
}

/// `workers.max_requests_jitter`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Jitter {
    /// Of the limit that it is added to.
    Percent(u8),
    /// Requests.
    Requests(u64),
}

/// `[reload]`
#[derive(Debug, Clone)]
pub struct Reload {
    /// `reload.check`
    pub check: Option<CheckTarget>,
}

/// What `reload.check` requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckTarget {
    /// Path and query, from the slash on.
    pub path: String,
    /// The Host field.
    pub host: String,
    /// Whether the application is to see `https`.
    pub https: bool,
}

/// `MODULE:FUNCTION` of a hook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hook {
    /// Dotted module name.
    pub module: String,
    /// Attribute path.
    pub function: String,
}

/// `[hooks]`
#[derive(Debug, Clone, Default)]
pub struct Hooks {
    /// `hooks.worker_start`
    pub worker_start: Option<Hook>,
    /// `hooks.worker_exit`
    pub worker_exit: Option<Hook>,
}

/// `[http]`. Timeouts of zero are not allowed; `None` is off.
#[derive(Debug, Clone)]
pub struct Http {
    /// `http.keep_alive`; zero: no connection is reused.
    pub keep_alive: Duration,
    /// `http.header_timeout`: for the whole head.
    pub header_timeout: Duration,
    /// `http.body_timeout`: between two reads of a body.
    pub body_timeout: Duration,
    /// `http.write_timeout`: without any progress of writing.
    pub write_timeout: Duration,
    /// `http.max_request_line`, bytes.
    pub max_request_line: usize,
    /// `http.max_headers`, a count.
    pub max_headers: usize,
    /// `http.max_header_bytes`
    pub max_header_bytes: usize,
    /// `http.max_body`, bytes.
    pub max_body: u64,
    /// `http.body_memory`, bytes.
    pub body_memory: usize,
    /// `http.request_buffering`
    pub request_buffering: bool,
    /// `http.max_connections`, a worker.
    pub max_connections: usize,
    /// `http.queue_timeout`
    pub queue_timeout: Option<Duration>,
    /// `http.server_header`; empty for none.
    pub server_header: String,
}

/// `proxy.trusted`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trusted {
    /// Networks of trusted peers.
    pub networks: Vec<IpNet>,
    /// Whether every peer on a unix socket is trusted.
    pub unix: bool,
}

/// `proxy.forwarded`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forwarded {
    /// No forwarding header is believed.
    None,
    /// `X-Forwarded-Proto` only.
    Scheme,
    /// `X-Forwarded-Proto`, `-For`, `-Host`, `-Port`, `-Prefix` and `Forwarded` (RFC 7239).
    All,
}

/// `proxy.protocol`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyProtocol {
    /// Not expected.
    Off,
    /// Version 1 (text) required.
    V1,
    /// Version 2 (binary) required.
    V2,
    /// Either version, required.
    Auto,
}

/// `[proxy]`
#[derive(Debug, Clone)]
pub struct Proxy {
    /// `proxy.trusted`
    pub trusted: Trusted,
    /// `proxy.forwarded`
    pub forwarded: Forwarded,
    /// `proxy.protocol`
    pub protocol: ProxyProtocol,
}

/// Where a log goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sink {
    /// Nowhere.
    Off,
    /// Standard error for the error log, standard output for the access log.
    Standard,
    /// A file, absolute.
    File(PathBuf),
}

/// `log.format`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// One line of text a record.
    Text,
    /// One JSON object a line.
    Json,
}

/// `[log]`
#[derive(Debug, Clone)]
pub struct Log {
    /// `log.level`
    pub level: log::LevelFilter,
    /// `log.file`
    pub file: Sink,
    /// `log.format`
    pub format: LogFormat,
    /// `log.access`
    pub access: Sink,
    /// `log.access_format`: `combined`, `json`, or a format of gunicorn's atoms, as written.
    pub access_format: String,
    /// `log.access_exclude`: paths that are not logged; `/static/*` excludes all below.
    pub access_exclude: Vec<String>,
    /// `log.slow_request`: log a warning for requests that took longer.
    pub slow_request: Option<Duration>,
}
