//! From what was written to [`Settings`]: the strongest source of each setting is read, defaults are filled in, and
//! everything that is wrong is collected before anything is refused.

use std::collections::HashMap;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::thread::available_parallelism;

use log::LevelFilter;
use toml::de::DeValue;

use super::problems::Problems;
use super::resolved::{
    App, Forwarded, Hooks, Http, Log, LogFormat, Preload, Proxy, ProxyProtocol, Reload, Server, Settings,
    Sink, Workers,
};
use super::table::{self, Fallback, Kind, Setting};
use super::written::{Given, Origin, Raw};
use super::{checks, places, target, values};

/// What besides the sources decides about settings.
#[derive(Debug, Clone)]
pub(super) struct Surroundings {
    /// The configuration file, absolute.
    pub(super) file: Option<PathBuf>,
    /// The configuration file as the user gave it, for messages.
    pub(super) shown: Option<PathBuf>,
    /// The directory that rwsgi was started in.
    pub(super) current_directory: PathBuf,
    /// `$VIRTUAL_ENV`.
    pub(super) virtual_env: Option<PathBuf>,
    /// Whether standard output is a terminal.
    pub(super) on_terminal: bool,
    /// This program's file.
    pub(super) program: Option<PathBuf>,
}

/// Reads settings one by one and collects what is wrong.
#[derive(Debug)]
pub(super) struct Resolver {
    given: HashMap<(&'static str, &'static str), Given>,
    variables: Vec<Given>,
    problems: Vec<(Origin, String)>,
    surroundings: Surroundings,
}

impl Resolver {
    /// `given` is in the order of precedence, weakest first.
    pub(super) fn new(
        given: Vec<Given>,
        problems: Vec<(Origin, String)>,
        surroundings: Surroundings,
    ) -> Self {
        // Maps are merged, every other setting is taken from its strongest source.
        let (variables, given): (Vec<_>, Vec<_>) =
            given.into_iter().partition(|given| given.setting.kind == Kind::Map);
        let given =
            given.into_iter().map(|given| ((given.setting.section, given.setting.key), given)).collect();
        Self { given, variables, problems, surroundings }
    }

    /// Resolves everything. `is_sound` is false when the file could not be understood, so that nothing is known to be
    /// missing in it.
    pub(super) fn finish(mut self, is_sound: bool) -> Result<Settings, Problems> {
        let (app, server, workers) = (self.app(is_sound), self.server(), self.workers());
        let (http, proxy, log) = (self.http(), self.proxy(), self.log());
        let reload = self.optional("reload", "check", |given, _| checks::check_target(values::text(given)?));
        let control_socket = self.control_socket();
        let metrics_bind = self.optional("metrics", "bind", checks::metrics_bind);
        let hooks = self.hooks();
        let settings = self.problems.is_empty().then(|| {
            let file = self.surroundings.file.clone();
            Some(Settings {
                file,
                app: app?,
                server: server?,
                workers: workers?,
                http: http?,
                proxy: proxy?,
                reload: Reload { check: reload? },
                log: log?,
                control_socket: control_socket?,
                metrics_bind: metrics_bind?.flatten(),
                hooks: hooks?,
            })
        });
        settings.flatten().ok_or_else(|| {
            self.problems.sort_by_key(|(origin, _)| match origin {
                Origin::File(_, line) => (0, *line),
                Origin::Environment(_) => (1, 0),
                Origin::CommandLine(_) => (2, 0),
                Origin::Table => (3, 0),
            });
            Problems::new(self.problems.into_iter().map(|(_, line)| line).collect())
        })
    }

    fn app(&mut self, is_sound: bool) -> Option<App> {
        let target = match self.written("app", "target") {
            Some(given) => self.checked(&given, |given| target::parse(values::text(given)?)),
            None => {
                if is_sound {
                    self.missing_target();
                }
                None
            }
        };
        let directory = match self.written("app", "directory") {
            Some(given) => self.path(&given, places::directory),
            None => Some(self.folder()),
        };
        let virtualenv = match self.written("app", "virtualenv") {
            Some(given) => self.path(&given, places::virtualenv).map(Some),
            None => self.usual_virtualenv(directory.as_deref()),
        };
        let pythonpath = self.value("app", "pythonpath", |given, base| {
            values::list(given)?.into_iter().map(|item| places::import_path(item, base)).collect()
        });
        let environment = self.environment();
        let mount = self.value("app", "mount", |given, _| checks::mount(values::text(given)?));
        let preload = self.value("app", "preload", |given, _| {
            Ok(match values::auto_boolean(given)? {
                None => Preload::Auto,
                Some(true) => Preload::Always,
                Some(false) => Preload::Never,
            })
        });
        Some(App {
            target: target?,
            directory: directory?,
            virtualenv: virtualenv?,
            pythonpath: pythonpath?,
            environment: environment?,
            mount: mount?,
            preload: preload?,
        })
    }

    /// `control.socket`: `None` when it is wrong.
    pub(super) fn control_socket(&mut self) -> Option<Option<PathBuf>> {
        self.optional("control", "socket", |given, base| places::output_file(values::text(given)?, base))
    }

    fn hooks(&mut self) -> Option<Hooks> {
        let worker_start =
            self.optional("hooks", "worker_start", |given, _| target::hook(values::text(given)?));
        let worker_exit =
            self.optional("hooks", "worker_exit", |given, _| target::hook(values::text(given)?));
        Some(Hooks { worker_start: worker_start?, worker_exit: worker_exit? })
    }

    fn server(&mut self) -> Option<Server> {
        let bind = self.value("server", "bind", checks::binds);
        // The reference file writes the default out; it must not switch socket activation off.
        let usual = table::find("server", "bind").and_then(default);
        let usual = usual.and_then(|given| checks::binds(&given, Path::new("/")).ok());
        let bind_is_default = bind == usual;
        let backlog = self.number("server", "backlog");
        let has_group = self.written("server", "group").is_some();
        let user = self.optional("server", "user", |given, _| places::user(given, has_group));
        let group = self.optional("server", "group", |given, _| places::group(given));
        let umask = self.optional("server", "umask", |given, _| values::mode(given));
        let socket_mode = self.value("server", "socket_mode", |given, _| values::mode(given));
        let pid_file = self
            .optional("server", "pid_file", |given, base| places::output_file(values::text(given)?, base));
        let process_name =
            self.value("server", "process_name", |given, _| checks::process_name(values::text(given)?));
        Some(Server {
            bind: bind?,
            bind_is_default,
            backlog: backlog?,
            user: user?,
            group: group?,
            umask: umask?,
            socket_mode: socket_mode?,
            pid_file: pid_file?,
            process_name: process_name?,
        })
    }

    fn workers(&mut self) -> Option<Workers> {
        let count = self.value("workers", "count", |given, _| {
            let one_per_cpu = || available_parallelism().map_or(1, NonZero::get);
            let count = values::count(given)?;
            count.map_or_else(|| narrow(one_per_cpu()), narrow)
        });
        let threads = self.number("workers", "threads");
        let boot_timeout = self.value("workers", "boot_timeout", |given, _| values::length(given));
        let graceful_timeout = self.value("workers", "graceful_timeout", |given, _| values::length(given));
        let request_timeout =
            self.value("workers", "request_timeout", |given, _| values::optional_length(given));
        let timeout_grace = self.value("workers", "timeout_grace", |given, _| values::length(given));
        let max_requests = self.number("workers", "max_requests");
        let max_requests_jitter =
            self.value("workers", "max_requests_jitter", |given, _| values::jitter(given));
        let max_memory = self.value("workers", "max_memory", |given, _| values::optional_bytes(given));
        let max_lifetime = self.value("workers", "max_lifetime", |given, _| values::optional_length(given));
        Some(Workers {
            count: count?,
            threads: threads?,
            boot_timeout: boot_timeout?,
            graceful_timeout: graceful_timeout?,
            request_timeout: request_timeout?,
            timeout_grace: timeout_grace?,
            max_requests: Some(max_requests?).filter(|&limit: &u64| limit > 0),
            max_requests_jitter: max_requests_jitter?,
            max_memory: max_memory?,
            max_lifetime: max_lifetime?,
        })
    }

    fn http(&mut self) -> Option<Http> {
        let keep_alive = self.value("http", "keep_alive", |given, _| values::length(given));
        let header_timeout = self.value("http", "header_timeout", |given, _| values::length(given));
        let body_timeout = self.value("http", "body_timeout", |given, _| values::length(given));
        let write_timeout = self.value("http", "write_timeout", |given, _| values::length(given));
        let max_request_line = self.size("max_request_line");
        let max_headers = self.number("http", "max_headers");
        let max_header_bytes = self.size("max_header_bytes");
        let max_body = self.size("max_body");
        let body_memory = self.size("body_memory");
        let request_buffering = self.value("http", "request_buffering", |given, _| values::boolean(given));
        let max_connections = self.number("http", "max_connections");
        let queue_timeout = self.value("http", "queue_timeout", |given, _| values::optional_length(given));
        let server_header =
            self.value("http", "server_header", |given, _| checks::field(values::text(given)?));
        Some(Http {
            keep_alive: keep_alive?,
            header_timeout: header_timeout?,
            body_timeout: body_timeout?,
            write_timeout: write_timeout?,
            max_request_line: max_request_line?,
            max_headers: max_headers?,
            max_header_bytes: max_header_bytes?,
            max_body: max_body?,
            body_memory: body_memory?,
            request_buffering: request_buffering?,
            max_connections: max_connections?,
            queue_timeout: queue_timeout?,
            server_header: server_header?,
        })
    }

    fn proxy(&mut self) -> Option<Proxy> {
        let trusted = self.value("proxy", "trusted", |given, _| places::trusted(&values::list(given)?));
        let forwarded = self.value("proxy", "forwarded", |given, _| {
            Ok(match values::choice(given)? {
                "none" => Forwarded::None,
                "all" => Forwarded::All,
                _ => Forwarded::Scheme,
            })
        });
        let protocol = self.value("proxy", "protocol", |given, _| {
            Ok(match values::choice(given)? {
                "v1" => ProxyProtocol::V1,
                "v2" => ProxyProtocol::V2,
                "auto" => ProxyProtocol::Auto,
                _ => ProxyProtocol::Off,
            })
        });
        Some(Proxy { trusted: trusted?, forwarded: forwarded?, protocol: protocol? })
    }

    fn log(&mut self) -> Option<Log> {
        let level = self.value("log", "level", |given, _| {
            values::choice(given)?.parse::<LevelFilter>().map_err(|error| error.to_string())
        });
        let file = self.value("log", "file", |given, base| places::error_log(values::text(given)?, base));
        let format = self.value("log", "format", |given, _| {
            Ok(if values::choice(given)? == "json" { LogFormat::Json } else { LogFormat::Text })
        });
        let access =
            self.optional("log", "access", |given, base| places::access_log(values::text(given)?, base));
        let on_terminal = self.surroundings.on_terminal;
        let access_format =
            self.value("log", "access_format", |given, _| checks::access_format(values::text(given)?));
        let access_exclude =
            self.value("log", "access_exclude", |given, _| checks::url_paths(&values::list(given)?));
        let slow_request = self.value("log", "slow_request", |given, _| values::optional_length(given));
        Some(Log {
            level: level?,
            file: file?,
            format: format?,
            access: access?.unwrap_or(if on_terminal { Sink::Standard } else { Sink::Off }),
            access_format: access_format?,
            access_exclude: access_exclude?,
            slow_request: slow_request?,
        })
    }

    /// Without `app.virtualenv`: `$VIRTUAL_ENV`, else `.venv` in the directory, else the one that rwsgi is installed in.
    fn usual_virtualenv(&mut self, directory: Option<&Path>) -> Option<Option<PathBuf>> {
        if let Some(path) = self.surroundings.virtual_env.clone() {
            let checked = places::virtualenv(&path.to_string_lossy(), &self.surroundings.current_directory);
            return match checked {
                Ok(path) => Some(Some(path)),
                Err(said) => {
                    let origin = Origin::Environment("VIRTUAL_ENV".to_owned());
                    self.problems
                        .push((origin, format!("VIRTUAL_ENV: app.virtualenv = {}: {said}", path.display())));
                    None
                }
            };
        }
        let own = self.surroundings.program.as_deref().and_then(Path::parent).and_then(Path::parent);
        let own = own.filter(|folder| folder.join("pyvenv.cfg").exists()).map(Path::to_owned);
        let mut usual = [Some(directory?.join(".venv")), own].into_iter().flatten();
        Some(usual.find(|folder| folder.join("bin/python").exists()))
    }

    /// Variables of all sources; of two with the same name the stronger source's.
    fn environment(&mut self) -> Option<Vec<(String, String)>> {
        let mut environment: Vec<(String, String)> = Vec::new();
        for given in std::mem::take(&mut self.variables) {
            for (name, value) in self.checked(&given, values::map)? {
                environment.retain(|(other, _)| *other != name);
                environment.push((name, value));
            }
        }
        Some(environment)
    }

    fn missing_target(&mut self) {
        let said = "app.target: is not set: write which application to run";
        let line = match &self.surroundings.shown {
            Some(file) => format!("{}: {said}, as target = \"app:application\" under [app]", file.display()),
            None => format!("{said}: rwsgi MODULE:CALLABLE"),
        };
        self.problems.push((Origin::Table, line));
    }

    fn size<T: TryFrom<u64>>(&mut self, key: &'static str) -> Option<T> {
        self.value("http", key, |given, _| narrow(values::bytes(given)?))
    }

    fn number<T: TryFrom<u64>>(&mut self, section: &'static str, key: &'static str) -> Option<T> {
        self.value(section, key, |given, _| narrow(values::integer(given)?))
    }

    fn path(&mut self, given: &Given, read: fn(&str, &Path) -> Result<PathBuf, String>) -> Option<PathBuf> {
        let base = self.base(&given.origin);
        self.checked(given, |given| read(values::text(given)?, &base))
    }

    /// A setting that has a default in the table.
    fn value<T>(
        &mut self,
        section: &'static str,
        key: &'static str,
        read: impl FnOnce(&Given, &Path) -> Result<T, String>,
    ) -> Option<T> {
        let given = self.written(section, key).or_else(|| table::find(section, key).and_then(default))?;
        let base = self.base(&given.origin);
        self.checked(&given, |given| read(given, &base))
    }

    /// A setting that may be left out: `Some(None)` then, `None` when it is wrong.
    fn optional<T>(
        &mut self,
        section: &'static str,
        key: &'static str,
        read: impl FnOnce(&Given, &Path) -> Result<T, String>,
    ) -> Option<Option<T>> {
        let Some(given) = self.written(section, key) else { return Some(None) };
        let base = self.base(&given.origin);
        self.checked(&given, |given| read(given, &base)).map(Some)
    }

    fn checked<'g, T>(
        &mut self,
        given: &'g Given,
        read: impl FnOnce(&'g Given) -> Result<T, String>,
    ) -> Option<T> {
        read(given)
            .map_err(|said| {
                let Given { setting, written, origin, .. } = given;
                self.problems
                    .push((origin.clone(), format!("{origin}: {} = {written}: {said}", setting.name())));
            })
            .ok()
    }

    fn written(&self, section: &'static str, key: &'static str) -> Option<Given> {
        self.given.get(&(section, key)).cloned()
    }

    /// What relative paths are relative to: the file's folder for values of the file, else the current directory.
    fn base(&self, origin: &Origin) -> PathBuf {
        match origin {
            Origin::File(..) | Origin::Table => self.folder(),
            Origin::Environment(_) | Origin::CommandLine(_) => self.surroundings.current_directory.clone(),
        }
    }

    fn folder(&self) -> PathBuf {
        let folder = self.surroundings.file.as_deref().and_then(Path::parent);
        folder.unwrap_or(&self.surroundings.current_directory).to_owned()
    }
}

/// The default of the table as if it had been written.
fn default(setting: &'static Setting) -> Option<Given> {
    let Fallback::Value(text) = setting.default else { return None };
    let value = DeValue::parse(text).ok()?;
    let raw = Raw::from_toml(value.get_ref());
    Some(Given { setting, raw, written: text.to_owned(), origin: Origin::Table })
}

fn narrow<T: TryFrom<N>, N>(number: N) -> Result<T, String> {
    T::try_from(number).map_err(|_| "is too large for this machine".to_owned())
}
