//! A start that cannot succeed: one message that says what to change, and the exit code for it.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::harness::{Builder, Outcome, binary, root, run, run_command};
use crate::tools;

/// Runs the program with the configuration of `builder` until it gives up.
fn outcome(builder: &Builder) -> Outcome {
    let file = builder.write();
    run(&root(), &["-c", file.to_str().unwrap()])
}

fn on_a_free_port(target: &str) -> Builder {
    Builder::new(target).bind(&[&format!("127.0.0.1:{}", tools::free_port())])
}

#[test]
fn port_in_use() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let outcome = outcome(&Builder::new("function").bind(&[&address]));
    let occupant = fs::read_to_string("/proc/self/comm").unwrap();
    let message = format!(
        "{address}: the address is in use by {} (pid {}): stop it, or set server.bind / --bind to another address",
        occupant.trim(),
        std::process::id()
    );
    outcome.expect_code(1).expect_error(&message);
}

/// Runs the program as the user nobody, from a copy that this user may read.
fn as_nobody(directory: &Path, config: &str) -> Outcome {
    assert!(nix::unistd::geteuid().is_root(), "only root can become nobody");
    fs::set_permissions(directory, fs::Permissions::from_mode(0o755)).unwrap();
    let file = directory.join("app.toml");
    fs::write(&file, config).unwrap();
    fs::write(directory.join("site_of_nobody.py"), "application = print\n").unwrap();
    let copy = directory.join("rwsgi");
    fs::copy(binary(), &copy).unwrap();
    let mut command = Command::new(tools::program("setpriv"));
    command.args([
        "--reuid=nobody",
        "--regid=nogroup",
        "--clear-groups",
        "--inh-caps=-all",
        "--bounding-set=-all",
    ]);
    command.arg(copy).arg("-c").arg(file).current_dir(directory).stdin(Stdio::null());
    run_command(command)
}

#[test]
fn no_permission_for_port_80() {
    let first = fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").unwrap();
    if first.trim().parse::<u16>().unwrap() <= 80 {
        eprintln!(
            "skipped: net.ipv4.ip_unprivileged_port_start = {} lets everybody have port 80",
            first.trim()
        );
        return;
    }
    let message = "127.0.0.1:80: port 80 needs a privilege: use a port from 1024, a proxy in front, socket activation, \
                   or CAP_NET_BIND_SERVICE";
    let config = "[app]\ntarget = \"site_of_nobody\"\n\n[server]\nbind = \"127.0.0.1:80\"\n";
    let directory = tempfile::tempdir().unwrap();
    let outcome = if nix::unistd::geteuid().is_root() {
        as_nobody(directory.path(), config)
    } else {
        outcome(&Builder::new("function").bind(&["127.0.0.1:80"]))
    };
    outcome.expect_code(1).expect_error(message);
}

#[test]
fn missing_module() {
    let outcome = outcome(&on_a_free_port("no_such_module_anywhere"));
    outcome.expect_code(3).expect_error("no module named \"no_such_module_anywhere\" in ");
    assert!(!outcome.stderr.contains("panicked"), "{}", outcome.stderr);
}

#[test]
fn missing_dependency_of_the_application() {
    let outcome = outcome(&on_a_free_port("import_missing_dependency"));
    outcome.expect_code(3).expect_error("No module named 'a_package_that_is_not_installed'");
    outcome.expect_error("import_missing_dependency.py");
}

#[test]
fn exception_at_import() {
    let outcome = outcome(&on_a_free_port("import_raises"));
    outcome.expect_code(3).expect_error("Traceback (most recent call last)");
    outcome
        .expect_error("importing \"import_raises\" raised RuntimeError: the database settings are missing");
}

#[test]
fn syntax_error() {
    let outcome = outcome(&on_a_free_port("import_syntax_error"));
    outcome.expect_code(3).expect_error("SyntaxError").expect_error("import_syntax_error.py");
}

#[test]
fn exit_at_import() {
    let outcome = outcome(&on_a_free_port("import_exits"));
    outcome.expect_code(3).expect_error("called sys.exit('usage: import_exits.py COMMAND')");
}

#[test]
fn death_at_import() {
    outcome(&on_a_free_port("import_dies")).expect_code(3).expect_error("SIGSEGV");
}

#[test]
fn import_that_hangs() {
    let builder = on_a_free_port("import_hangs").with("workers.boot_timeout", "\"500ms\"");
    outcome(&builder).expect_code(3).expect_error("workers.boot_timeout");
}

#[test]
fn missing_callable() {
    let outcome = outcome(&on_a_free_port("function:aplication"));
    outcome.expect_code(4).expect_error("module \"function\" has no \"aplication\"");
    // The nearest name is offered.
    outcome.expect_error("function:application");
}

#[test]
fn not_callable() {
    let outcome = outcome(&on_a_free_port("factory:not_callable"));
    outcome.expect_code(4).expect_error("factory:not_callable is of type int, which is not callable");
}

#[test]
fn virtual_environment_of_another_version() {
    let builder = on_a_free_port("function");
    let environment = builder.path("env");
    fs::create_dir_all(environment.join("bin")).unwrap();
    fs::write(environment.join("pyvenv.cfg"), "home = /usr/bin\nversion = 3.7.4\n").unwrap();
    std::os::unix::fs::symlink("/bin/true", environment.join("bin/python")).unwrap();
    let outcome = outcome(&builder.with("app.virtualenv", "\"env\"").with("app.directory", "\".\""));
    outcome.expect_code(2).expect_error("it is of Python 3.7, but rwsgi embeds Python 3.");
}

#[test]
fn missing_virtual_environment() {
    let builder = on_a_free_port("function").with("app.virtualenv", "\"/no/such/env\"");
    outcome(&builder).expect_code(2).expect_error("app.virtualenv = \"/no/such/env\"");
}

/// Runs the program with this configuration file.
fn outcome_of(text: &[u8]) -> Outcome {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("app.toml"), text).unwrap();
    run(directory.path(), &["-c", "app.toml"])
}

#[test]
fn unknown_key() {
    let outcome = outcome_of(b"[app]\ntarget = \"function\"\n\n[workers]\ncuont = 4\n");
    outcome
        .expect_code(2)
        .expect_error("app.toml:5: workers.cuont = 4: unknown key (did you mean workers.count?)");
}

#[test]
fn wrong_values_all_at_once() {
    let outcome = outcome_of(b"[app]\ntarget = \"function\"\n[workers]\ncount = 0\nthreads = \"two\"\n");
    outcome.expect_code(2).expect_error("app.toml:4: workers.count = 0: must be at least 1");
    outcome.expect_error("app.toml:5: workers.threads = \"two\": ");
}

#[test]
fn no_target() {
    let message = "app.toml: app.target: is not set: write which application to run";
    outcome_of(b"[workers]\ncount = 1\n").expect_code(2).expect_error(message);
}

#[test]
fn bad_toml() {
    let outcome = outcome_of(b"[app]\ntarget = \"function\"\nthreads\n");
    outcome.expect_code(2).expect_error("app.toml:3:8: not TOML: key with no value, expected `=`");
}

#[test]
fn missing_file() {
    let outcome = run(&root(), &["-c", "/no/such/app.toml"]);
    outcome.expect_code(2).expect_error("/no/such/app.toml").expect_error("there is no such file");
}

#[test]
fn unreadable_file() {
    if !nix::unistd::geteuid().is_root() {
        let builder = on_a_free_port("function");
        let file = builder.write();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o0)).unwrap();
        run(&root(), &["-c", file.to_str().unwrap()])
            .expect_code(2)
            .expect_error("may not be read (permission denied)");
        return;
    }
    // Root may read everything.
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("app.toml");
    fs::write(&file, "").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    let outcome = as_nobody(directory.path(), "[app]\ntarget = \"x\"\n");
    outcome.expect_code(2).expect_error("app.toml: may not be read (permission denied)");
}

#[test]
fn unknown_option() {
    run(&root(), &["--wrokers", "4", "function"]).expect_code(2).expect_error("--workers");
}
