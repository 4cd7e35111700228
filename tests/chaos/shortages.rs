//! What the machine runs out of: time (a stopped worker), disk, descriptors, processes. The log says what is missing, the site
//! stays up, and everything is as before when the cause has gone.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::client::{Address, Client};
use crate::load::{Fault, Load, Mix};
use crate::site::{Plan, SOON, is_full, send, variants};
use crate::verdict::{Killed, expect_no_failure, expect_only, expect_only_killed};

#[test]
fn a_worker_is_stopped_and_goes_on() {
    for variant in variants().into_iter().take(if is_full() { 4 } else { 1 }) {
        let site = Plan::new(variant, 2).start();
        let load = site.load(Mix::USUAL);
        site.expect_crew(&load);
        let before = site.workers();
        assert!(send(before[0], Signal::SIGSTOP));
        // Connections that it holds wait; new ones go elsewhere.
        site.server.wait_for("no sign of life");
        assert!(send(before[0], Signal::SIGCONT));
        site.server.wait_for("is heard again");
        load.await_answers(500);
        assert_eq!(site.workers(), before, "a worker that came back was replaced");
        expect_no_failure(&site, load);
    }
}

#[test]
fn a_worker_stays_stopped() {
    if !is_full() {
        eprintln!("skipped: it takes longer than the short form has; make chaos runs it");
        return;
    }
    for variant in variants() {
        let site = Plan::new(variant, 2).with("workers.request_timeout", "\"5s\"").start();
        let load = site.load(Mix::CLOSING);
        site.expect_crew(&load);
        let worker = site.workers()[0];
        assert!(send(worker, Signal::SIGSTOP));
        // The kernel says so when it has stopped the last of its threads; until then it may accept.
        let is_stopped = || site.crew().iter().any(|it| it.pid == worker && it.state == 'T');
        assert!(load.until(SOON, is_stopped).is_ok(), "worker {worker} does not stop");
        let stopped = Instant::now();
        assert!(
            load.until(SOON, || !site.workers().contains(&worker)).is_ok(),
            "worker {worker} is still there"
        );
        site.expect_crew(&load);
        expect_only(&site, load, |failure| {
            matches!(failure.fault, Fault::NoAnswer(_) | Fault::Timeout) && failure.connected <= stopped
        });
    }
}

/// Mounts a tiny disk on its first argument and becomes the server.
const TINY_DISK: &str = "mount -t tmpfs -o size=256k tmpfs \"$0\" && TMPDIR=\"$0\" exec \"$@\"";

/// Whether this user may mount a disk; says so on standard error if not.
fn may_mount(place: &Path) -> bool {
    let trial = Command::new("unshare").args(["-m", "sh", "-c", TINY_DISK]).arg(place).arg("true").output();
    let reason = match trial {
        Ok(output) if output.status.success() => return true,
        Ok(output) => String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        Err(error) => error.to_string(),
    };
    eprintln!("skipped: a tiny disk cannot be mounted here: {reason}");
    false
}

/// Fills a disk up to its last byte.
fn fill(file: &Path) {
    let mut filler = File::create(file).unwrap();
    while filler.write_all(&[b'x'; 1024]).is_ok() {}
    while filler.write_all(b"x").is_ok() {}
}

/// A body that does not fit into memory.
fn upload(address: &Address) -> u16 {
    let head = "POST /?upload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 40000\r\n\r\n";
    let mut client = Client::connect(address);
    client.send([head.as_bytes(), &[b'x'; 40000]].concat()).response().status
}

#[test]
fn the_disk_of_logs_and_spool_is_full() {
    for variant in variants() {
        // Bodies of the load stay in memory; uploads go to the disk.
        let plan = Plan::new(variant, 2)
            .with("http.body_memory", "\"32KiB\"")
            .with("log.access", "\"disk/access.log\"");
        let disk = plan.path("disk");
        fs::create_dir(&disk).unwrap();
        if !may_mount(&disk) {
            return;
        }
        let place = disk.to_str().unwrap().to_owned();
        let site =
            plan.change(|builder| builder.within(&["unshare", "-m", "sh", "-c", TINY_DISK, &place])).start();
        // The disk as the server sees it.
        let inside = PathBuf::from(format!("/proc/{}/root{place}", site.master()));
        assert_eq!(upload(&site.server.address()), 200);
        let load = Load::start(&site.addresses(), Mix { kept: 2, closing: 1, path: "/" });
        fill(&inside.join("filler"));
        site.server.wait_for("cannot write the access log");
        assert_eq!(upload(&site.server.address()), 507);
        site.server.wait_for("cannot write a request body to a temporary file");
        // New code needs no disk of the server's.
        site.deploy();
        site.reload();
        load.await_answers(100);
        fs::remove_file(inside.join("filler")).unwrap();
        // The access log alone would fill it again.
        File::create(inside.join("access.log")).unwrap();
        site.server.wait_for("the access log can be written again");
        let mended = || {
            File::create(inside.join("access.log")).unwrap();
            upload(&site.server.address()) == 200
        };
        assert!(load.until(SOON, mended).is_ok(), "uploads fail with an empty disk");
        expect_no_failure(&site, load);
    }
}

#[test]
fn the_disk_of_the_error_log_is_full() {
    let variant = variants()[0];
    let plan = Plan::new(variant, 2).with("log.file", "\"disk/error.log\"");
    let disk = plan.path("disk");
    fs::create_dir(&disk).unwrap();
    if !may_mount(&disk) {
        return;
    }
    let place = disk.to_str().unwrap().to_owned();
    let site =
        plan.change(|builder| builder.within(&["unshare", "-m", "sh", "-c", TINY_DISK, &place])).launch();
    // The log is elsewhere, but the listener was there before the server: the first answer comes when it serves.
    let address = [site.server.address()];
    site.server.get("/?first").expect(200);
    let load = Load::start(&address, Mix::USUAL);
    let inside = PathBuf::from(format!("/proc/{}/root{place}", site.process_group()));
    let log = || fs::read_to_string(inside.join("error.log")).unwrap();
    fill(&inside.join("filler"));
    // Nothing can be told now; it has to work all the same.
    let old = site.workers();
    let killed = Killed { worker: old[0], at: Instant::now() };
    assert!(send(old[0], Signal::SIGKILL));
    let replaced = || site.workers().len() == 2 && !site.workers().contains(&old[0]);
    assert!(load.until(SOON, replaced).is_ok(), "no replacement with a full disk");
    fs::remove_file(inside.join("filler")).unwrap();
    site.server.signal(Signal::SIGHUP);
    assert!(
        load.until(SOON, || log().contains("; retiring generation 1")).is_ok(),
        "the log stays silent: {}",
        log()
    );
    expect_only_killed(&site, load, &[killed]);
}

/// Sets a limit of a running process and returns what it was. Only its own user may do so in a container.
fn limit(pid: i32, which: &str, value: &str) -> String {
    let id =
        |file: &str| fs::metadata(file).map(|file| (file.uid().to_string(), file.gid().to_string())).unwrap();
    let (user, group) = id(&format!("/proc/{pid}"));
    let prlimit = |argument: &str| {
        let mut command = Command::new("prlimit");
        if nix::unistd::geteuid().is_root() {
            command = Command::new("setpriv");
            command.args(["--reuid", &user, "--regid", &group, "--clear-groups", "prlimit"]);
        }
        command.arg(format!("--pid={pid}")).arg(argument).args(["--raw", "--noheadings", "--output=SOFT"]);
        let output = command.output().unwrap();
        assert!(output.status.success(), "prlimit {argument} of pid {pid}: {output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    let before = prlimit(&format!("--{which}"));
    prlimit(&format!("--{which}={value}:"));
    before
}

/// The lowest number that no descriptor has: as the limit, it leaves none to be opened.
fn free_descriptor(pid: i32) -> usize {
    (0..).find(|number| fs::symlink_metadata(format!("/proc/{pid}/fd/{number}")).is_err()).unwrap()
}

#[test]
fn descriptors_of_workers_are_exhausted() {
    for variant in variants() {
        let site = Plan::new(variant, 2).start();
        let before = site.workers();
        let limits: Vec<String> = before
            .iter()
            .map(|&worker| limit(worker, "nofile", &free_descriptor(worker).to_string()))
            .collect();
        // More kept connections than both may have: whoever gets none waits in the queue of the listener.
        let mut kept = Vec::new();
        let mut hold_one = || {
            let mut client = Client::connect(&site.server.address());
            client.send("GET /?kept HTTP/1.1\r\nHost: localhost\r\n\r\n");
            kept.push(client);
        };
        (0..6).for_each(|_| hold_one());
        site.server.wait_for("cannot accept connections");
        for (&worker, usual) in before.iter().zip(&limits) {
            limit(worker, "nofile", usual);
        }
        for client in &mut kept {
            client.response().expect(200);
        }
        let load = site.load(Mix::USUAL);
        load.await_answers(100);
        assert_eq!(site.workers(), before, "workers were replaced for want of descriptors");
        expect_no_failure(&site, load);
        drop(kept);
    }
}

#[test]
fn descriptors_of_the_master_are_exhausted() {
    for variant in variants() {
        let site = Plan::new(variant, 2).start();
        let load = site.load(Mix::USUAL);
        site.expect_crew(&load);
        let before = site.holdings();
        let usual = limit(site.master(), "nofile", &free_descriptor(site.master()).to_string());
        site.reload_in_vain("keeps serving", "Too many open files");
        let old = site.workers();
        let killed = Killed { worker: old[0], at: Instant::now() };
        assert!(send(old[0], Signal::SIGKILL));
        load.await_answers(50);
        limit(site.master(), "nofile", &usual);
        site.expect_crew(&load);
        site.reload();
        site.expect_whole(&load, before);
        expect_only_killed(&site, load, &[killed]);
    }
}

/// A user that nobody else is, so that nobody else's processes count.
const LONELY: &str = "54321";

#[test]
fn processes_cannot_be_made() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: only root can start a server as another user");
        return;
    }
    for variant in variants() {
        let plan = Plan::new(variant, 2)
            .with("server.user", &format!("\"{LONELY}\""))
            .with("server.group", "\"nogroup\"");
        fs::set_permissions(plan.path(""), fs::Permissions::from_mode(0o777)).unwrap();
        let site = plan.start();
        let load = site.load(Mix::USUAL);
        site.expect_crew(&load);
        let before = site.holdings();
        // The master forks workers and templates; a template forks workers.
        let parents: Vec<i32> = site.templates().into_iter().chain([site.master()]).collect();
        let limits: Vec<String> = parents.iter().map(|&pid| limit(pid, "nproc", "1")).collect();
        let old = site.workers();
        let killed = Killed { worker: old[0], at: Instant::now() };
        assert!(send(old[0], Signal::SIGKILL));
        site.server.wait_for("Resource temporarily unavailable");
        site.reload_in_vain("keeps serving", "Resource temporarily unavailable");
        load.await_answers(50);
        for (&pid, usual) in parents.iter().zip(&limits) {
            limit(pid, "nproc", usual);
        }
        let waited = load.until(SOON, || site.workers().len() == 2);
        assert!(waited.is_ok(), "no worker is started when processes can be made again");
        println!(
            "{variant:?}: whole again {:.1?} after processes could be made",
            waited.unwrap_or(Duration::MAX)
        );
        site.reload();
        site.expect_whole(&load, before);
        expect_only_killed(&site, load, &[killed]);
    }
}
