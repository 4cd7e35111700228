//! SIGHUP under load: new code takes over, broken code changes nothing, and no request fails.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;

use nix::sys::signal::Signal;

use crate::client::Client;
use crate::harness::{Builder, Server};
use crate::tools::Wrk;

const BROKEN: &str = "def application(environ, start_response)\n    return []\n";

/// Writes an application that answers with `answer`.
fn write_site(directory: &Path, answer: &str) {
    let code = format!(
        "def application(environ, start_response):\n    start_response('200 OK', [('Content-Type', 'text/plain')])\n    \
         return [b'{answer}']\n"
    );
    fs::write(directory.join("site_under_test.py"), code).unwrap();
}

fn serve(workers: &str) -> (Server, PathBuf) {
    let builder = Builder::new("site_under_test").with("workers.count", workers);
    let directory = builder.path("code");
    fs::create_dir(&directory).unwrap();
    write_site(&directory, "the old code");
    (builder.directory(&directory).start(), directory)
}

/// Clients that count, some on kept connections and some on new ones.
fn under_load(server: &Server, during: impl FnOnce(&mpsc::Receiver<String>)) {
    let stop = AtomicBool::new(false);
    let (sender, answers) = mpsc::channel();
    thread::scope(|scope| {
        let clients: Vec<_> = (0..6)
            .map(|number| {
                let (stop, sender) = (&stop, sender.clone());
                scope.spawn(move || {
                    let mut client = server.connect();
                    while !stop.load(Ordering::Relaxed) {
                        if number % 2 == 0 {
                            client = Client::connect(&server.address());
                        }
                        let response = client.try_get("/")?;
                        if response.status != 200 {
                            return Err(format!("status {}", response.status));
                        }
                        if response.header("connection") == Some("close") {
                            client = Client::connect(&server.address());
                        }
                        // The receiver is there until all clients have ended.
                        sender.send(response.text()).ok();
                    }
                    Ok(())
                })
            })
            .collect();
        during(&answers);
        stop.store(true, Ordering::Relaxed);
        for client in clients {
            assert_eq!(client.join().unwrap(), Ok(()), "a request failed");
        }
    });
}

fn take(answers: &mpsc::Receiver<String>, count: usize) -> Vec<String> {
    let patience = crate::harness::PATIENCE;
    (0..count).map(|_| answers.recv_timeout(patience).expect("the clients are being served")).collect()
}

/// Answers from now on are `wanted`, once those that were on their way are through.
fn expect_from_now(answers: &mpsc::Receiver<String>, wanted: &str) {
    while answers.try_recv().is_ok() {}
    take(answers, 12);
    assert!(take(answers, 100).iter().all(|answer| answer == wanted), "every answer is {wanted:?}");
}

#[test]
fn new_code_takes_over_and_no_request_fails() {
    let (server, directory) = serve("2");
    let wrk = Wrk::start(&server.address(), 4);
    under_load(&server, |answers| {
        take(answers, 100);
        write_site(&directory, "the new, longer code");
        server.signal(Signal::SIGHUP);
        server.wait_for("generation 2 serves: 2 workers × 1 thread; retiring generation 1");
        while answers.recv().unwrap() != "the new, longer code" {}
        write_site(&directory, "the newest code of all three");
        server.signal(Signal::SIGHUP);
        server.wait_for("generation 3 serves");
        while answers.recv().unwrap() != "the newest code of all three" {}
    });
    wrk.finish().expect_no_failure();
    assert_eq!(server.get("/").text(), "the newest code of all three");
}

#[test]
fn syntax_error_leaves_the_old_code_serving() {
    let (server, directory) = serve("2");
    let wrk = Wrk::start(&server.address(), 3);
    under_load(&server, |answers| {
        take(answers, 100);
        fs::write(directory.join("site_under_test.py"), BROKEN).unwrap();
        server.signal(Signal::SIGHUP);
        server.wait_for("reload failed: generation 2 discarded");
        server.wait_for("generation 1 keeps serving");
        server.wait_for("SyntaxError");
        expect_from_now(answers, "the old code");
        // Mended code is taken with the next signal.
        write_site(&directory, "the mended code, longer");
        server.signal(Signal::SIGHUP);
        server.wait_for("generation 3 serves");
    });
    wrk.finish().expect_no_failure();
    assert_eq!(server.get("/").text(), "the mended code, longer");
}

/// Code or configuration that cannot be used leaves generation 1 serving.
#[track_caller]
fn expect_refusal(code: &str, signs: &[&str]) {
    let (server, directory) = serve("1");
    fs::write(directory.join("site_under_test.py"), code).unwrap();
    server.signal(Signal::SIGHUP);
    server.wait_for("reload failed: generation 2 discarded");
    for sign in signs {
        server.wait_for(sign);
    }
    assert_eq!(server.get("/").expect(200).text(), "the old code");
}

#[test]
fn missing_dependency_leaves_the_old_code_serving() {
    expect_refusal(
        "import not_installed_anywhere\n",
        &["No module named 'not_installed_anywhere'", "Traceback"],
    );
}

#[test]
fn exception_at_import_leaves_the_old_code_serving() {
    expect_refusal("raise RuntimeError('no settings')\n", &["RuntimeError: no settings", "Traceback"]);
}

#[test]
fn lost_callable_leaves_the_old_code_serving() {
    expect_refusal("app = None\n", &["application"]);
}

#[test]
fn crash_at_import_leaves_the_old_code_serving() {
    expect_refusal("import os\nos.kill(os.getpid(), 11)\n", &["SIGSEGV"]);
}

#[test]
fn hanging_import_leaves_the_old_code_serving() {
    let builder = Builder::new("site_under_test").with("workers.boot_timeout", "\"2s\"");
    let directory = builder.path("code");
    fs::create_dir(&directory).unwrap();
    write_site(&directory, "the old code");
    let server = builder.directory(&directory).start();
    fs::write(directory.join("site_under_test.py"), "import threading\nthreading.Event().wait()\n").unwrap();
    server.signal(Signal::SIGHUP);
    server.wait_for("reload failed: generation 2 discarded");
    server.wait_for("boot_timeout");
    assert_eq!(server.get("/").expect(200).text(), "the old code");
}

/// It is over, but nothing is ready.
#[test]
fn reload_that_is_given_up_is_not_told_as_ready() {
    let builder = Builder::new("site_under_test");
    let path = builder.path("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager.set_nonblocking(true).unwrap();
    let directory = builder.path("code");
    fs::create_dir(&directory).unwrap();
    write_site(&directory, "the old code");
    let mut server =
        builder.directory(&directory).environment("NOTIFY_SOCKET", path.to_str().unwrap()).start();
    fs::write(directory.join("site_under_test.py"), "import threading\nthreading.Event().wait()\n").unwrap();
    server.signal(Signal::SIGHUP);
    server.wait_for("generation 2 boots");
    server.signal(Signal::SIGHUP);
    server.wait_for("generation 3 boots");
    server.stop();
    let mut buffer = [0; 512];
    let told = std::iter::from_fn(|| manager.recv(&mut buffer).ok().map(|length| buffer[..length].to_vec()));
    let told: Vec<String> = told.map(|text| String::from_utf8(text).unwrap()).collect();
    let told = told.iter().map(|text| text.lines().next().unwrap());
    // How it does is told besides.
    let told: Vec<&str> = told.filter(|line| line.ends_with("=1")).collect();
    assert_eq!(told, ["READY=1", "RELOADING=1", "RELOADING=1", "STOPPING=1"]);
}

#[test]
fn wrong_configuration_leaves_the_old_one_in_force() {
    let (server, _) = serve("1");
    let good = fs::read_to_string(server.config()).unwrap();
    for (refusal, (bad, sign)) in [
        (good.replace("count = 1", "count = 0"), "workers.count"),
        (good.replace("count", "cuont"), "workers.count"),
        ("[app\n".to_owned(), "app.toml:1"),
    ]
    .into_iter()
    .enumerate()
    {
        fs::write(server.config(), bad).unwrap();
        server.signal(Signal::SIGHUP);
        server.wait_for_nth("reload refused: generation 1 keeps serving", refusal + 1);
        server.wait_for(sign);
    }
    assert_eq!(server.get("/").expect(200).text(), "the old code");
    fs::write(server.config(), good.replace("count = 1", "count = 2")).unwrap();
    server.signal(Signal::SIGHUP);
    server.wait_for("generation 2 serves: 2 workers");
}

#[test]
fn request_in_flight_is_finished_by_the_old_code() {
    let server = Builder::new("slow").start();
    let gate = server.path("gate");
    let mut client = server.connect();
    client.send(format!("GET /?{} HTTP/1.1\r\nHost: localhost\r\n\r\n", gate.display()));
    server.wait_for("inside");
    server.signal(Signal::SIGHUP);
    server.wait_for("generation 2 serves");
    let new = server.get("/").expect(200).text();
    fs::write(gate, "").unwrap();
    assert_ne!(client.response().expect(200).text(), new);
}
