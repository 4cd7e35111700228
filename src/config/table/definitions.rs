//! Every setting, once. A file of its own because it is the one to edit when a setting is added or a default changes.

use super::{Fallback, Flag, Kind, Setting};

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;
const GIB: u64 = 1024 * MIB;

/// All settings in the order of the reference.
pub static SETTINGS: &[Setting] = &[
    required(
        "app",
        "target",
        Kind::Target,
        "\"app:application\"",
        "The application as MODULE[:CALLABLE]: a module to import (not a file name) and the WSGI callable in it, \
         `application` if left out. The callable may be an attribute path (`site:web.wsgi_app`) or a call of a \
         factory (`app:create_app()`). On the command line it is the argument itself.",
    ),
    computed(
        "app",
        "directory",
        Kind::Path,
        "the configuration file's folder",
        "\"/srv/app\"",
        "The application's directory: the working directory of the workers and the first entry of sys.path. Without \
         a configuration file it is the current directory. It must exist. Relative paths in the file are relative to \
         the file's folder, those on the command line and in the environment to the current directory.",
    )
    .flag("directory", "DIRECTORY")
    .aliases(&["chdir"]),
    computed(
        "app",
        "virtualenv",
        Kind::Path,
        "$VIRTUAL_ENV, else .venv in app.directory if it is there, else the one that rwsgi is installed in, if any",
        "\".venv\"",
        "The virtual environment whose packages the application uses; it must contain bin/python.",
    )
    .flag("virtualenv", "DIRECTORY"),
    value(
        "app",
        "pythonpath",
        Kind::Paths,
        "[]",
        "More entries of sys.path, put after the directory. They must exist.",
    )
    .flag("pythonpath", "PATHS"),
    value(
        "app",
        "environment",
        Kind::Map,
        "{}",
        "Environment variables set in the workers before Python starts. Those of the command line and of \
         RWSGI_APP_ENVIRONMENT (NAME=VALUE, separated by commas) are added to those of the file.",
    )
    .flag("env", "NAME=VALUE")
    .short('e'),
    value(
        "app",
        "mount",
        Kind::Text,
        "\"\"",
        "The URL prefix that the application lives under, as /prefix: it becomes SCRIPT_NAME, and requests outside \
         it are answered with 404. Empty for the root.",
    )
    .flag("mount", "PREFIX"),
    value(
        "app",
        "preload",
        Kind::AutoBool,
        "\"auto\"",
        "Whether the application is imported once in a template process, from which the workers are forked: they share \
         its memory, and a replacement starts in milliseconds. \"auto\" does so unless the imported application has \
         threads or connections, which do not survive a fork; what it found is logged, and each worker imports the \
         application itself. true forks in any case, false never.",
    )
    .flag("preload", "auto|true|false"),
    value(
        "server",
        "bind",
        Kind::Binds,
        "\"127.0.0.1:8000\"",
        "Where to listen, one address or a list: \"127.0.0.1:8000\", \":8000\" (every IPv4 address), \
         \"[::1]:8000\", \"name:8000\", \"unix:/run/app.sock\", \"fd:3\" (an inherited socket). At its default, \
         sockets passed by systemd take its place.",
    )
    .flag("bind", "ADDRESS")
    .short('b'),
    value(
        "server",
        "backlog",
        Kind::Integer { min: 1, max: 65_535 },
        "4096",
        "How many connections the kernel queues on each listening socket; it caps the number at \
         net.core.somaxconn.",
    )
    .flag("backlog", "N"),
    computed(
        "server",
        "user",
        Kind::User,
        "the user that starts rwsgi",
        "\"www-data\"",
        "The user that the workers run as, by name or number; only root can change it. A number without an account \
         needs server.group as well.",
    )
    .flag("user", "USER")
    .short('u'),
    computed(
        "server",
        "group",
        Kind::Group,
        "the primary group of the user",
        "\"www-data\"",
        "The group that the workers run as, by name or number; only root can change it.",
    )
    .flag("group", "GROUP")
    .short('g'),
    computed(
        "server",
        "umask",
        Kind::Mode,
        "the umask that rwsgi was started with",
        "\"0022\"",
        "The file mode creation mask of the workers, an octal string.",
    )
    .flag("umask", "MODE")
    .short('m'),
    value(
        "server",
        "socket_mode",
        Kind::Mode,
        "\"0666\"",
        "Permissions of unix sockets, an octal string. The default lets every local user connect, so that a proxy \
         under another user works at once; \"0660\" with server.group set to the proxy's group is tighter, as is a \
         directory that only the proxy may enter.",
    )
    .flag("socket-mode", "MODE"),
    computed(
        "server",
        "pid_file",
        Kind::Path,
        "none",
        "\"/run/app/rwsgi.pid\"",
        "A file that holds the master's process number while it runs. Its directory must exist.",
    )
    .flag("pid-file", "FILE")
    .aliases(&["pid"]),
    value(
        "server",
        "process_name",
        Kind::Text,
        "\"rwsgi\"",
        "The name that the processes show in ps and top; the role is added to it.",
    )
    .flag("process-name", "NAME")
    .aliases(&["name"])
    .short('n'),
    value(
        "workers",
        "count",
        Kind::Count { min: 1, max: 1024 },
        "\"auto\"",
        "Number of worker processes; \"auto\" is one per CPU that rwsgi may use.",
    )
    .flag("workers", "N")
    .short('w'),
    value(
        "workers",
        "threads",
        Kind::Integer { min: 1, max: 1024 },
        "1",
        "Application threads in each worker. With 1 there is never more than one request in Python per worker, so \
         the application need not be thread-safe.",
    )
    .flag("threads", "N")
    .short('t'),
    value(
        "workers",
        "boot_timeout",
        Kind::Duration { zero: false },
        "\"60s\"",
        "How long a worker may take to import the application before it is killed.",
    )
    .flag("boot-timeout", "DURATION"),
    value(
        "workers",
        "request_timeout",
        Kind::OptionalDuration,
        "\"30s\"",
        "How long the application may work on a request. Then the client is answered 504 (or a response that has begun \
         is cut), the stacks of all threads are logged, and RequestTimeout is raised in the thread. Time in which the \
         application waits for the client does not count. The application may move the limit of a request by \
         assigning environ[\"rwsgi.deadline\"] (seconds of time.monotonic()). A request that finds no free thread for \
         as long is answered 503.",
    )
    .flag("request-timeout", "DURATION")
    .aliases(&["timeout"]),
    value(
        "workers",
        "timeout_grace",
        Kind::Duration { zero: false },
        "\"5s\"",
        "How long a thread may go on after its request has timed out; then its worker is replaced.",
    )
    .flag("timeout-grace", "DURATION"),
    value(
        "workers",
        "graceful_timeout",
        Kind::Duration { zero: false },
        "\"30s\"",
        "How long a worker that is told to stop may go on with the requests in flight before it is killed.",
    )
    .flag("graceful-timeout", "DURATION"),
    value(
        "workers",
        "max_requests",
        Kind::Integer { min: 0, max: 1_000_000_000 },
        "0",
        "How many requests a worker serves before it is replaced; 0 for no limit. The replacement is ready before \
         the worker stops accepting.",
    )
    .flag("max-requests", "N"),
    value(
        "workers",
        "max_requests_jitter",
        Kind::Jitter,
        "\"10%\"",
        "Up to this much is added at random to max_requests (and, as a percentage, to max_lifetime), so that the workers \
         are not all replaced at once: a percentage, or a number of requests.",
    )
    .flag("max-requests-jitter", "N"),
    value(
        "workers",
        "max_memory",
        Kind::OptionalSize { min: MIB, max: 1024 * GIB },
        "\"off\"",
        "A worker whose private memory (not shared with the template or other workers) is larger is replaced; its \
         requests are answered first.",
    )
    .flag("max-memory", "SIZE"),
    value(
        "workers",
        "max_lifetime",
        Kind::OptionalDuration,
        "\"off\"",
        "A worker that is older is replaced.",
    )
    .flag("max-lifetime", "DURATION"),
    value(
        "http",
        "keep_alive",
        Kind::Duration { zero: true },
        "\"75s\"",
        "How long an idle connection is kept open for another request; \"0s\" closes each after its answer.",
    )
    .flag("keep-alive", "DURATION"),
    value(
        "http",
        "header_timeout",
        Kind::Duration { zero: false },
        "\"10s\"",
        "How long a client may take to send the complete head of a request; then 408.",
    )
    .flag("header-timeout", "DURATION"),
    value(
        "http",
        "body_timeout",
        Kind::Duration { zero: false },
        "\"30s\"",
        "How long a client may pause while it sends a body; then 408.",
    )
    .flag("body-timeout", "DURATION"),
    value(
        "http",
        "write_timeout",
        Kind::Duration { zero: false },
        "\"30s\"",
        "How long a client may take no byte of its answer; then the connection is closed.",
    )
    .flag("write-timeout", "DURATION"),
    value(
        "http",
        "max_request_line",
        Kind::Size { min: 64, max: MIB },
        "\"8KiB\"",
        "The longest request line; beyond it 414.",
    )
    .flag("max-request-line", "SIZE"),
    value(
        "http",
        "max_headers",
        Kind::Integer { min: 1, max: 10_000 },
        "100",
        "The most header fields of a request; beyond it 431.",
    )
    .flag("max-headers", "N"),
    value(
        "http",
        "max_header_bytes",
        Kind::Size { min: 64, max: 16 * MIB },
        "\"32KiB\"",
        "The most bytes of all header fields of a request together; beyond it 431.",
    )
    .flag("max-header-bytes", "SIZE"),
    value(
        "http",
        "max_body",
        Kind::Size { min: 1, max: 1024 * GIB },
        "\"1GiB\"",
        "The largest body of a request; beyond it 413.",
    )
    .flag("max-body", "SIZE"),
    value(
        "http",
        "body_memory",
        Kind::Size { min: 0, max: GIB },
        "\"256KiB\"",
        "The largest body that is held in memory; a larger one goes into a temporary file.",
    )
    .flag("body-memory", "SIZE"),
    value(
        "http",
        "request_buffering",
        Kind::Bool,
        "true",
        "Whether a body is received completely before the application is called, so that a slow client never \
         occupies Python. false streams it.",
    )
    .flag("request-buffering", "BOOL"),
    value(
        "http",
        "max_connections",
        Kind::Integer { min: 1, max: 1_000_000 },
        "4096",
        "The most open connections of each worker; more wait in the kernel's queue.",
    )
    .flag("max-connections", "N"),
    value(
        "http",
        "queue_timeout",
        Kind::OptionalDuration,
        "\"off\"",
        "A request that waited longer than this for a free application thread is answered with 503 and \
         Retry-After.",
    )
    .flag("queue-timeout", "DURATION"),
    value(
        "http",
        "server_header",
        Kind::Text,
        "\"rwsgi\"",
        "The Server field of the answers; empty for none.",
    )
    .flag("server-header", "TEXT"),
    value(
        "proxy",
        "trusted",
        Kind::Networks,
        "[\"127.0.0.1\", \"::1\", \"unix\"]",
        "The peers whose forwarding headers and PROXY protocol are believed: addresses, networks (\"10.0.0.0/8\"), \
         \"unix\" for every peer on a unix socket, \"*\" for everyone (only where nobody else can connect).",
    )
    .flag("proxy-trusted", "ADDRESS"),
    value(
        "proxy",
        "forwarded",
        Kind::Choice(&["none", "scheme", "all"]),
        "\"scheme\"",
        "Which forwarding headers of a trusted peer are used: \"scheme\" X-Forwarded-Proto only; \"all\" also -For, \
         -Host, -Port, -Prefix and Forwarded (RFC 7239); \"none\" of them. With \"all\" the proxy must set or \
         remove each of them.",
    )
    .flag("proxy-forwarded", "WHICH"),
    value(
        "proxy",
        "protocol",
        Kind::Choice(&["off", "v1", "v2", "auto"]),
        "\"off\"",
        "The PROXY protocol in front of each connection: \"v1\", \"v2\", or \"auto\" for either. Unless \"off\", \
         connections without its header are closed.",
    )
    .flag("proxy-protocol", "VERSION"),
    computed(
        "reload",
        "check",
        Kind::Text,
        "no request",
        "\"/health\"",
        "A path that is requested from the first worker of a new generation before a reload goes on; a status of 400 or \
         more, or no answer, discards the new generation. As a URL, \"https://www.example.org/health\", it also sets \
         the Host and the scheme that the application sees.",
    )
    .flag("reload-check", "PATH"),
    value(
        "log",
        "level",
        Kind::Choice(&["error", "warn", "info", "debug", "trace"]),
        "\"info\"",
        "The least important records that are logged.",
    )
    .flag("log-level", "LEVEL"),
    value(
        "log",
        "file",
        Kind::ErrorLog,
        "\"-\"",
        "Where the error log goes: \"-\" is standard error, else a file in an existing directory. USR1 opens it \
         again after a rotation.",
    )
    .flag("log-file", "FILE")
    .aliases(&["error-logfile"]),
    value(
        "log",
        "format",
        Kind::Choice(&["text", "json"]),
        "\"text\"",
        "The form of the error log: lines of text, or a JSON object a line.",
    )
    .flag("log-format", "FORMAT"),
    computed(
        "log",
        "access",
        Kind::AccessLog,
        "\"-\" when standard output is a terminal, else \"off\"",
        "\"/var/log/app/access.log\"",
        "Where the access log goes: \"-\" is standard output, \"off\" nowhere, else a file in an existing \
         directory.",
    )
    .flag("access-log", "FILE")
    .aliases(&["access-logfile"]),
    value(
        "log",
        "access_format",
        Kind::AccessFormat,
        "\"combined\"",
        "The form of access-log lines: \"combined\", \"json\", or a format of gunicorn's atoms such as \
         '%(h)s \"%(r)s\" %(s)s %(M)s'.",
    )
    .flag("access-format", "FORMAT")
    .aliases(&["access-logformat"]),
    value(
        "log",
        "access_exclude",
        Kind::UrlPaths,
        "[]",
        "Paths that are left out of the access log; \"/static/*\" leaves out all below it.",
    )
    .flag("access-exclude", "PATH"),
    value(
        "log",
        "slow_request",
        Kind::OptionalDuration,
        "\"off\"",
        "A request that takes longer than this is logged as a warning.",
    )
    .flag("slow-request", "DURATION"),
    computed(
        "control",
        "socket",
        Kind::Path,
        "a path in /run/rwsgi, $XDG_RUNTIME_DIR/rwsgi or /tmp that follows from the configuration file's",
        "\"/run/app/control.sock\"",
        "The unix socket that `rwsgi ctl` talks to. Only root and the user that the server runs as may use it. Without \
         a configuration file there is none unless it is set.",
    )
    .flag("control-socket", "PATH"),
    computed(
        "metrics",
        "bind",
        Kind::Text,
        "no listener",
        "\"127.0.0.1:9100\"",
        "Where the master answers /metrics (Prometheus text), /healthz and /readyz: an address as in server.bind, \
         \"127.0.0.1:9100\" or \"unix:/run/app/metrics.sock\". Empty for none. Everybody who reaches it is \
         answered: no address of the public.",
    )
    .flag("metrics-bind", "ADDRESS"),
    computed(
        "hooks",
        "worker_start",
        Kind::Hook,
        "nothing",
        "\"site.hooks:worker_start\"",
        "A function, as module:function, that each worker calls before it serves. What it raises fails the boot. It is \
         called without arguments, or with one if it takes one: an object with the attributes generation, worker \
         and pid.",
    )
    .flag("hook-worker-start", "MODULE:FUNCTION"),
    computed(
        "hooks",
        "worker_exit",
        Kind::Hook,
        "nothing",
        "\"site.hooks:worker_exit\"",
        "A function that each worker calls when it has drained, as worker_start. What it raises is logged. It is not \
         called in a worker that is killed.",
    )
    .flag("hook-worker-exit", "MODULE:FUNCTION"),
];

const fn required(
    section: &'static str,
    key: &'static str,
    kind: Kind,
    example: &'static str,
    doc: &'static str,
) -> Setting {
    Setting { section, key, kind, default: Fallback::Required { example }, doc, flag: None }
}

const fn value(
    section: &'static str,
    key: &'static str,
    kind: Kind,
    default: &'static str,
    doc: &'static str,
) -> Setting {
    Setting { section, key, kind, default: Fallback::Value(default), doc, flag: None }
}

const fn computed(
    section: &'static str,
    key: &'static str,
    kind: Kind,
    words: &'static str,
    example: &'static str,
    doc: &'static str,
) -> Setting {
    Setting { section, key, kind, default: Fallback::Computed { words, example }, doc, flag: None }
}

impl Setting {
    const fn flag(mut self, long: &'static str, value: &'static str) -> Self {
        self.flag = Some(Flag { long, short: None, aliases: &[], value });
        self
    }

    const fn short(mut self, letter: char) -> Self {
        if let Some(flag) = &mut self.flag {
            flag.short = Some(letter);
        }
        self
    }

    const fn aliases(mut self, aliases: &'static [&'static str]) -> Self {
        if let Some(flag) = &mut self.flag {
            flag.aliases = aliases;
        }
        self
    }
}
