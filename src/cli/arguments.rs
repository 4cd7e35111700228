//! The arguments: what clap is told, made from the table of settings, and what comes out of it.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use clap_complete::Shell;

use crate::config::FlagValues;
use crate::config::table::{Fallback, SETTINGS, Setting};

use super::ctl;
use super::manual::Page;

pub(super) const FILE: &str = "config";
const FORMAT: &str = "format";
const FORK: &str = "fork";
const EXIT_CODES: &str = "\
Exit codes: 0 stopped as asked, 1 system error, 2 configuration error, 3 the application could not be imported, \
4 no such callable.";

/// What the user wants.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Invocation {
    /// Serve.
    Run(Chosen),
    /// Report what is wrong, and with `fork` also what would not survive a fork.
    Check { chosen: Chosen, fork: bool },
    /// Print the reference.
    Defaults(Reference),
    /// Speak with a running server.
    Control(ctl::Order),
}

/// The file and the settings of the command line.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Chosen {
    pub(super) file: Option<PathBuf>,
    pub(super) flags: Vec<FlagValues>,
}

/// The form of the reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reference {
    Toml,
    Markdown,
    Manual(Page),
    Completions(Shell),
}

/// What `--format` may say. Only the first is of use to somebody who is not making documents or packages.
const FORMATS: &[(&str, Reference)] = &[
    ("toml", Reference::Toml),
    ("markdown", Reference::Markdown),
    ("rwsgi.1", Reference::Manual(Page::Program)),
    ("rwsgi-ctl.1", Reference::Manual(Page::Control)),
    ("rwsgi.toml.5", Reference::Manual(Page::File)),
    ("bash", Reference::Completions(Shell::Bash)),
    ("zsh", Reference::Completions(Shell::Zsh)),
    ("fish", Reference::Completions(Shell::Fish)),
];

/// Parses argv.
///
/// # Errors
/// Help, version, or a usage error: to be printed, with its exit code.
pub(super) fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Invocation, clap::Error> {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    // Every start waits for this: what is said of the settings is made for those alone who will read it.
    let matches = command_with(with_silent_settings, |check| check.defer(with_silent_settings))
        .try_get_matches_from(&arguments)
        .or_else(|_| command().try_get_matches_from(&arguments))?;
    match matches.subcommand() {
        Some(("defaults", inner)) => {
            let wanted = inner.get_one::<String>(FORMAT);
            let found = FORMATS.iter().find(|(name, _)| wanted.is_some_and(|wanted| wanted == name));
            Ok(Invocation::Defaults(found.map_or(Reference::Toml, |(_, reference)| *reference)))
        }
        Some((ctl::NAME, inner)) => {
            let order = ctl::Order::of(inner, matches.get_one::<PathBuf>(FILE).cloned())?;
            Ok(Invocation::Control(order))
        }
        // `rwsgi -c app.toml check` means the same as `rwsgi check -c app.toml`.
        Some((_check, inner)) => {
            let fork = inner.get_flag(FORK);
            let (outer, inner) = (Chosen::of(&matches), Chosen::of(inner));
            let chosen = Chosen {
                file: inner.file.or(outer.file),
                flags: outer.flags.into_iter().chain(inner.flags).collect(),
            };
            Ok(Invocation::Check { chosen, fork })
        }
        None => Ok(Invocation::Run(Chosen::of(&matches))),
    }
}

impl Chosen {
    fn of(matches: &ArgMatches) -> Self {
        let flags = SETTINGS.iter().filter_map(|setting| {
            let values = matches.get_many::<String>(&setting.name())?;
            Some(FlagValues { setting, values: values.cloned().collect() })
        });
        Self { file: matches.get_one::<PathBuf>(FILE).cloned(), flags: flags.collect() }
    }
}

/// The definition of the command line.
pub(super) fn command() -> Command {
    command_with(with_settings, with_settings)
}

fn command_with(
    for_running: impl FnOnce(Command) -> Command,
    for_checking: impl FnOnce(Command) -> Command,
) -> Command {
    let check =
        Command::new("check")
            .about("Parse, resolve, import the application, and report everything that is wrong; exit 0 or 2")
            .override_usage(
                "rwsgi check [--fork] -c FILE\n       rwsgi check [--fork] [OPTIONS] MODULE[:CALLABLE]",
            )
            .arg(Arg::new(FORK).long(FORK).action(ArgAction::SetTrue).help(
                "Also report what the import leaves behind that does not survive a fork (app.preload)",
            ));
    let defaults = Command::new("defaults").about("Print the commented reference app.toml").arg(
        Arg::new(FORMAT)
            .long(FORMAT)
            .value_parser(PossibleValuesParser::new(FORMATS.iter().map(|(name, _)| *name)))
            .hide(true),
    );
    let root = Command::new("rwsgi")
        .version(env!("CARGO_PKG_VERSION"))
        .about("A pre-fork WSGI application server")
        .override_usage(
            "rwsgi -c FILE\n       rwsgi [OPTIONS] MODULE[:CALLABLE]\n       rwsgi check -c FILE\n       rwsgi ctl -c FILE COMMAND\n       \
             rwsgi defaults",
        )
        .after_help(EXIT_CODES)
        .after_long_help(format!(
            "{EXIT_CODES}\n\nEvery option is also a setting of the file and a variable of the environment; the command \
             line overrides the environment, which overrides the file. A module that is called like a command is \
             written with its callable, as check:application."
        ))
        .disable_help_subcommand(true);
    for_running(root).subcommand(for_checking(check)).subcommand(ctl::command()).subcommand(defaults)
}

fn with_settings(command: Command) -> Command {
    with_settings_as(command, argument)
}

fn with_silent_settings(command: Command) -> Command {
    with_settings_as(command, silent_argument)
}

fn with_settings_as(command: Command, argument: fn(&'static Setting) -> Arg) -> Command {
    let file = Arg::new(FILE)
        .short('c')
        .long(FILE)
        .value_name("FILE")
        .value_parser(value_parser!(PathBuf))
        .help("The configuration file; its folder is the default directory");
    command.arg(file).args(SETTINGS.iter().map(argument))
}

fn argument(setting: &'static Setting) -> Arg {
    silent_argument(setting).help(short_help(setting)).long_help(long_help(setting))
}

/// Without what is said of it.
fn silent_argument(setting: &'static Setting) -> Arg {
    let argument = Arg::new(setting.name());
    let Some(flag) = setting.flag else {
        return argument.value_name("MODULE[:CALLABLE]");
    };
    let action = if setting.kind.separator().is_some() { ArgAction::Append } else { ArgAction::Set };
    let argument = argument
        .long(flag.long)
        .visible_aliases(flag.aliases)
        .value_name(flag.value)
        .action(action)
        .help_heading(format!("[{}]", setting.section));
    match flag.short {
        Some(short) => argument.short(short),
        None => argument,
    }
}

/// The first sentence or clause.
fn short_help(setting: &Setting) -> String {
    let end = [". ", ": ", "; "].iter().filter_map(|mark| setting.doc.find(mark)).min();
    let first = setting.doc[..end.unwrap_or(setting.doc.len())].trim_end_matches('.');
    match shown_default(setting) {
        Some(default) => format!("{first} [default: {default}]"),
        None => first.to_owned(),
    }
}

fn long_help(setting: &Setting) -> String {
    let default = shown_default(setting).map(|default| format!("Default: {default}. ")).unwrap_or_default();
    format!("{}\n{default}Setting {}, environment {}.", setting.doc, setting.name(), setting.variable())
}

fn shown_default(setting: &Setting) -> Option<&'static str> {
    match setting.default {
        Fallback::Value("\"\"" | "[]" | "{}") | Fallback::Required { .. } => None,
        Fallback::Value(text) => Some(text.trim_matches('"')),
        Fallback::Computed { words, .. } => Some(words),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::error::ErrorKind;

    fn read(line: &str) -> Result<Invocation, clap::Error> {
        parse(format!("rwsgi {line}").split_whitespace().map(OsString::from))
    }

    fn chosen(file: Option<&str>, flags: &[(&str, &[&str])]) -> Chosen {
        let flags = flags.iter().map(|(name, values)| FlagValues {
            setting: SETTINGS.iter().find(|setting| setting.name() == *name).unwrap(),
            values: values.iter().map(|value| (*value).to_owned()).collect(),
        });
        Chosen { file: file.map(PathBuf::from), flags: flags.collect() }
    }

    #[test]
    fn the_definition_is_consistent() {
        command().debug_assert();
    }

    #[test]
    fn a_file_a_target_and_options() {
        let run = Invocation::Run;
        assert_eq!(read("-c app.toml").unwrap(), run(chosen(Some("app.toml"), &[])));
        assert_eq!(read("app:app").unwrap(), run(chosen(None, &[("app.target", &["app:app"])])));
        let flags: &[(&str, &[&str])] = &[
            ("app.target", &["app"]),
            ("app.directory", &["x"]),
            ("app.environment", &["A=1", "B=2,3"]),
            ("server.bind", &[":1", ":2"]),
            ("server.pid_file", &["p"]),
            ("workers.count", &["4"]),
            ("log.access", &["-"]),
        ];
        let line = "-b :1 app -w4 --chdir x --bind=:2 -e A=1 --env B=2,3 --pid p --access-log -";
        assert_eq!(read(line).unwrap(), run(chosen(None, flags)));
    }

    #[test]
    fn check_takes_its_options_before_and_after() {
        let flags: &[(&str, &[&str])] = &[("workers.count", &["2"]), ("workers.threads", &["3"])];
        let check = Invocation::Check { chosen: chosen(Some("app.toml"), flags), fork: false };
        assert_eq!(read("check -c app.toml -w 2 -t 3").unwrap(), check);
        assert_eq!(read("-c app.toml -w 2 check -t 3").unwrap(), check);
        let target: &[(&str, &[&str])] = &[("app.target", &["app"])];
        let check = |fork| Invocation::Check { chosen: chosen(None, target), fork };
        assert_eq!(read("check app").unwrap(), check(false));
        assert_eq!(read("check --fork app").unwrap(), check(true));
    }

    #[test]
    fn a_module_named_like_a_command_is_reached_with_its_callable() {
        let target: &[(&str, &[&str])] = &[("app.target", &["check:application"])];
        assert_eq!(read("check:application").unwrap(), Invocation::Run(chosen(None, target)));
    }

    #[test]
    fn defaults_in_every_form() {
        assert_eq!(read("defaults").unwrap(), Invocation::Defaults(Reference::Toml));
        for (name, reference) in FORMATS {
            let line = format!("defaults --format {name}");
            assert_eq!(read(&line).unwrap(), Invocation::Defaults(*reference));
        }
    }

    #[test]
    fn help_and_version_exit_0_and_mistakes_2() {
        for (line, kind, code) in [
            ("--help", ErrorKind::DisplayHelp, 0),
            ("check --help", ErrorKind::DisplayHelp, 0),
            ("--version", ErrorKind::DisplayVersion, 0),
            ("--wrokers 2", ErrorKind::UnknownArgument, 2),
            ("-w", ErrorKind::InvalidValue, 2),
            ("-w 1 -w 2", ErrorKind::ArgumentConflict, 2),
            ("app app", ErrorKind::UnknownArgument, 2),
            ("ctl --help", ErrorKind::DisplayHelp, 0),
            ("ctl scale --help", ErrorKind::DisplayHelp, 0),
            ("ctl -c app.toml", ErrorKind::MissingSubcommand, 2),
            ("ctl -c app.toml halt", ErrorKind::InvalidSubcommand, 2),
            ("ctl -c app.toml scale", ErrorKind::MissingRequiredArgument, 2),
            ("ctl -c app.toml scale 0", ErrorKind::ValueValidation, 2),
            ("ctl -c app.toml --socket x status", ErrorKind::ArgumentConflict, 2),
            ("ctl -c app.toml status --wait", ErrorKind::UnknownArgument, 2),
        ] {
            let error = read(line).unwrap_err();
            assert_eq!((error.kind(), error.exit_code()), (kind, code), "{line}");
        }
    }

    #[test]
    fn help_shows_every_option_with_its_default() {
        let help = command().render_long_help().to_string();
        for setting in SETTINGS {
            assert!(help.contains(&setting.variable()), "{}", setting.name());
            if let Some(flag) = setting.flag {
                assert!(help.contains(&format!("--{} <{}>", flag.long, flag.value)), "{}", setting.name());
            }
        }
        assert!(
            help.contains("Default: 75s. Setting http.keep_alive, environment RWSGI_HTTP_KEEP_ALIVE."),
            "{help}"
        );
    }
}
