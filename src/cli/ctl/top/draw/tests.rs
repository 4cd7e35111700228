//! Tests of the layout on terminals that are made up.

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use crate::ipc::control::{Status, TaskStatus, WorkerStatus};

use super::*;

fn status(workers: u32) -> Status {
    let task =
        TaskStatus { thread: 1, method: "GET".into(), path: "/report\u{1b}[2J".into(), age_seconds: 31.24 };
    let worker = |slot: u32| WorkerStatus {
        pid: Some(4700 + slot.cast_signed()),
        generation: 2,
        slot,
        phase: "recycling".into(),
        age_seconds: 7500.0,
        requests: 104_300,
        in_flight: 1,
        private_memory_bytes: Some(24_641_536),
        tasks: if slot == 0 { vec![task.clone()] } else { Vec::new() },
        ..WorkerStatus::default()
    };
    let workers = (0..workers).map(worker).collect();
    Status { name: "shop".into(), pid: 98, generation: 2, count: 2, workers, ..Status::default() }
}

fn state(workers: u32) -> State {
    let mut state = State::default();
    state.take(status(workers));
    state
}

fn press(state: &mut State, code: KeyCode) {
    state.key(KeyEvent::new(code, KeyModifiers::NONE));
}

/// The lines of a terminal of this size.
fn drawn(state: &State, width: u16, height: u16) -> Vec<String> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(frame, state)).unwrap();
    let buffer = terminal.backend().buffer().clone();
    let line = |y| (0..width).map(|x| buffer[(x, y)].symbol()).collect::<String>();
    (0..height).map(|y| line(y).trim_end().to_owned()).collect()
}

#[test]
fn an_ordinary_terminal_shows_everything() {
    let lines = drawn(&state(2), 80, 24);
    let expected = [
        " shop    pid 98   generation 2   up 0s",
        " requests/s -   p50 -   p99 -   5xx/s -   cut/s -",
        " workers 2/2   busy 1   queued 0   connections 0   memory 47.0M   restarts 0",
        "",
        " SLOT     PID GEN PHASE      REQ/S    P50    P99 BUSY QUEUE CONNS    MEM     UP",
        "    0    4700   2 recycling      -      -      -    1     0     0  23.5M  2h05m",
        "    1    4701   2 recycling      -      -      -    1     0     0  23.5M  2h05m",
        "",
        " in flight, the slowest first",
        "    31.2 s  worker 0 thread 1  GET /report\\u{1b}[2J",
    ];
    assert_eq!(lines[..expected.len()], expected);
    assert_eq!(
        lines[23],
        " q quit  ? help  < > sort  \u{2191}\u{2193} select  x recycle  d stacks  R reload  space pause"
    );
    assert!(lines[10..23].iter().all(String::is_empty), "{lines:#?}");
}

#[test]
fn a_wide_terminal_shows_more() {
    let lines = drawn(&state(2), 200, 60);
    assert!(lines[4].contains("5XX/S") && lines[4].ends_with("TIMEOUTS  LONGEST REQUEST"), "{}", lines[4]);
    assert!(lines[5].ends_with("31.2 s  GET /report\\u{1b}[2J"), "{}", lines[5]);
}

#[test]
fn a_worker_without_a_sign_of_life_is_called_silent() {
    let mut status = status(1);
    status.workers[0].silent_seconds = Some(7.2);
    let mut state = State::default();
    state.take(status);
    assert!(drawn(&state, 80, 24)[5].contains("2 silent "), "{:#?}", drawn(&state, 80, 24));
    assert!(drawn(&state, 200, 24)[5].ends_with("no sign of life for 7 s"));
}

#[test]
fn the_selected_worker_is_always_in_sight() {
    let mut state = state(100);
    let shown = |state: &State, pid: &str| drawn(state, 80, 24).iter().any(|line| line.contains(pid));
    assert!(shown(&state, "4700") && !shown(&state, "4799") && shown(&state, "more"));
    press(&mut state, KeyCode::End);
    assert!(!shown(&state, "4700") && shown(&state, "4799"));
    // The requests keep their place.
    assert!(shown(&state, "/report"));
}

#[test]
fn no_terminal_is_too_small() {
    let mut state = state(100);
    for code in [KeyCode::Null, KeyCode::Char('?'), KeyCode::Char('x')] {
        press(&mut state, code);
        for (width, height) in [(1, 1), (1, 60), (200, 1), (20, 5), (54, 17)] {
            drawn(&state, width, height);
        }
    }
}

#[test]
fn what_lies_over_the_table() {
    let mut state = state(2);
    press(&mut state, KeyCode::Char('x'));
    assert_eq!(drawn(&state, 80, 24)[23], " Replace worker 0 (pid 4700) by a new one, gracefully? y/n");
    press(&mut state, KeyCode::Char('n'));
    press(&mut state, KeyCode::Char('?'));
    let lines = drawn(&state, 80, 24);
    assert!(lines.iter().any(|line| line.contains("memory shared with nobody else.")), "{lines:#?}");
    press(&mut state, KeyCode::Esc);
    let lines = (1..=50).map(|number| format!("line {number}")).collect();
    state.overlay = Overlay::Pager { title: "worker 0".into(), lines, first: 30 };
    let lines = drawn(&state, 80, 24);
    assert_eq!((lines[0].as_str(), lines[1].as_str()), (" worker 0  lines 31-50 of 50", "line 31"));
}

#[test]
fn trouble_and_pauses_are_said() {
    let mut state = state(2);
    press(&mut state, KeyCode::Char(' '));
    state.lose("no server answers");
    let lines = drawn(&state, 80, 24);
    assert!(lines[0].ends_with("PAUSED"), "{}", lines[0]);
    assert_eq!(lines[3], " no server answers: the figures are old; trying again");
}
