//! Completion scripts for bash, zsh and fish, rendered from the command line's definition. Printed by the hidden
//! `rwsgi defaults --format bash`, for packages.
//!
//! What only a shell wants to know (which words a setting takes, that a path is wanted) is added here to a copy of the
//! definition: parsing leaves it to the settings, which can say what is wrong with a value.

use clap::builder::PossibleValuesParser;
use clap::{Arg, Command, ValueHint};
use clap_complete::{Shell, generate};

use crate::config::table::{Kind, SETTINGS};

use super::arguments;

/// The script for this shell.
pub(super) fn script(shell: Shell) -> String {
    let mut bytes = Vec::new();
    let mut command = hinted(arguments::command());
    generate(shell, &mut command, "rwsgi", &mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

fn hinted(command: Command) -> Command {
    let command = command.mut_args(hint);
    command.mut_subcommands(hinted)
}

fn hint(argument: Arg) -> Arg {
    let name = argument.get_id().as_str();
    if matches!(name, arguments::FILE | "socket") {
        return argument.value_hint(ValueHint::FilePath);
    }
    let Some(setting) = SETTINGS.iter().find(|setting| setting.name() == name) else { return argument };
    match setting.kind {
        Kind::Choice(words) => argument.value_parser(PossibleValuesParser::new(words)),
        Kind::Bool => argument.value_parser(PossibleValuesParser::new(["true", "false"])),
        Kind::AutoBool => argument.value_parser(PossibleValuesParser::new(["auto", "true", "false"])),
        Kind::Path | Kind::Paths | Kind::ErrorLog | Kind::AccessLog => {
            argument.value_hint(ValueHint::AnyPath)
        }
        Kind::User => argument.value_hint(ValueHint::Username),
        Kind::Target
        | Kind::Text
        | Kind::Map
        | Kind::Binds
        | Kind::Networks
        | Kind::UrlPaths
        | Kind::Integer { .. }
        | Kind::Count { .. }
        | Kind::Size { .. }
        | Kind::Duration { .. }
        | Kind::OptionalDuration
        | Kind::Mode
        | Kind::OptionalSize { .. }
        | Kind::Jitter
        | Kind::Hook
        | Kind::Group
        | Kind::AccessFormat => argument,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_option_is_in_every_script() {
        for (shell, prefix) in [(Shell::Bash, "--"), (Shell::Zsh, "--"), (Shell::Fish, "-l ")] {
            let script = script(shell);
            for setting in SETTINGS {
                let Some(flag) = setting.flag else { continue };
                let written = format!("{prefix}{}", flag.long);
                assert!(script.contains(&written), "{shell}: {written}");
            }
            for word in ["reopen-logs", "reload", "check", "defaults"] {
                assert!(script.contains(word), "{shell}: {word}");
            }
        }
    }
}
