//! Tests of the state: keys, statuses and answers in, what is shown and asked out.

use crate::ipc::control::{Stacks, WorkerStatus};

use super::*;

fn status(pid: i32, generation: u32, pids: &[i32]) -> Status {
    let worker = |(slot, pid): (u32, &i32)| WorkerStatus {
        pid: Some(*pid),
        slot,
        private_memory_bytes: u64::try_from(*pid).ok(),
        ..WorkerStatus::default()
    };
    let workers = (0..).zip(pids).map(worker).collect();
    Status { pid, generation, workers, ..Status::default() }
}

fn watching(pids: &[i32]) -> State {
    let mut state = State { page_lines: 3, ..State::default() };
    state.take(status(1, 1, pids));
    state
}

fn press(state: &mut State, code: KeyCode) -> Command {
    state.key(KeyEvent::new(code, KeyModifiers::NONE))
}

fn char(state: &mut State, key: char) -> Command {
    press(state, KeyCode::Char(key))
}

fn notice(state: &State) -> &str {
    state.notice.as_ref().map_or("", |notice| &notice.text)
}

#[test]
fn the_selection_stays_with_its_worker() {
    let mut state = watching(&[10, 11, 12]);
    assert_eq!(state.selected(), Some((0, 10)));
    press(&mut state, KeyCode::Down);
    assert_eq!(state.selected(), Some((1, 11)));
    char(&mut state, 'm');
    assert_eq!((state.selected(), state.rows().1), (Some((1, 11)), 1));
    press(&mut state, KeyCode::Home);
    assert_eq!(state.selected(), Some((2, 12)));
    char(&mut state, 's');
    assert_eq!((state.selected(), state.rows().1), (Some((2, 12)), 2));
    press(&mut state, KeyCode::Down);
    assert_eq!(state.rows().1, 2);
    // The worker is replaced: its row is selected on.
    state.take(status(1, 1, &[10, 11, 13]));
    assert_eq!(state.selected(), Some((2, 13)));
    state.take(status(1, 1, &[]));
    assert_eq!((state.selected(), char(&mut state, 'x')), (None, Command::Nothing));
}

#[test]
fn sorting_goes_by_name_and_by_direction() {
    let mut state = watching(&[10]);
    for (key, sort) in [('r', Sort::Requests), ('p', Sort::P99), ('>', Sort::Memory), ('<', Sort::P99)] {
        char(&mut state, key);
        assert_eq!(state.sort, sort);
    }
}

#[test]
fn a_recycle_asks_first() {
    let mut state = watching(&[10, 11]);
    let wish = Wish::Recycle { slot: 0, pid: 10 };
    assert_eq!(char(&mut state, 'x'), Command::Nothing);
    assert_eq!(state.overlay, Overlay::Question(wish));
    assert_eq!(char(&mut state, 'n'), Command::Nothing);
    assert_eq!(state.overlay, Overlay::Nothing);
    char(&mut state, 'x');
    assert_eq!(char(&mut state, 'y'), Command::Ask(wish));
    assert_eq!(wish.request(), Request::Recycle { pid: 10 });
    state.answered(wish, Ok(Answer::done("worker 0 goes")));
    assert_eq!(notice(&state), "worker 0 goes");
    state.answered(wish, Err("there is no worker\nmore".to_owned()));
    assert_eq!((notice(&state), state.notice.as_ref().unwrap().is_error), ("there is no worker", true));
}

#[test]
fn quitting() {
    for code in [KeyCode::Char('q'), KeyCode::Esc] {
        assert_eq!(press(&mut watching(&[10]), code), Command::Quit);
    }
    let control = |key| KeyEvent::new(KeyCode::Char(key), KeyModifiers::CONTROL);
    let mut state = watching(&[10]);
    assert_eq!(state.key(control('z')), Command::Suspend);
    // Whatever lies over the table; q only closes that.
    char(&mut state, '?');
    assert_eq!((char(&mut state, 'q'), &state.overlay), (Command::Nothing, &Overlay::Nothing));
    char(&mut state, 'R');
    assert_eq!(state.key(control('c')), Command::Quit);
}

#[test]
fn stacks_are_paged() {
    let mut state = watching(&[10]);
    let wish = Wish::Dump { slot: 0, pid: 10 };
    assert_eq!(char(&mut state, 'd'), Command::Ask(wish));
    let stacks = |pid, text: &str| Stacks { pid, text: text.to_owned(), ..Stacks::default() };
    let all = vec![stacks(9, "other"), stacks(10, "1\n2\n3\n4\x1b\n5\n")];
    state.answered(wish, Ok(Answer::stacks(all)));
    let first = |state: &State| match &state.overlay {
        Overlay::Pager { first, lines, .. } => Some((*first, lines.len(), lines[3].clone())),
        Overlay::Nothing | Overlay::Help | Overlay::Question(_) => None,
    };
    for (code, expected) in [
        (KeyCode::Up, 0),
        (KeyCode::Down, 1),
        (KeyCode::PageDown, 2),
        (KeyCode::Down, 2),
        (KeyCode::Home, 0),
        (KeyCode::End, 2),
        (KeyCode::PageUp, 0),
    ] {
        press(&mut state, code);
        assert_eq!(first(&state), Some((expected, 5, "4\\u{1b}".to_owned())), "{code:?}");
    }
    assert_eq!((char(&mut state, 'q'), first(&state)), (Command::Nothing, None));
    state.answered(wish, Ok(Answer::stacks(Vec::new())));
    assert_eq!(notice(&state), "worker 0 (pid 10) is gone");
}

#[test]
fn a_failed_reload_is_shown_with_its_traceback() {
    let mut state = watching(&[10]);
    char(&mut state, 'R');
    assert_eq!(char(&mut state, 'y'), Command::Ask(Wish::Reload));
    state.answered(Wish::Reload, Err("it failed\nTraceback".to_owned()));
    let Overlay::Pager { lines, .. } = &state.overlay else { panic!("{:?}", state.overlay) };
    assert_eq!(lines[..], ["it failed", "Traceback"]);
}

#[test]
fn what_becomes_of_the_server_is_told() {
    let mut state = watching(&[10]);
    state.lose("no server answers. Looked at\n  /run/x");
    assert_eq!(state.lost.as_deref(), Some("no server answers"));
    state.take(status(1, 1, &[10]));
    assert_eq!((state.lost.as_deref(), notice(&state)), (None, "the server answers again"));
    state.take(status(1, 2, &[11]));
    assert_eq!(notice(&state), "generation 2 serves");
    state.take(status(5, 3, &[12]));
    assert_eq!(notice(&state), "the server was upgraded: pid 1 became 5, generation 3");
    state.take(status(6, 1, &[13]));
    assert_eq!(notice(&state), "the server was restarted: pid 5 became 6, generation 1");
    for _ in 0..=NOTICE_STATUSES {
        state.take(status(6, 1, &[13]));
    }
    assert_eq!(state.notice, None);
}

#[test]
fn a_pause_freezes_what_is_shown() {
    let mut state = watching(&[10]);
    char(&mut state, ' ');
    state.take(status(1, 1, &[10, 11]));
    assert_eq!((state.snapshot.workers.len(), state.is_paused), (1, true));
    char(&mut state, ' ');
    state.take(status(1, 1, &[10, 11]));
    assert_eq!((state.snapshot.workers.len(), state.is_paused), (2, false));
}
