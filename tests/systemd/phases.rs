//! What is done to the sites on the machine, in this order. Each phase leaves its site running, unless it says otherwise.

use std::fs;
use std::os::unix::net::UnixStream;
use std::path::Path;

use crate::client::{Address, Client, Session};
use crate::install::{SHOP, site};
use crate::load::Load;
use crate::machine::Machine;

type Phase = (&'static str, fn(&Machine));

/// All of them.
pub(crate) const ALL: [Phase; 12] = [
    ("the units are sound", units_are_sound),
    ("start", start),
    ("what the hardening allows", hardening),
    ("reload, broken reload, restart and upgrade under load", changes_under_load),
    ("a worker is killed", worker_is_killed),
    ("the master is killed", master_is_killed),
    ("the master hangs (watchdog)", master_hangs),
    ("stop", stop),
    ("an address changes over a restart", address_changes),
    ("socket activation with two named sockets", socket_activation),
    ("Django on SQLite", django),
    ("a start that fails", start_that_fails),
];

const UNIT: &str = "rwsgi.service";
const SOCKET: &str = "/run/rwsgi/app.sock";
const SITE: &str = "/srv/site/site_under_test.py";

fn units_are_sound(machine: &Machine) {
    // As a package's scripts do it.
    machine.run(&["systemd-sysusers", "/usr/lib/sysusers.d/rwsgi.conf"]);
    machine.run(&["systemd-tmpfiles", "--create", "/usr/lib/tmpfiles.d/rwsgi.conf"]);
    for unit in [UNIT, "rwsgi@shop.service", "rwsgi.socket", "rwsgi@shop.socket"] {
        let output = machine.try_run(&["systemd-analyze", "verify", "--man=no", unit]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && !said.contains("rwsgi"), "{unit}: {said}");
    }
    for unit in ["rwsgi.service", "rwsgi@.service"] {
        let path = format!("/usr/lib/systemd/system/{unit}");
        // Tenths; what is above makes it fail.
        machine.run(&["systemd-analyze", "security", "--offline=yes", "--threshold=25", "--no-pager", &path]);
    }
}

fn start(machine: &Machine) {
    machine.run(&["systemctl", "start", UNIT]);
    // No waiting: a start is over when the site serves.
    assert_eq!(machine.get(SOCKET, "/"), "first");
    let status = machine.property(UNIT, "StatusText");
    assert!(status.starts_with("2 workers, generation 1, "), "{status}");
    assert_eq!(machine.property(UNIT, "NFileDescriptorStore"), "1");
    let status = machine.run(&["rwsgi", "ctl", "-c", "/etc/rwsgi/app.toml", "status"]);
    assert!(status.contains("generation 1"), "{status}");
}

fn hardening(machine: &Machine) {
    let text = machine.get(SOCKET, "/doings");
    let doings: serde_json::Value = serde_json::from_str(&text).unwrap();
    for allowed in ["state", "logs", "database", "temporary", "program", "name", "tcp", "unix"] {
        assert_eq!(doings[allowed], "done", "{allowed}: {text}");
    }
    for (shut, sign) in [
        ("own code", "Read-only file system"),
        ("system", "Read-only file system"),
        ("settings of others", "Permission denied"),
        ("kernel", "Errno"),
        ("namespace", "returned non-zero"),
    ] {
        assert!(doings[shut].as_str().unwrap().contains(sign), "{shut}: {text}");
    }
    assert_ne!(doings["user"], "0");
    assert_eq!(doings["variables"], "[]", "what is systemd's and the master's is no business of the site");
    assert_ne!(doings["processors"], "None");
}

fn changes_under_load(machine: &Machine) {
    let load = Load::begin(&machine.socket(SOCKET));
    reload(machine);
    broken_reload(machine);
    restart(machine);
    upgrade(machine);
    // Of a master that systemd has not started.
    restart(machine);
    let answers = load.answers();
    assert!(load.finish() >= answers);
    assert!(answers > 50, "hardly a request was made: {answers}");
    crate::say(&format!("{answers} requests under load, none failed"));
}

fn reload(machine: &Machine) {
    fs::write(machine.path(SITE), site("second")).unwrap();
    machine.run(&["systemctl", "reload", UNIT]);
    assert_eq!(machine.get(SOCKET, "/"), "second");
    let status = machine.property(UNIT, "StatusText");
    assert!(status.starts_with("2 workers, generation 2, "), "{status}");
}

fn broken_reload(machine: &Machine) {
    fs::write(machine.path(SITE), "import does_not_exist\n").unwrap();
    let output = machine.try_run(&["systemctl", "reload", UNIT]);
    assert!(!output.status.success(), "a reload of broken code succeeded");
    assert_eq!(machine.get(SOCKET, "/"), "second");
    assert_eq!(machine.property(UNIT, "ActiveState"), "active");
    let status = machine.property(UNIT, "StatusText");
    assert!(status.contains("; reload failed: ") && status.ends_with(", generation 2 goes on"), "{status}");
    // Said by the command that systemd ran, too, and not only by the master.
    let master = machine.property(UNIT, "MainPID");
    let records =
        machine.run(&["journalctl", "-u", UNIT, "-o", "json", "--no-pager", "--output-fields=MESSAGE,_PID"]);
    let is_told = records.lines().any(|line| {
        let record: serde_json::Value = serde_json::from_str(line).unwrap();
        let text = record["MESSAGE"].as_str().unwrap_or_default();
        text.contains("ModuleNotFoundError: No module named 'does_not_exist'")
            && record["_PID"] != master.as_str()
    });
    assert!(is_told, "{records}");
    fs::write(machine.path(SITE), site("third")).unwrap();
    machine.run(&["systemctl", "reload", UNIT]);
    assert_eq!(machine.get(SOCKET, "/"), "third");
    assert!(!machine.property(UNIT, "StatusText").contains("failed"));
}

fn restart(machine: &Machine) {
    let before = machine.property(UNIT, "MainPID");
    let inode = inode(machine);
    machine.run(&["systemctl", "restart", UNIT]);
    assert_ne!(machine.property(UNIT, "MainPID"), before);
    assert_eq!(self::inode(machine), inode, "the socket file was made anew");
    assert_eq!(machine.property(UNIT, "NFileDescriptorStore"), "1");
    assert!(machine.property(UNIT, "StatusText").starts_with("2 workers, generation 1, "));
}

fn inode(machine: &Machine) -> u64 {
    std::os::unix::fs::MetadataExt::ino(&fs::symlink_metadata(machine.path(SOCKET)).unwrap())
}

fn upgrade(machine: &Machine) {
    let before = machine.property(UNIT, "MainPID");
    let stopped = machine.count("stopped");
    machine.run(&["systemctl", "kill", "--kill-who=main", "--signal=USR2", UNIT]);
    machine.wait_for("took over from the master with pid", 1);
    // The old master's last word.
    machine.wait_for("stopped", stopped + 1);
    assert_ne!(machine.property(UNIT, "MainPID"), before);
    assert_eq!(machine.property(UNIT, "ActiveState"), "active");
    assert_eq!(machine.property(UNIT, "NFileDescriptorStore"), "1");
    assert_eq!(machine.property(UNIT, "NRestarts"), "0");
    fs::write(machine.path(SITE), site("fourth")).unwrap();
    machine.run(&["systemctl", "reload", UNIT]);
    assert_eq!(machine.get(SOCKET, "/"), "fourth");
}

/// As the kernel does it to a process that uses too much memory. No limit is set here: that needs a controller which this
/// machine may not have.
fn worker_is_killed(machine: &Machine) {
    let master = machine.property(UNIT, "MainPID");
    let worker = machine.get(SOCKET, "/pid");
    machine.run(&["kill", "-KILL", &worker]);
    machine.wait_for("was killed by signal 9 (SIGKILL)", 1);
    assert_eq!(machine.property(UNIT, "OOMPolicy"), "continue");
    assert_eq!(machine.property(UNIT, "MainPID"), master);
    assert_eq!(machine.property(UNIT, "ActiveState"), "active");
    assert_eq!(machine.get(SOCKET, "/"), "fourth");
}

/// Between the two masters there is no process of rwsgi: who asks then waits in the queue of the listener.
fn master_is_killed(machine: &Machine) {
    let master = machine.property(UNIT, "MainPID");
    machine.run(&["systemctl", "kill", "--kill-who=all", "--signal=KILL", UNIT]);
    let mut waiting = Client::connect(&machine.socket(SOCKET));
    assert_eq!(waiting.get("/").expect(200).text(), "fourth");
    assert_ne!(machine.property(UNIT, "MainPID"), master);
    assert_eq!(machine.property(UNIT, "NRestarts"), "1");
    settle(machine);
}

/// Waits until a start that systemd makes by itself is over.
fn settle(machine: &Machine) {
    // Nothing to do but to wait: it starts what is started already.
    machine.run(&["systemctl", "start", UNIT]);
    assert_eq!(machine.property(UNIT, "ActiveState"), "active");
}

fn master_hangs(machine: &Machine) {
    let master = machine.property(UNIT, "MainPID");
    assert_eq!(machine.property(UNIT, "WatchdogUSec"), "2s");
    machine.run(&["kill", "-STOP", &master]);
    machine.wait_for("Watchdog timeout", 1);
    let mut waiting = Client::connect(&machine.socket(SOCKET));
    assert_eq!(waiting.get("/").expect(200).text(), "fourth");
    settle(machine);
    assert_ne!(machine.property(UNIT, "MainPID"), master);
}

/// Leaves it stopped.
fn stop(machine: &Machine) {
    machine.run(&["systemctl", "stop", UNIT]);
    assert_eq!(machine.property(UNIT, "ActiveState"), "inactive");
    assert_eq!(machine.property(UNIT, "Result"), "success");
    let control = fs::read_dir(machine.path("/run/rwsgi")).unwrap().flatten();
    let left: Vec<_> = control.map(|entry| entry.file_name()).filter(|name| name != "app.sock").collect();
    assert!(left.is_empty(), "the control socket is left: {left:?}");
    let refused = UnixStream::connect(machine.path(SOCKET)).map(drop);
    assert!(refused.is_err(), "somebody still listens");
    assert_eq!(machine.try_run(&["pgrep", "-u", "rwsgi"]).status.code(), Some(1), "processes are left");
}

/// What the store has and nobody wants is let go. Leaves it stopped.
fn address_changes(machine: &Machine) {
    machine.run(&["systemctl", "start", UNIT]);
    let file = "/etc/rwsgi/app.toml";
    let text = fs::read_to_string(machine.path(file)).unwrap();
    let both = "[\"127.0.0.1:8000\", \"unix:/run/rwsgi/app.sock\"]";
    fs::write(machine.path(file), text.replace("\"unix:/run/rwsgi/app.sock\"", both)).unwrap();
    machine.run(&["systemctl", "reload", UNIT]);
    assert_eq!(machine.property(UNIT, "NFileDescriptorStore"), "2");
    // The new address cannot be had while the old one is listened on.
    fs::write(machine.path(file), text.replace("\"unix:/run/rwsgi/app.sock\"", "\"0.0.0.0:8000\"")).unwrap();
    machine.run(&["systemctl", "restart", UNIT]);
    assert_eq!(machine.property(UNIT, "NFileDescriptorStore"), "1");
    assert!(!machine.path(SOCKET).exists(), "the file of the old listener is still there");
    assert_eq!(fetch(machine, "http://127.0.0.1:8000/"), "fourth");
    fs::write(machine.path(file), text).unwrap();
    machine.run(&["systemctl", "stop", UNIT]);
}

/// The machine has a network of its own.
fn fetch(machine: &Machine, url: &str) -> String {
    machine.run(&["curl", "--silent", "--show-error", "--fail", "--max-time", "20", url])
}

fn socket_activation(machine: &Machine) {
    let (service, socket) = ("rwsgi@shop.service", "/run/rwsgi/shop.sock");
    machine.run(&["systemctl", "start", "rwsgi@shop.socket", "shop-admin.socket"]);
    assert_eq!(machine.property(service, "ActiveState"), "inactive");
    assert_eq!(machine.get(socket, "/"), "fourth");
    assert_eq!(fetch(machine, "http://127.0.0.1:8080/"), "fourth");
    assert_eq!(machine.property(service, "NFileDescriptorStore"), "0", "the socket units keep them already");
    machine.run(&["systemctl", "stop", service]);
    // With the addresses written down as well.
    let bind = "[server]\nbind = [\"127.0.0.1:8080\", \"unix:/run/rwsgi/shop.sock\"]\n";
    fs::write(machine.path("/etc/rwsgi/shop.toml"), format!("{SHOP}{bind}")).unwrap();
    assert_eq!(fetch(machine, "http://127.0.0.1:8080/"), "fourth");
    assert_eq!(machine.get(socket, "/"), "fourth");
    // With one of them only: the other is said to be unused, by its name.
    let bind = "[server]\nbind = \"unix:/run/rwsgi/shop.sock\"\n";
    fs::write(machine.path("/etc/rwsgi/shop.toml"), format!("{SHOP}{bind}")).unwrap();
    machine.run(&["systemctl", "restart", service]);
    machine.wait_for("(admin, http://127.0.0.1:8080) was passed by the service manager but is not used", 1);
    machine.run(&["systemctl", "stop", "rwsgi@shop.socket", "shop-admin.socket", service]);
}

fn django(machine: &Machine) {
    machine.run(&["systemctl", "start", "rwsgi@django.service"]);
    let address: Address = machine.socket("/run/rwsgi/django.sock");
    let mut session = Session::new(&address);
    let page = session.get("/").expect(200).text();
    let mark = "name=\"csrfmiddlewaretoken\" value=\"";
    let token = page.split(mark).nth(1).and_then(|rest| rest.split('"').next()).expect("a form with a token");
    let fields = [("csrfmiddlewaretoken", token), ("name", "Grace"), ("message", "written under systemd")];
    session.post("/sign/", &fields).expect(302);
    assert!(session.get("/").expect(200).text().contains("written under systemd"));
    machine.run(&["systemctl", "stop", "rwsgi@django.service"]);
}

/// No endless loop over a mistake in the configuration; and the log says what it is.
fn start_that_fails(machine: &Machine) {
    let file = machine.path("/etc/rwsgi/shop.toml");
    fs::write(Path::new(&file), SHOP.replace("count", "cuont")).unwrap();
    let output = machine.try_run(&["systemctl", "start", "rwsgi@shop.service"]);
    assert!(!output.status.success());
    machine.wait_for("workers.cuont", 1);
    assert_eq!(machine.property("rwsgi@shop.service", "ActiveState"), "failed");
    assert_eq!(machine.property("rwsgi@shop.service", "NRestarts"), "0");
}
