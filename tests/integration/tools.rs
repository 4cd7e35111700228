//! The other programs that tests need: the virtual environment with the frameworks, nginx and wrk.
//!
//! None is optional. What is missing fails the test with the way to get it.

use std::fs;
use std::io::Read;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::client::Address;
use crate::harness::{self, Program, root};

/// The virtual environment with the packages of `tests/requirements.txt`.
#[track_caller]
pub(crate) fn virtual_environment() -> PathBuf {
    let path = std::env::var_os("RWSGI_TEST_VENV").map_or_else(|| root().join(".venv"), PathBuf::from);
    let python = path.join("bin/python");
    assert!(python.exists(), "{} is missing: run `make test`, which makes it", python.display());
    path
}

/// Runs the virtual environment's Python and insists on success.
#[track_caller]
pub(crate) fn python(directory: &Path, arguments: &[&str], variables: &[(&str, &Path)]) -> String {
    let mut command = Command::new(virtual_environment().join("bin/python"));
    command.args(arguments).current_dir(directory).envs(variables.iter().copied()).stdin(Stdio::null());
    let outcome = harness::run_command(command);
    assert!(outcome.status.success(), "{outcome:#?}");
    outcome.stdout
}

/// Finds a program on the path or in the places of system programs.
#[track_caller]
pub(crate) fn program(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    let found = places.map(|place| place.join(name)).find(|file| file.is_file());
    found.unwrap_or_else(|| panic!("{name} is not installed: run `make test`, which installs it"))
}

/// A port of the loopback interface that was free a moment ago.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// An nginx in front of one upstream.
#[derive(Debug)]
pub(crate) struct Nginx {
    pub(crate) address: Address,
    program: Program,
    directory: TempDir,
}

impl Nginx {
    /// Starts nginx as a proxy for `upstream`, which is reached over kept connections.
    #[track_caller]
    pub(crate) fn start(upstream: &Address) -> Self {
        Self::start_site(|listen| site(listen, upstream))
    }

    /// Starts nginx with a configuration of the http context that listens on the address that it is given.
    #[track_caller]
    pub(crate) fn start_site(site: impl FnOnce(SocketAddr) -> String) -> Self {
        let directory = tempfile::Builder::new().prefix("rwsgi-nginx-").tempdir().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let file = directory.path().join("nginx.conf");
        fs::write(&file, configuration(directory.path(), &site(address))).unwrap();
        // nginx takes listeners over that an older nginx names in this variable. Bound before nginx starts,
        // the listener queues connections until nginx is ready, so there is nothing to wait for.
        let mut command = Command::new("sh");
        command.args(["-c", "exec 3<&0 0</dev/null; NGINX='3;' exec \"$@\"", "sh"]).arg(program("nginx"));
        command.arg("-p").arg(directory.path()).arg("-c").arg(&file).args(["-e", "stderr"]);
        command.stdin(Stdio::from(OwnedFd::from(listener)));
        let program = Program::spawn(command);
        Self { address: Address::Tcp(address), program, directory }
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let file = fs::read_to_string(self.directory.path().join("nginx.conf")).unwrap_or_default();
            eprintln!("--- nginx.conf\n{file}\n--- log of nginx\n{}", self.program.log.text());
        }
    }
}

fn configuration(directory: &Path, site: &str) -> String {
    // Without root the directive `user` is only a warning.
    let user = if nix::unistd::geteuid().is_root() { "user root;" } else { "" };
    format!(
        "{user}
daemon off;
worker_processes 1;
pid {directory}/nginx.pid;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
{site}}}
",
        directory = directory.display()
    )
}

fn site(listen: SocketAddr, upstream: &Address) -> String {
    let upstream = match upstream {
        Address::Tcp(address) => address.to_string(),
        Address::Unix(path) => format!("unix:{}", path.display()),
    };
    format!(
        "    upstream application {{ server {upstream}; keepalive 8; }}
    server {{
        listen {listen};
        client_max_body_size 64m;
        location / {{
            proxy_pass http://application;
            proxy_http_version 1.1;
            proxy_set_header Connection \"\";
            proxy_set_header Host $host;
            proxy_set_header X-Forwarded-Proto https;
        }}
    }}
"
    )
}

/// A running wrk.
#[derive(Debug)]
pub(crate) struct Wrk {
    program: Program,
}

/// What wrk counted.
#[derive(Debug)]
pub(crate) struct Counted {
    pub(crate) requests: u64,
    pub(crate) report: String,
}

impl Wrk {
    /// Sends requests over 16 kept connections for `seconds`.
    #[track_caller]
    pub(crate) fn start(address: &Address, seconds: u32) -> Self {
        let Address::Tcp(address) = address else { panic!("wrk wants TCP") };
        let mut command = Command::new(program("wrk"));
        command.args(["-t1", "-c16", &format!("-d{seconds}s"), &format!("http://{address}/")]);
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        Self { program: Program::spawn(command) }
    }

    /// Waits for its end and reads its report.
    #[track_caller]
    pub(crate) fn finish(mut self) -> Counted {
        let mut report = String::new();
        self.program.stdout.take().expect("a pipe").read_to_string(&mut report).unwrap();
        assert!(self.program.wait().success(), "wrk failed: {report}{}", self.program.log.text());
        let line = report.lines().find_map(|line| line.split_once(" requests in "));
        let requests = line.and_then(|(count, _)| count.trim().parse().ok());
        Counted { requests: requests.unwrap_or_else(|| panic!("the report of wrk: {report}")), report }
    }
}

impl Counted {
    /// Insists that requests were made and that each was answered with success.
    #[track_caller]
    pub(crate) fn expect_no_failure(&self) {
        assert!(self.requests > 100, "hardly any request was made:\n{}", self.report);
        for sign in ["Socket errors", "Non-2xx"] {
            assert!(!self.report.contains(sign), "requests failed:\n{}", self.report);
        }
    }
}
