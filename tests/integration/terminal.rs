//! A pseudo-terminal for one program: what the program draws becomes lines of text, and what a test types are its keys.
//!
//! It understands as much of a terminal as full-screen programs need: moving the cursor, clearing, and text.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Instant;

use nix::pty::{Winsize, openpty};
use nix::sys::termios::{Termios, tcgetattr};

use crate::harness::{PATIENCE, scrub};
use crate::tools;

/// A program on its terminal.
#[derive(Debug)]
pub(crate) struct Terminal {
    child: Child,
    keys: File,
    /// Kept open, so that the terminal outlives the program.
    line: OwnedFd,
    before: Termios,
    screen: Arc<(Mutex<Screen>, Condvar)>,
}

/// What is on the terminal.
#[derive(Debug, Default)]
struct Screen {
    lines: Vec<Vec<char>>,
    row: usize,
    column: usize,
    /// Everything that was written, escape sequences and all.
    written: String,
    closed: bool,
}

impl Terminal {
    /// Runs the command on a terminal of its own.
    pub(crate) fn run(mut command: Command, columns: u16, rows: u16) -> Self {
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        let pair = openpty(&size, None).unwrap();
        let before = tcgetattr(&pair.slave).unwrap();
        // Without a session of its own it would find the terminal that the tests run on.
        let mut within = Command::new(tools::program("setsid"));
        within.arg("--ctty").arg(command.get_program()).args(command.get_args());
        command = within;
        scrub(&mut command);
        command.env("TERM", "xterm-256color").env_remove("NO_COLOR");
        let line = || Stdio::from(pair.slave.try_clone().unwrap());
        let child = command.stdin(line()).stdout(line()).stderr(line()).spawn().unwrap();
        let screen = Arc::new((Mutex::new(Screen::default()), Condvar::new()));
        let (writer, output) = (Arc::clone(&screen), File::from(pair.master.try_clone().unwrap()));
        thread::spawn(move || collect(output, &writer));
        Self { child, keys: File::from(pair.master), line: pair.slave, before, screen }
    }

    pub(crate) fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).unwrap()
    }

    pub(crate) fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
    }

    /// Gives the terminal another size.
    pub(crate) fn resize(&self, columns: u16, rows: u16) {
        let mut stty = Command::new(tools::program("stty"));
        stty.args(["cols", &columns.to_string(), "rows", &rows.to_string()]);
        assert!(stty.stdin(self.line.try_clone().unwrap()).status().unwrap().success());
    }

    /// Waits until a line of the screen holds all of these, and returns it.
    #[track_caller]
    pub(crate) fn wait_for_line(&self, words: &[&str]) -> String {
        let find = |screen: &Screen| {
            screen.text().into_iter().find(|line| words.iter().all(|word| line.contains(word)))
        };
        self.wait(find).unwrap_or_else(|| panic!("no line holds {words:?}:\n{}", self.text()))
    }

    /// Waits until no line of the screen holds this.
    #[track_caller]
    pub(crate) fn wait_for_no_line(&self, word: &str) {
        let find = |screen: &Screen| screen.text().iter().all(|line| !line.contains(word)).then_some(());
        self.wait(find).unwrap_or_else(|| panic!("{word:?} stays:\n{}", self.text()));
    }

    /// Waits for the end of the program, and insists that it has put the terminal back as it was.
    #[track_caller]
    pub(crate) fn expect_restored(&mut self) -> ExitStatus {
        let marks = ["\u{1b}[?1049h", "\u{1b}[?1049l", "\u{1b}[?25h"];
        // Leaving the alternate screen and showing the cursor come last.
        self.wait(|screen| marks.iter().all(|mark| screen.written.contains(mark)).then_some(()))
            .unwrap_or_else(|| panic!("the terminal is not restored:\n{}", self.text()));
        let status = self.child.wait().unwrap();
        assert_eq!(tcgetattr(&self.line).unwrap(), self.before, "the modes of the terminal");
        let written = self.screen.0.lock().unwrap().written.clone();
        assert!(written.rfind(marks[1]) > written.rfind(marks[0]), "it is still on the alternate screen");
        assert!(written.rfind("\u{1b}[?25h") > written.rfind("\u{1b}[?25l"), "the cursor is still hidden");
        status
    }

    fn text(&self) -> String {
        self.screen.0.lock().unwrap().text().join("\n")
    }

    fn wait<T>(&self, mut find: impl FnMut(&Screen) -> Option<T>) -> Option<T> {
        let deadline = Instant::now() + PATIENCE;
        let (screen, changed) = (&self.screen.0, &self.screen.1);
        let mut screen = screen.lock().unwrap();
        loop {
            if let Some(found) = find(&screen) {
                return Some(found);
            }
            let left = deadline.checked_duration_since(Instant::now()).filter(|_| !screen.closed)?;
            screen = changed.wait_timeout(screen, left).unwrap().0;
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // It may have ended already.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn collect(mut output: File, screen: &(Mutex<Screen>, Condvar)) {
    let mut rest = Vec::new();
    let mut buffer = [0; 4096];
    // The other end reports an error when nobody has the terminal open any more.
    while let Ok(count @ 1..) = output.read(&mut buffer) {
        rest.extend_from_slice(&buffer[..count]);
        let mut state = screen.0.lock().unwrap();
        let taken = state.take(&rest);
        rest.drain(..taken);
        screen.1.notify_all();
    }
    screen.0.lock().unwrap().closed = true;
    screen.1.notify_all();
}

impl Screen {
    /// Draws what is complete; how many bytes that was.
    fn take(&mut self, bytes: &[u8]) -> usize {
        let valid = match std::str::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => std::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap(),
        };
        let mut rest = valid;
        while let Some(first) = rest.chars().next() {
            let length = if first == '\u{1b}' {
                match escape_length(rest) {
                    Some(length) => length,
                    None => break,
                }
            } else {
                first.len_utf8()
            };
            let (part, after) = rest.split_at(length);
            self.written.push_str(part);
            match first {
                '\u{1b}' => self.escape(part),
                '\r' => self.column = 0,
                '\n' => self.row += 1,
                first => self.put(first),
            }
            rest = after;
        }
        valid.len() - rest.len()
    }

    fn escape(&mut self, sequence: &str) {
        let Some(inner) = sequence.strip_prefix("\u{1b}[") else { return };
        let (numbers, kind) = inner.split_at(inner.len() - 1);
        let mut numbers = numbers.split(';').map(|number| number.parse().unwrap_or(1));
        match kind {
            "H" => {
                let mut next = || numbers.next().unwrap_or(1_usize).saturating_sub(1);
                (self.row, self.column) = (next(), next());
            }
            "J" => self.lines.clear(),
            _ => {}
        }
    }

    fn put(&mut self, character: char) {
        if self.lines.len() <= self.row {
            self.lines.resize(self.row + 1, Vec::new());
        }
        let line = &mut self.lines[self.row];
        if line.len() <= self.column {
            line.resize(self.column + 1, ' ');
        }
        line[self.column] = character;
        self.column += 1;
    }

    fn text(&self) -> Vec<String> {
        self.lines.iter().map(|line| line.iter().collect()).collect()
    }
}

/// The length of the escape sequence at the beginning, once it is complete.
fn escape_length(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    match bytes.get(1)? {
        b'[' => Some(bytes.iter().skip(2).position(|byte| (0x40..=0x7e).contains(byte))? + 3),
        _ => Some(2),
    }
}
