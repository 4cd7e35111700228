//! Tests of the error log on real files.

use std::path::Path;

use super::*;
use crate::config::Sink;

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

fn open(path: &Path) -> Arc<ErrorLog> {
    Arc::new(ErrorLog::open(&settings(Sink::File(path.into())), identity(Role::Worker(2), 7)).unwrap())
}

fn log_to(logger: &env_logger::Logger, target: &str, level: Level, message: &str) {
    log::Log::log(
        logger,
        &Record::builder().target(target).level(level).args(format_args!("{message}")).build(),
    );
}

#[test]
fn records_of_ours_are_written_and_chatter_of_others_is_not() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("error.log");
    let logger = logger(open(&path));
    log_to(&logger, "rwsgi::master", Level::Info, "first");
    log_to(&logger, "mio::poll", Level::Info, "chatter");
    log_to(&logger, "mio::poll", Level::Warn, "trouble");
    log_to(&logger, "wsgi.errors", Level::Debug, "by name");
    let text = std::fs::read_to_string(&path).unwrap();
    let tail = format!("worker/2 pid={} gen=7] ", std::process::id());
    let messages: Vec<_> = text.lines().map(|line| line.split_once(&tail).unwrap().1).collect();
    assert_eq!(messages, ["first", "trouble", "by name"]);
    assert!(text.lines().next().unwrap().contains("Z INFO  worker/2"), "{text}");
}

#[test]
fn json_names_only_targets_that_are_no_modules_of_ours() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("error.log");
    let error_log = open(&path);
    let logger = logger(Arc::clone(&error_log));
    error_log
        .reconfigure(&config::Log { format: LogFormat::Json, ..settings(Sink::File(path.clone())) })
        .unwrap();
    log_to(&logger, "rwsgi::worker", Level::Error, "a\nb");
    log_to(&logger, "wsgi.errors", Level::Error, "c");
    let text = std::fs::read_to_string(&path).unwrap();
    let objects: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(objects.len(), 2);
    assert_eq!((objects[0].get("target"), &objects[0]["message"]), (None, &"a\nb".into()));
    assert_eq!(objects[1]["target"], "wsgi.errors");
}

#[test]
fn lost_records_are_counted_and_told_of_once_writing_works_again() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("error.log");
    let error_log = Arc::new(
        ErrorLog::open(&settings(Sink::File("/dev/full".into())), identity(Role::Master, 1)).unwrap(),
    );
    let logger = logger(Arc::clone(&error_log));
    for _ in 0..3 {
        log_to(&logger, "rwsgi", Level::Info, "lost");
    }
    assert_eq!(error_log.lost.load(Ordering::Relaxed), 3);
    error_log.reconfigure(&settings(Sink::File(path.clone()))).unwrap();
    log_to(&logger, "rwsgi", Level::Info, "found");
    log_to(&logger, "rwsgi", Level::Info, "again");
    let text = std::fs::read_to_string(&path).unwrap();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 3, "{text}");
    assert!(
        lines[0].contains("WARN")
            && lines[0].ends_with("] 3 records of this log could not be written and are lost")
    );
    assert!(lines[1].ends_with("] found") && lines[2].ends_with("] again"), "{text}");
}

#[test]
fn a_new_file_that_cannot_be_opened_leaves_the_old_one_in_use() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("error.log");
    let error_log = open(&path);
    let missing = directory.path().join("missing/error.log");
    let error = error_log.reconfigure(&settings(Sink::File(missing))).unwrap_err().to_string();
    assert!(error.contains("missing/error.log"), "{error}");
    log_to(&logger(error_log), "rwsgi", Level::Info, "still here");
    assert!(std::fs::read_to_string(&path).unwrap().ends_with("] still here\n"));
}

#[test]
fn off_writes_nothing_and_loses_nothing() {
    let error_log = Arc::new(ErrorLog::open(&settings(Sink::Off), identity(Role::Command, 0)).unwrap());
    log_to(&logger(Arc::clone(&error_log)), "rwsgi", Level::Error, "nowhere");
    assert_eq!(error_log.lost.load(Ordering::Relaxed), 0);
}
