//! Every form of message, word by word.

use super::*;

/// The problem of a line that is the second of its file.
#[track_caller]
fn refused(line: &str, said: &str) {
    assert_eq!(Site::with(line).problem(), format!("app.toml:2: {said}"), "{line}");
}

#[test]
fn messages_name_the_origin_and_the_way_back() {
    refused(
        "workers.count = 0",
        "workers.count = 0: must be at least 1 (remove the line to use one per CPU)",
    );
    let site = Site::with("").variable("RWSGI_WORKERS_COUNT", "0");
    assert_eq!(
        site.problem(),
        "RWSGI_WORKERS_COUNT: workers.count = 0: must be at least 1 (unset the variable to use one per CPU)"
    );
    let site = site.flag("workers", "count", &["0"]);
    assert_eq!(
        site.problem(),
        "--workers: workers.count = 0: must be at least 1 (leave the option out to use one per CPU)"
    );
}

#[test]
fn unknown_names_are_answered_with_the_nearest() {
    refused("server.bnid = 1", "server.bnid = 1: unknown key (did you mean server.bind?)");
    refused("server.threads = 2", "server.threads = 2: unknown key here (threads belongs to [workers])");
    refused("bind = \":80\"", "bind = \":80\": unknown key here (bind belongs to [server])");
    refused("[worker]", "[worker]: unknown section (did you mean [workers]?)");
    refused(
        "[zzz]",
        "[zzz]: unknown section (there are [app], [server], [workers], [http], [proxy], [reload], [log], [control], [metrics], [hooks])",
    );
    refused("proxy.zzz = 1", "proxy.zzz = 1: unknown key ([proxy] has trusted, forwarded, protocol)");
    refused("zzz = 1", "zzz = 1: unknown key (every key belongs to a section, as [server])");
    refused("workers = 4", "workers is a section: write [workers] in a line of its own and its keys below");
}

#[test]
fn keys_that_this_release_does_not_have_are_unknown() {
    for key in ["reload.watch", "http.compression", "hooks.on_reload"] {
        let problem = Site::with(&format!("{key} = 1")).problem();
        assert!(problem.starts_with(&format!("app.toml:2: {key} = 1: unknown key")), "{problem}");
    }
}

#[test]
fn metrics_bind_is_an_address_or_nothing() {
    let settings = |line: &str| Site::with(line).settings().metrics_bind;
    assert_eq!(settings(""), None);
    assert_eq!(settings("metrics.bind = \"\""), None);
    assert_eq!(settings("metrics.bind = \":9100\"").unwrap().to_string(), "0.0.0.0:9100");
    assert_eq!(settings("metrics.bind = \"unix:/run/m.sock\"").unwrap().to_string(), "unix:/run/m.sock");
    refused(
        "metrics.bind = 9100",
        "metrics.bind = 9100: is a port without an address: write \"127.0.0.1:9100\", or \":9100\" to listen on every address",
    );
    refused(
        "metrics.bind = \"fd:3\"",
        "metrics.bind = \"fd:3\": is a descriptor, which only server.bind takes: write an address, as \"127.0.0.1:9100\"",
    );
    refused(
        "metrics.bind = [\":9100\"]",
        "metrics.bind = [\":9100\"]: is a list: write a string, as \"127.0.0.1:9100\"",
    );
}

#[test]
fn preload_is_auto_or_a_boolean() {
    for written in ["\"yes\"", "\"true\"", "1", "[]"] {
        refused(
            &format!("app.preload = {written}"),
            &format!("app.preload = {written}: is neither true, false nor \"auto\""),
        );
    }
    let site = Site::with("").variable("RWSGI_APP_PRELOAD", "maybe");
    assert_eq!(site.problem(), "RWSGI_APP_PRELOAD: app.preload = maybe: is neither true, false nor \"auto\"");
}

#[test]
fn limits_of_requests_and_workers() {
    refused(
        "workers.request_timeout = 30",
        "workers.request_timeout = 30: has no unit: write \"30s\" for seconds",
    );
    refused(
        "workers.request_timeout = \"0s\"",
        "workers.request_timeout = \"0s\": must be longer than zero (write \"off\" to switch it off)",
    );
    refused(
        "workers.timeout_grace = \"0s\"",
        "workers.timeout_grace = \"0s\": must be longer than zero (remove the line to use \"5s\")",
    );
    refused(
        "workers.max_requests = -1",
        "workers.max_requests = -1: must be at least 0 (remove the line to use 0)",
    );
    refused(
        "workers.max_lifetime = false",
        "workers.max_lifetime = false: is a boolean: write \"off\" to switch it off",
    );
    refused(
        "workers.max_memory = \"10KiB\"",
        "workers.max_memory = \"10KiB\": must be at least 1MiB (remove the line to use \"off\")",
    );
    refused(
        "workers.max_memory = false",
        "workers.max_memory = false: is a boolean: write \"off\" to switch it off",
    );
    refused("workers.max_memory = [1]", "workers.max_memory = [1]: is a list: write a size, as \"256MiB\"");
}

#[test]
fn jitter_is_a_percentage_or_a_number() {
    for written in ["\"a little\"", "-1", "true", "\"\""] {
        refused(
            &format!("workers.max_requests_jitter = {written}"),
            &format!(
                "workers.max_requests_jitter = {written}: is neither a percentage (\"10%\") nor a number of requests"
            ),
        );
    }
    for written in ["\"101%\"", "\"-1%\"", "\"%\""] {
        refused(
            &format!("workers.max_requests_jitter = {written}"),
            &format!("workers.max_requests_jitter = {written}: must be a percentage from \"0%\" to \"100%\""),
        );
    }
}

#[test]
fn the_reload_check_is_a_path_or_a_url() {
    for written in ["health", "", "ftp://x/", "http:///health", "/a b", "https://"] {
        refused(
            &format!("reload.check = \"{written}\""),
            &format!(
                "reload.check = \"{written}\": must be a path (\"/health\") or a URL \
                 (\"http://www.example.org/health\")"
            ),
        );
    }
}

#[test]
fn hooks_are_functions_of_modules() {
    for key in ["worker_start", "worker_exit"] {
        for written in ["site.hooks", ":start", "site:", "site:start()"] {
            refused(
                &format!("hooks.{key} = \"{written}\""),
                &format!(
                    "hooks.{key} = \"{written}\": is not MODULE:FUNCTION: write names, as \"site.hooks:worker_start\""
                ),
            );
        }
    }
}

#[test]
fn the_control_socket_needs_a_directory() {
    refused(
        "control.socket = \"none/control.sock\"",
        "control.socket = \"none/control.sock\": the directory FOLDER/none: does not exist: create it or correct the \
         path",
    );
}

#[test]
fn wrong_types() {
    refused(
        "workers.threads = \"2\"",
        "workers.threads = \"2\": is a string: write the number without quotes, 2",
    );
    refused("workers.threads = 2.5", "workers.threads = 2.5: is a fraction: write a whole number, as 1");
    refused("workers.threads = true", "workers.threads = true: is a boolean: write a whole number, as 1");
    refused("workers.count = \"many\"", "workers.count = \"many\": is neither a number nor \"auto\"");
    refused("http.keep_alive = true", "http.keep_alive = true: is a boolean: write a duration, as \"75s\"");
    refused(
        "http.request_buffering = \"true\"",
        "http.request_buffering = \"true\": is a string: write true or false, without quotes",
    );
    refused("http.max_body = [1]", "http.max_body = [1]: is a list: write a size, as \"1GiB\"");
    refused("app.mount = 1", "app.mount = 1: is a number: write a string, as \"/prefix\"");
    refused(
        "app.pythonpath = [1]",
        "app.pythonpath = [1]: has a number in the list: every item is a string in quotes",
    );
    refused(
        "app.environment = \"A=1\"",
        "app.environment = \"A=1\": is a string: write a table, as { NAME = \"value\" }",
    );
    refused(
        "app.environment = { A = 1 }",
        "app.environment = { A = 1 }: has a number as the value of A: write it in quotes",
    );
    refused("log.level = 2020-01-01", "log.level = 2020-01-01: is a date: write a string, as \"info\"");
}

#[test]
fn values_out_of_bounds() {
    refused("workers.threads = -1", "workers.threads = -1: must be at least 1 (remove the line to use 1)");
    refused(
        "workers.threads = 1025",
        "workers.threads = 1025: must be at most 1024 (remove the line to use 1)",
    );
    refused(
        "server.backlog = 99999999999999999999",
        "server.backlog = 99999999999999999999: must be at most 65535 (remove the line to use 4096)",
    );
    refused(
        "http.max_request_line = \"10B\"",
        "http.max_request_line = \"10B\": must be at least 64B (remove the line to use \"8KiB\")",
    );
    refused(
        "http.body_memory = \"2GiB\"",
        "http.body_memory = \"2GiB\": must be at most 1GiB (remove the line to use \"256KiB\")",
    );
    refused("http.max_body = -1", "http.max_body = -1: must not be negative");
    refused(
        "http.header_timeout = \"0s\"",
        "http.header_timeout = \"0s\": must be longer than zero (remove the line to use \"10s\")",
    );
    refused(
        "log.slow_request = \"0s\"",
        "log.slow_request = \"0s\": must be longer than zero (write \"off\" to switch it off)",
    );
    refused(
        "log.slow_request = false",
        "log.slow_request = false: is a boolean: write \"off\" to switch it off",
    );
    refused("http.keep_alive = \"31d\"", "http.keep_alive = \"31d\": must be at most \"30d\"");
}

#[test]
fn modes_are_octal() {
    refused("server.umask = 22", "server.umask = 22: is a decimal number: write an octal string, \"022\"");
    for written in ["\"0088\"", "\"\"", "\"-1\"", "\"01777\"", "0o1000", "\"rw\""] {
        refused(
            &format!("server.umask = {written}"),
            &format!("server.umask = {written}: is not an octal number of permissions: write \"0022\""),
        );
    }
}

#[test]
fn choices_name_the_words() {
    refused(
        "log.level = \"warning\"",
        "log.level = \"warning\": must be one of \"error\", \"warn\", \"info\", \"debug\", \"trace\" (did you mean \
         \"warn\"?)",
    );
    refused("log.format = \"xml\"", "log.format = \"xml\": must be one of \"text\", \"json\"");
    refused(
        "proxy.protocol = false",
        "proxy.protocol = false: is a boolean: write one of \"off\", \"v1\", \"v2\", \"auto\"",
    );
}

#[test]
fn a_format_of_the_access_log_with_an_unknown_atom() {
    let problem = Site::with("log.access_format = \"%(zz)s\"").problem();
    assert!(problem.starts_with("app.toml:2: log.access_format = \"%(zz)s\": "), "{problem}");
    refused(
        "log.access_format = \"\"",
        "log.access_format = \"\": is empty: write \"combined\", \"json\" or a format of atoms",
    );
}

#[test]
fn addresses_and_networks() {
    refused(
        "server.bind = [\":80\", \":80\"]",
        "server.bind = [\":80\", \":80\"]: has \":80\" twice: remove one of the two",
    );
    refused(
        "server.bind = [\":80\", \"localhost\"]",
        "server.bind = [\":80\", \"localhost\"]: \"localhost\" has no port: write \"localhost:8000\"",
    );
    refused(
        "server.bind = []",
        "server.bind = []: names no address (remove the line to use \"127.0.0.1:8000\")",
    );
    refused(
        "proxy.trusted = [\"10.0.0.0/33\"]",
        "proxy.trusted = [\"10.0.0.0/33\"]: \"10.0.0.0/33\" is not an address or a network: write \"10.0.0.1\", \
         \"10.0.0.0/8\", \"::1\", \"unix\" or \"*\"",
    );
    assert_eq!(Site::with("server.bind = [\":0\", \":0\"]").settings().server.bind.len(), 2);
}

#[test]
fn a_file_name_as_target() {
    let site = Site::new("[app]\ntarget = \"app.py\"");
    assert_eq!(
        site.problem(),
        "app.toml:2: app.target = \"app.py\": is a file name: write the module's name, \"app:application\""
    );
}

#[test]
fn places_that_are_not_there() {
    refused(
        "app.directory = \"none\"",
        "app.directory = \"none\": FOLDER/none: does not exist: create it or correct the path",
    );
    refused(
        "app.directory = \"app.toml\"",
        "app.directory = \"app.toml\": FOLDER/app.toml is not a directory: write the path of the folder",
    );
    refused(
        "app.pythonpath = \"none\"",
        "app.pythonpath = \"none\": FOLDER/none: does not exist: create it or correct the path",
    );
    refused(
        "server.pid_file = \"none/pid\"",
        "server.pid_file = \"none/pid\": the directory FOLDER/none: does not exist: create it or correct the path",
    );
    refused(
        "log.file = \"off\"",
        "log.file = \"off\": the error log cannot be off: write \"-\" or a path, and log.level = \"error\" for less",
    );
    refused("log.access = \"\"", "log.access = \"\": is empty: write a path");
    let site = Site::with("log.file = \"logs\"").directory("logs");
    assert_eq!(
        site.problem(),
        "app.toml:2: log.file = \"logs\": FOLDER/logs is a directory: write the path of a file"
    );
}

#[test]
fn accounts() {
    refused(
        "server.user = \"no-such-user\"",
        "server.user = \"no-such-user\": there is no such user: create it or write another",
    );
    refused(
        "server.group = \"no-such-group\"",
        "server.group = \"no-such-group\": there is no such group: create it or write another",
    );
    refused("server.user = 4294967295", "server.user = 4294967295: is larger than any number of an account");
    refused("server.user = true", "server.user = true: is a boolean: write a user's name, as \"www-data\"");
    let own = nix::unistd::User::from_uid(nix::unistd::geteuid()).unwrap().unwrap();
    let settings = Site::with(&format!("server.user = \"{}\"", own.name)).settings();
    let user = User { name: own.name, id: own.uid.as_raw(), primary_group: own.gid.as_raw() };
    assert_eq!(settings.server.user, Some(user));
}

#[test]
fn a_long_or_broken_value_is_quoted_on_one_line() {
    let problem = Site::with(&format!("app.mount = \"\"\"a\n{}\"\"\"", "x".repeat(200))).problem();
    assert!(!problem.contains('\n') && problem.len() < 400, "{problem}");
}

#[test]
fn broken_toml_is_told_with_line_column_and_what_was_expected() {
    for (line, said) in [
        ("count = = 2", "3:9: not TOML: extra `=`, expected nothing"),
        ("count = \"2", "3:11: not TOML: invalid basic string, expected `\"`"),
        (
            "boot_timeout = 30s # slow",
            "3:16: not TOML: string values must be quoted, expected literal string (a string is written in quotes: \
             \"30s\")",
        ),
        (
            "bind = 127.0.0.1:8000",
            "3:13: not TOML: invalid float, expected nothing (a string is written in quotes: \"127.0.0.1:8000\")",
        ),
    ] {
        let problems =
            Site::new(&format!("app.target = \"app\"\n[workers]\n{line}\nthreads = 0\n")).problems();
        assert_eq!(problems.len(), 2, "{problems:#?}");
        assert_eq!(problems[0], format!("app.toml:{said}"));
        assert!(
            problems[1].starts_with("app.toml:4: workers.threads = 0: must be at least 1"),
            "{problems:#?}"
        );
    }
}

#[test]
fn a_key_without_a_value() {
    let site = Site::with("[workers]\ncount 2");
    assert_eq!(site.problem(), "app.toml:3:7: not TOML: key with no value, expected `=`");
}

#[test]
fn a_broken_header_hides_what_cannot_be_known() {
    let site = Site::new("[app\ntarget = \"app\"\n[workers]\ncount = 0\n");
    assert_eq!(site.problem(), "app.toml:1:5: not TOML: unclosed table, expected `]`");
    let site =
        Site::new("[workers]\nthreads = 0\n[server]\nbind = [\":80\", \":81\"\n[app]\ntarget = \"app\"\n");
    assert_eq!(
        site.problems(),
        [
            "app.toml:2: workers.threads = 0: must be at least 1 (remove the line to use 1)",
            "app.toml:5:1: not TOML: missing comma between array elements, expected `,`",
        ]
    );
}

#[test]
fn variables_without_a_value() {
    let site = Site::with("").flag("app", "environment", &["DEBUG"]);
    assert_eq!(site.problem(), "--env: app.environment = DEBUG: has no = in \"DEBUG\": write NAME=VALUE");
    let site = Site::with("").variable("RWSGI_APP_ENVIRONMENT", "=1");
    assert_eq!(
        site.problem(),
        "RWSGI_APP_ENVIRONMENT: app.environment = =1: \"\" cannot be the name of a variable"
    );
}

#[test]
fn a_variable_that_is_not_utf_8() {
    use std::os::unix::ffi::OsStringExt;
    let mut site = Site::with("");
    site.variables.push(("RWSGI_APP_MOUNT".into(), OsString::from_vec(vec![b'/', 0xff])));
    assert_eq!(site.problem(), "RWSGI_APP_MOUNT: its value is not UTF-8");
}

#[test]
fn a_duplicate_key_is_told_with_its_line() {
    let site = Site::with("[workers]\ncount = 1\ncount = 2");
    assert_eq!(site.problem(), "app.toml:4:1: count is written twice: remove one of the two");
    let site = Site::new("[app]\ntarget = \"app\"\n[app]\nmount = \"/a\"");
    assert_eq!(site.problem(), "app.toml:3:2: app is written twice: put all its keys under one header");
}

#[test]
fn files_that_cannot_be_read() {
    let mut site = Site::new("");
    site.file = Some("none.toml".into());
    assert_eq!(
        site.problem(),
        "none.toml: there is no such file: correct the path, or run without a file: rwsgi MODULE:CALLABLE"
    );
    site.file = Some(".".into());
    assert_eq!(site.problem(), ".: is a directory: write app.toml after it");
    site.file = Some("dir".into());
    let site = site.directory("dir");
    assert_eq!(
        site.problem(),
        "dir: is a directory, not a configuration file: give the file's path, or run without a file: rwsgi \
         MODULE:CALLABLE"
    );
    std::fs::write(site.path("app.toml"), b"[app]\ntarget = \"\xff\"\n").unwrap();
    let site = Site { file: Some("app.toml".into()), ..site };
    assert_eq!(site.problem(), "app.toml: is not UTF-8 in line 2: save it as UTF-8");
    std::fs::write(site.path("app.toml"), vec![b'\n'; (1 << 20) + 1]).unwrap();
    assert_eq!(site.problem(), "app.toml: is larger than 1MiB: that is no configuration file");
}

#[test]
fn everything_wrong_is_told_at_once_in_order() {
    let site = Site::new(
        "[http]\nkeep_alive = 75\n[workers]\ncuont = 4\nthreads = 0\n[sever]\nbind = \"x\"\n[server]\nbind = 8000\n",
    );
    let site = site.variable("RWSGI_HTTP_MAX_BODY", "1 MiB").variable("RWSGI_SERVER_BNID", "x").flag(
        "app",
        "mount",
        &["x"],
    );
    assert_eq!(
        site.problems(),
        [
            "app.toml:2: http.keep_alive = 75: has no unit: write \"75s\" for seconds",
            "app.toml:4: workers.cuont = 4: unknown key (did you mean workers.count?)",
            "app.toml:5: workers.threads = 0: must be at least 1 (remove the line to use 1)",
            "app.toml:6: [sever]: unknown section (did you mean [server]?)",
            "app.toml:9: server.bind = 8000: is a port without an address: write \"127.0.0.1:8000\", or \":8000\" to \
             listen on every address",
            "RWSGI_SERVER_BNID: no such setting (did you mean RWSGI_SERVER_BIND?)",
            "RWSGI_HTTP_MAX_BODY: http.max_body = 1 MiB: has an unknown unit: write \"1MiB\"",
            "--mount: app.mount = x: must begin with a slash: write \"/x\"",
            "app.toml: app.target: is not set: write which application to run, as target = \"app:application\" under \
             [app]",
        ]
        .map(|line| line.to_owned())
    );
}
