//! Tests of the error log on real files and pipes.

use std::fs::File;
use std::io::{BufRead, BufReader, PipeReader, Read, pipe};
use std::os::fd::AsRawFd;
use std::path::Path;

use super::lane::BUFFER_BYTES_MAX;
use super::*;
use crate::config::Sink;
use crate::sys::process::Fork;

/// How long something may take that happens soon.
const PATIENCE: Duration = Duration::from_secs(20);

fn settings(file: Sink) -> config::Log {
    config::Log {
        level: LevelFilter::Info,
        file,
        format: LogFormat::Text,
        access: Sink::Off,
        access_format: "combined".to_owned(),
        access_exclude: Vec::new(),
        slow_request: None,
    }
}

fn open(path: &Path) -> ErrorLog {
    let log = ErrorLog::open(&settings(Sink::File(path.into()))).unwrap();
    log.style.identify(Role::Worker(2), 7);
    log
}

/// As it is in a worker.
fn open_with_thread(path: &Path) -> ErrorLog {
    let log = open(path);
    log.lane.write_from_thread(true);
    log
}

fn log_to(logger: &ErrorLog, target: &str, level: Level, message: &str) {
    log::Log::log(
        logger,
        &Record::builder().target(target).level(level).args(format_args!("{message}")).build(),
    );
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

#[test]
fn records_of_ours_are_written_and_chatter_of_others_is_not() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("error.log");
    let logger = open(&path);
    log_to(&logger, "rwsgi::master", Level::Info, "first");
    log_to(&logger, "mio::poll", Level::Info, "chatter");
    log_to(&logger, "mio::poll", Level::Warn, "trouble");
    log_to(&logger, "wsgi.errors", Level::Debug, "by name");
    let text = read(&path);
    let tail = format!("worker/2 pid={} gen=7] ", std::process::id());
    let messages: Vec<_> = text.lines().map(|line| line.split_once(&tail).unwrap().1).collect();
    assert_eq!(messages, ["first", "trouble", "by name"]);
    assert!(text.lines().next().unwrap().contains("Z INFO  worker/2"), "{text}");
}

#[test]
fn json_names_only_targets_that_are_no_modules_of_ours() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("error.log");
    let logger = open(&path);
    logger
        .reconfigure(&config::Log { format: LogFormat::Json, ..settings(Sink::File(path.clone())) })
        .unwrap();
    log_to(&logger, "rwsgi::worker", Level::Error, "a\nb");
    log_to(&logger, "wsgi.errors", Level::Error, "[0a-b] c");
    let text = read(&path);
    let objects: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(objects.len(), 2);
    assert_eq!((objects[0].get("target"), &objects[0]["message"]), (None, &"a\nb".into()));
    assert_eq!(objects[1]["target"], "wsgi.errors");
    assert_eq!((&objects[1]["request_id"], &objects[1]["message"]), (&"0a-b".into(), &"c".into()));
}

#[test]
fn a_record_is_written_when_the_call_returns() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("error.log");
    let logger = open_with_thread(&path);
    log_to(&logger, "rwsgi", Level::Info, "first");
    // The call waits only a few milliseconds, which a busy machine may need to start the thread.
    logger.lane.flush(PATIENCE);
    assert!(read(&path).ends_with("] first\n"));
}

#[test]
fn lost_lines_are_counted_and_told_of_once_writing_works_again() {
    for from_thread in [false, true] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("error.log");
        let logger = ErrorLog::open(&settings(Sink::File("/dev/full".into()))).unwrap();
        logger.lane.write_from_thread(from_thread);
        for _ in 0..3 {
            log_to(&logger, "rwsgi", Level::Info, "lost");
        }
        logger.lane.flush(PATIENCE);
        assert_eq!(logger.lane.lock().dropped(), 3);
        logger.reconfigure(&settings(Sink::File(path.clone()))).unwrap();
        log_to(&logger, "rwsgi", Level::Info, "found");
        log_to(&logger, "rwsgi", Level::Info, "again");
        logger.lane.flush(PATIENCE);
        let text = read(&path);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 3, "{text}");
        assert!(lines[0].contains("WARN"), "{text}");
        assert!(lines[0].ends_with("] 3 lines of this log could not be written and are lost"), "{text}");
        assert!(lines[1].ends_with("] found") && lines[2].ends_with("] again"), "{text}");
    }
}

#[test]
fn a_new_file_that_cannot_be_opened_leaves_the_old_one_in_use() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("error.log");
    let logger = open(&path);
    let missing = directory.path().join("missing/error.log");
    let error = logger.reconfigure(&settings(Sink::File(missing))).unwrap_err().to_string();
    assert!(error.contains("missing/error.log"), "{error}");
    log_to(&logger, "rwsgi", Level::Info, "still here");
    assert!(read(&path).ends_with("] still here\n"));
}

#[test]
fn a_file_that_cannot_be_reopened_is_told_of_in_the_old_one() {
    let directory = tempfile::tempdir().unwrap();
    let (folder, moved) = (directory.path().join("logs"), directory.path().join("moved"));
    std::fs::create_dir(&folder).unwrap();
    let logger = open_with_thread(&folder.join("error.log"));
    log_to(&logger, "rwsgi", Level::Info, "before");
    std::fs::rename(&folder, &moved).unwrap();
    logger.lane.reopen().unwrap();
    log_to(&logger, "rwsgi", Level::Info, "after");
    logger.lane.flush(PATIENCE);
    let text = read(&moved.join("error.log"));
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 3, "{text}");
    assert!(lines[1].contains("the log file cannot be reopened: cannot open the log file"), "{text}");
    assert!(lines[2].ends_with("] after"), "{text}");
}

#[test]
fn off_writes_nothing_and_loses_nothing() {
    let logger = ErrorLog::open(&settings(Sink::Off)).unwrap();
    log_to(&logger, "rwsgi", Level::Error, "nowhere");
    assert_eq!(logger.lane.lock().dropped(), 0);
}

/// A pipe that is opened by its path, as a file would be.
fn pipe_sink() -> (PipeReader, File, Sink) {
    let (reader, writer) = pipe().unwrap();
    let path = format!("/proc/self/fd/{}", writer.as_raw_fd());
    (reader, File::from(std::os::fd::OwnedFd::from(writer)), Sink::File(path.into()))
}

#[test]
fn a_reader_that_stands_still_holds_nobody_up_and_learns_what_it_missed() {
    let (reader, writer, sink) = pipe_sink();
    let logger = ErrorLog::open(&settings(sink)).unwrap();
    drop(writer);
    logger.lane.write_from_thread(true);
    let text = "x".repeat(1000);
    // More than the pipe and the buffer hold together.
    let sent = 2 * BUFFER_BYTES_MAX / text.len();
    for _ in 0..sent {
        log_to(&logger, "rwsgi", Level::Error, &text);
    }
    let dropped = logger.lane.lock().dropped();
    assert!(dropped > 0 && dropped < sent as u64, "{dropped}");
    let mut lines = BufReader::new(reader).lines().map(Result::unwrap);
    let mut arrived = 0;
    let notice = loop {
        let line = lines.next().unwrap();
        if line.ends_with(&text) {
            arrived += 1;
        } else {
            break line;
        }
    };
    assert!(notice.ends_with(&format!("] {dropped} lines of this log could not be written and are lost")));
    arrived += lines.by_ref().take(sent - arrived - usize::try_from(dropped).unwrap()).count();
    assert_eq!(arrived as u64 + dropped, sent as u64);
}

#[test]
fn a_forked_process_neither_waits_for_the_log_nor_writes_what_the_parent_had_to() {
    let (mut reader, writer, sink) = pipe_sink();
    let logger = ErrorLog::open(&settings(sink)).unwrap();
    logger.lane.write_from_thread(true);
    // The pipe is full, and the thread hangs in it with a line of its own.
    let filler = vec![b'f'; 4096];
    let mut filled = 0;
    nix::fcntl::fcntl(&writer, nix::fcntl::F_SETFL(nix::fcntl::OFlag::O_NONBLOCK)).unwrap();
    while let Ok(count) = nix::unistd::write(&writer, &filler) {
        filled += count;
    }
    nix::fcntl::fcntl(&writer, nix::fcntl::F_SETFL(nix::fcntl::OFlag::empty())).unwrap();
    for number in 0..50 {
        log_to(&logger, "rwsgi", Level::Error, &format!("parent {number}."));
    }
    match crate::sys::process::fork().unwrap() {
        Fork::Child => {
            logger.lane.flush(PATIENCE);
            // What it logs itself finds the pipe full, and gives up in time.
            log_to(&logger, "rwsgi", Level::Error, "child.");
            crate::sys::exit_now(0);
        }
        Fork::Parent(pid) => {
            let status = nix::sys::wait::waitpid(nix::unistd::Pid::from_raw(pid), None).unwrap();
            assert_eq!(status, nix::sys::wait::WaitStatus::Exited(nix::unistd::Pid::from_raw(pid), 0));
        }
    }
    reader.read_exact(&mut vec![0; filled]).unwrap();
    let text: Vec<_> = BufReader::new(reader).lines().take(50).map(Result::unwrap).collect();
    for (number, line) in text.iter().enumerate() {
        assert!(line.ends_with(&format!("] parent {number}.")), "{text:?}");
    }
}
