//! Stacks on a signal and on a crash, and an application in a forked process; each in a process of its own, this test binary
//! again.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;

use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;
use pyo3::prelude::*;

use crate::app::{Application, Identity, Loader};
use crate::config::{Preload, Settings};
use crate::sys::process::{Fork, become_subreaper, fork_orphan, send_signal};

use super::super::application::PythonLoader;

/// Which program the process runs, and where its application is.
const PROGRAM: &str = "RWSGI_TEST_PROGRAM";
const DIRECTORY: &str = "RWSGI_TEST_DIRECTORY";

const SOURCE: &str = r#"
import gc, multiprocessing, os, threading, weakref
class Node:
    pass
# Has become old before it became garbage: only a full collection finds it.
node = Node()
node.itself = node
garbage = weakref.ref(node)
gc.collect()
del node
# A small import is not collected, this one is.
many = [[] for _ in range(50000)]
def is_frozen():
    return f"{gc.get_freeze_count() > len(many)}, without garbage {garbage() is None}"
at_fork = []
os.register_at_fork(
    before=lambda: at_fork.append("before"),
    after_in_parent=lambda: at_fork.append("parent"),
    after_in_child=lambda: at_fork.append("child"),
)
def hold_the_lock():
    return (3 ** int('4000000')).bit_length()
def crash():
    os.abort()
def crash_in_child():
    child = multiprocessing.get_context("fork").Process(target=crash)
    child.start()
    child.join()
    return child.exitcode
def start_thread():
    threading.Thread(target=threading.Event().wait, name="a name longer than fifteen", daemon=True).start()
def application(environ, start_response):
    pass
"#;

/// What is in a file; its position, which the writer shares, stays.
fn read(file: &File) -> String {
    let mut bytes = vec![0; 1 << 16];
    let length = file.read_at(&mut bytes, 0).unwrap();
    String::from_utf8_lossy(&bytes[..length]).into_owned()
}

fn call(name: &str) -> String {
    Python::attach(|py| py.import("forked_app").unwrap().call_method0(name).unwrap().to_string())
}

fn at_fork() -> String {
    Python::attach(|py| py.import("forked_app").unwrap().getattr("at_fork").unwrap().to_string())
}

/// The program of the other tests.
#[test]
#[ignore = "run by the other tests of this file, in a process of its own"]
fn program() {
    let directory = std::env::var_os(DIRECTORY).unwrap();
    let mut settings = Settings::for_tests();
    settings.app.target.module = "forked_app".to_owned();
    settings.app.directory = directory.into();
    settings.app.preload = Preload::Auto;
    let crashes = tempfile::tempfile().unwrap();
    let identity = Identity { generation: 1, slot: 0 };
    let application = PythonLoader.load(&settings, identity, Some(&crashes)).unwrap();
    match std::env::var(PROGRAM).unwrap().as_str() {
        "dump" => dump(&*application),
        "crash in a child" => {
            println!("\n>child {}", call("crash_in_child"));
            println!("\n>own crash log {:?}", read(&crashes));
        }
        "threads" => {
            call("start_thread");
            let names = application.thread_names();
            let others: Vec<_> = names.into_iter().filter(|(_, name)| name != "MainThread").collect();
            println!("\n>{:?}", others.iter().map(|(_, name)| name).collect::<Vec<_>>());
            println!(
                "\n>known to the kernel {}",
                Path::new(&format!("/proc/self/task/{}", others[0].0)).exists()
            );
        }
        _ => fork_and_settle(application, &settings, &crashes),
    }
}

/// A thread holds the interpreter lock in C code while the signal comes.
fn dump(application: &dyn Application) {
    let dumped = tempfile::tempfile().unwrap();
    let signal = libc::SIGUSR2;
    application.dump_stacks_on(signal, &dumped).unwrap();
    std::thread::scope(|scope| {
        let (tell, told) = std::sync::mpsc::channel();
        let holds = scope.spawn(move || {
            Python::attach(|_| tell.send(()).unwrap());
            call("hold_the_lock")
        });
        told.recv().unwrap();
        while !holds.is_finished() && !read(&dumped).contains("in hold_the_lock") {
            send_signal(nix::unistd::getpid().as_raw(), signal).unwrap();
            std::thread::yield_now();
        }
        println!("\n>while it was held {}", !holds.is_finished());
        holds.join().unwrap();
    });
    let text = read(&dumped);
    println!("\n>dumped {}", text.contains("forked_app.py") && text.contains("in hold_the_lock"));
}

fn fork_and_settle(mut application: Box<dyn Application>, settings: &Settings, crashes: &File) {
    let mut fork = || fork_orphan(&mut |_| Ok(()));
    become_subreaper().unwrap();
    application.freeze();
    println!("\n>frozen {}", call("is_frozen"));
    match application.fork(&mut fork).unwrap() {
        Fork::Child => {
            println!("\n>in the child {}", at_fork());
            let own = tempfile::NamedTempFile::new().unwrap();
            let identity = Identity { generation: 1, slot: 5 };
            let file = own.reopen().unwrap();
            application.settle(settings, identity, Some(&file)).unwrap();
            become_subreaper().unwrap();
            match application.fork(&mut fork).unwrap() {
                Fork::Child => {
                    // As a worker that has settled.
                    application.settle(settings, identity, Some(&file)).unwrap();
                    call("crash");
                }
                Fork::Parent(pid) => {
                    let status = waitpid(Pid::from_raw(pid), None).unwrap();
                    println!("\n>crashed {}", matches!(status, WaitStatus::Signaled(..)));
                    let text = std::fs::read_to_string(own.path()).unwrap();
                    println!("\n>own crash log {}", text.contains("Fatal Python error: Aborted"));
                }
            }
            crate::sys::exit_now(0);
        }
        Fork::Parent(pid) => {
            waitpid(Pid::from_raw(pid), None).unwrap();
            println!("\n>in the parent {}", at_fork());
            println!("\n>crash log of the template {:?}", read(crashes));
            let failed = application.fork(&mut || Err(std::io::Error::from_raw_os_error(libc::EAGAIN)));
            println!("\n>refused {:?} {}", failed.unwrap_err().raw_os_error(), at_fork());
        }
    }
}

fn run(program: &str) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("forked_app.py"), SOURCE).unwrap();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([
        "--exact",
        "python::tests::forked::program",
        "--ignored",
        "--nocapture",
        "--test-threads=1",
    ]);
    command.env(DIRECTORY, folder.path()).env(PROGRAM, program);
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    text.lines().filter_map(|line| line.strip_prefix('>').map(str::to_owned)).collect()
}

#[test]
fn stacks_are_written_while_a_thread_holds_the_lock_in_c() {
    assert_eq!(run("dump"), ["while it was held true", "dumped true"]);
}

#[test]
fn a_crash_of_a_process_that_the_application_forks_is_not_ours() {
    assert_eq!(run("crash in a child"), ["child -6", "own crash log \"\""]);
}

#[test]
fn threads_are_named_as_the_application_names_them() {
    assert_eq!(run("threads"), ["[\"a name longer than fifteen\"]", "known to the kernel true"]);
}

#[test]
fn a_forked_worker_settles() {
    assert_eq!(
        run("fork"),
        [
            "frozen True, without garbage True",
            "in the child ['before', 'child']",
            "crashed true",
            "own crash log true",
            "in the parent ['before', 'parent']",
            "crash log of the template \"\"",
            "refused Some(11) ['before', 'parent', 'before', 'parent']",
        ]
    );
}
