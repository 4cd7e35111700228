//! The master is killed: nobody outlives it by more than a second, and a new start finds its way through what it left behind.

use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use crate::client::{Address, Client};
use crate::harness::{Program, binary, quoted, scrub};
use crate::load::{Load, Mix};
use crate::site::{Plan, Site, times, variants};
use crate::tools;
use crate::verdict::expect_only;

/// Starts a server again with the configuration that a dead one has left.
fn start_again(site: &Site) -> Program {
    let mut command = Command::new(binary());
    command.arg("-c").arg(site.server.config()).stdin(Stdio::null());
    scrub(&mut command);
    let program = Program::spawn(command);
    program.wait_for("generation 1 serves");
    program
}

/// Kills the master and insists that the others follow within a second.
#[track_caller]
fn kill_master(site: &mut Site) {
    site.server.signal(Signal::SIGKILL);
    site.server.program.wait();
    let begun = Instant::now();
    // Every process of the server holds standard error.
    let gone = site.server.program.log.wait_closed(Duration::from_secs(1));
    assert!(gone, "these outlive the master: {:#?}", site.crew());
    println!("{:?}: the last process was gone {:.0?} after the master", site.variant, begun.elapsed());
}

#[test]
fn nobody_outlives_the_master_and_a_new_start_takes_over() {
    for variant in variants() {
        for _ in 0..times(1, 5) {
            let plan = Plan::new(variant, 3);
            let tcp = format!("127.0.0.1:{}", tools::free_port());
            let (unix, pid_file) = (plan.path("site.sock"), plan.path("rwsgi.pid"));
            let binds = [tcp.clone(), format!("unix:{}", unix.display())];
            let mut site = plan.change(|builder| builder.bind(&binds.each_ref().map(String::as_str))).start();
            let addresses = [Address::Tcp(tcp.parse().unwrap()), Address::Unix(unix.clone())];
            // One worker is stuck in Python and cannot be asked to leave.
            let mut stuck = Client::connect(&addresses[0]);
            stuck.send("GET /sleep HTTP/1.1\r\nHost: localhost\r\n\r\n");
            site.server.wait_for("inside /sleep");
            let load = Load::start(&addresses, Mix { kept: 2, closing: 2, path: "/" });
            let old = site.master();
            kill_master(&mut site);
            drop(load);
            assert!(unix.exists() && pid_file.exists(), "the killed master cannot have tidied up");

            let program = start_again(&site);
            assert_eq!(fs::read_to_string(&pid_file).unwrap().trim(), program.pid.to_string());
            assert_ne!(program.pid, old);
            assert_eq!(site.serving(), 3, "the control socket belongs to the new master");
            let load = Load::start(&addresses, Mix::USUAL);
            load.await_answers(200);
            expect_only(&site, load, |_| false);
        }
    }
}

#[test]
fn nobody_outlives_a_master_that_boots_or_drains() {
    for variant in variants() {
        let plan = Plan::new(variant, 2);
        let fifo = plan.path("import.fifo");
        let environment = format!("{{ CHAOS_IMPORT_FIFO = {} }}", quoted(fifo.to_str().unwrap()));
        let mut site = plan.with("app.environment", &environment).start();
        let gate_of_request = site.server.path("request.fifo");
        for path in [&fifo, &gate_of_request] {
            mkfifo(path, Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
        }
        let mut held = Client::connect(&site.server.address());
        held.send(format!("GET /fifo?{} HTTP/1.1\r\nHost: localhost\r\n\r\n", gate_of_request.display()));
        let request = fs::OpenOptions::new().write(true).open(&gate_of_request).unwrap();
        site.server.signal(Signal::SIGHUP);
        // A new process imports, and a worker has a request that does not end.
        let import = fs::OpenOptions::new().write(true).open(&fifo).unwrap();
        kill_master(&mut site);
        held.read_response(false).expect_err("its worker is gone");
        drop((request, import));
    }
}
