//! `rwsgi ctl top`: the workers and the slowest requests of a running server, live on a terminal or as plain text.
//!
//! `figures` makes rates of two statuses, `table` has the columns, `state` what is shown and what keys do: all pure. `draw`
//! and `plain` show it, `reactor` owns the terminal and the clock.

mod draw;
mod figures;
mod plain;
mod reactor;
mod state;
mod table;

use std::io::{IsTerminal, stdin, stdout};
use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use super::Place;

pub(super) const NAME: &str = "top";
const INTERVAL: &str = "interval";
const COUNT: &str = "count";
const ONCE: &str = "once";

const INTERVAL_SECONDS_MIN: f64 = 0.1;
const INTERVAL_SECONDS_MAX: f64 = 3600.0;

/// How to look on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Top {
    interval: Duration,
    /// Print so many moments as text.
    count: Option<u32>,
}

/// The subcommand for clap.
pub(super) fn command() -> Command {
    let interval = Arg::new(INTERVAL)
        .long(INTERVAL)
        .value_name("SECONDS")
        .default_value("1")
        .value_parser(interval)
        .help("How often to look, and the time that rates and latencies are of");
    let count = Arg::new(COUNT)
        .short('n')
        .long(COUNT)
        .value_name("COUNT")
        .value_parser(value_parser!(u32).range(1..))
        .help("Print so many moments as plain text instead");
    let once = Arg::new(ONCE)
        .long(ONCE)
        .action(ArgAction::SetTrue)
        .conflicts_with(COUNT)
        .help("Print one moment as plain text, as is done when the output is no terminal");
    Command::new(NAME)
        .about("Watch the workers and the slowest requests, live; ? shows the keys")
        .args([interval, count, once])
}

fn interval(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "write seconds, as 1 or 0.5".to_owned())?;
    if !(INTERVAL_SECONDS_MIN..=INTERVAL_SECONDS_MAX).contains(&seconds) {
        return Err(format!("must be from {INTERVAL_SECONDS_MIN} to {INTERVAL_SECONDS_MAX} seconds"));
    }
    Ok(Duration::from_secs_f64(seconds))
}

impl Top {
    /// Reads the matches of [`command`].
    pub(super) fn of(matches: &ArgMatches) -> Self {
        let interval = matches.get_one(INTERVAL).copied().unwrap_or(Duration::from_secs(1));
        let count = matches.get_one(COUNT).copied();
        Self { interval, count: if matches.get_flag(ONCE) { Some(1) } else { count } }
    }

    /// Looks on. The exit code, or why that is not possible.
    pub(super) fn run(self, place: Place) -> Result<i32, String> {
        match self.count {
            None if is_terminal() => reactor::live(place, self.interval),
            count => reactor::print(&place, self.interval, count.unwrap_or(1)),
        }
    }
}

/// Whether pictures can be drawn and keys be read.
fn is_terminal() -> bool {
    let is_dumb = std::env::var_os("TERM").is_none_or(|name| name.is_empty() || name == "dumb");
    stdin().is_terminal() && stdout().is_terminal() && !is_dumb
}

#[cfg(test)]
mod tests {
    use super::*;

    fn top(line: &str) -> Result<Top, String> {
        let words = format!("top {line}");
        let matches =
            command().try_get_matches_from(words.split_whitespace()).map_err(|error| error.to_string())?;
        Ok(Top::of(&matches))
    }

    #[test]
    fn options() {
        let second = Duration::from_secs(1);
        assert_eq!(top(""), Ok(Top { interval: second, count: None }));
        assert_eq!(top("--once"), Ok(Top { interval: second, count: Some(1) }));
        let half = Duration::from_millis(500);
        assert_eq!(top("--interval 0.5 -n 3"), Ok(Top { interval: half, count: Some(3) }));
        for wrong in ["--interval 0", "--interval 1s", "--interval nan", "-n 0", "--once -n 2"] {
            assert!(top(wrong).is_err(), "{wrong}");
        }
    }
}
