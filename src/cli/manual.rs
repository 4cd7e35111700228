//! The manual pages rwsgi(1), rwsgi-ctl(1) and rwsgi.toml(5), rendered from the command line's definition and the table of
//! settings. Printed by the hidden `rwsgi defaults --format rwsgi.1`, for packages; nothing of them is checked in.
//!
//! Text that neither of these has (signals, files) stands here once, in tables.

use std::io;

use clap::{Arg, ArgAction, Command};
use clap_mangen::Man;
use roff::{Inline, Roff, bold, italic, roman};

use crate::config::table::{Fallback, SECTIONS, SETTINGS, Setting};

use super::{arguments, ctl};

/// A manual page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Page {
    /// The program: commands, options, signals.
    Program,
    /// `rwsgi ctl`.
    Control,
    /// The configuration file.
    File,
}

const EXIT_CODES: &[(&str, &str)] = &[
    ("0", "Stopped as asked; check found nothing wrong."),
    ("1", "A system error, such as a port that is in use."),
    ("2", "A configuration or usage error; whatever check found wrong."),
    ("3", "The application could not be imported."),
    ("4", "The module has no such callable."),
];

const SIGNALS: &[(&str, &str)] = &[
    (
        "HUP",
        "Reload: configuration and code on disk become a new generation beside the old one, which drains when the new \
         one serves. When anything fails, the old one keeps serving.",
    ),
    ("TERM", "Graceful stop: requests in flight are answered, for at most workers.graceful_timeout."),
    ("INT, QUIT", "Quick stop: requests in flight are lost."),
    ("USR1", "Open the log files again, after a rotation."),
    ("USR2", "Upgrade: the program that is on disk now takes over, without a request lost."),
    ("WINCH", "During an upgrade: retire the workers of the old master."),
    ("TTIN, TTOU", "One worker more, one fewer, until the next reload."),
];

const PROGRAM_ABOUT: &[&str] = &[
    "rwsgi serves a Python web application (anything with a WSGI callable, PEP 3333) over HTTP/1, behind a reverse proxy or \
     directly. A master that runs no Python binds the sockets and watches worker processes, each with its own \
     interpreter; it replaces the ones that die, and reloads code and configuration beside what serves.",
    "What to run is said by a configuration file, see rwsgi.toml(5), or by MODULE:CALLABLE; the callable is named \
     application unless said otherwise. Every option is also a setting of the file and a variable of the environment; the \
     command line overrides the environment, which overrides the file.",
];

const FILE_ABOUT: &[&str] = &[
    "The configuration file of rwsgi(1) is TOML; its name is free. Everything has a default except app.target. Unknown sections \
     and keys are errors. All problems are reported at once, each with its place; `rwsgi check -c FILE` reports them \
     without starting, and imports the application as well. `rwsgi defaults` prints a commented file with every default.",
    "Each setting is also an option of the command line and a variable of the environment; the command line overrides the \
     environment, which overrides the file.",
    "Durations are strings with units: \"30s\", \"500ms\", \"2m\", \"1h\", \"1d\", and sums such as \"1m30s\". Sizes are strings \
     with units, \"512B\", \"10MB\" (powers of 1000), \"64KiB\", \"1MiB\" (powers of 1024), or a number of bytes. Relative paths \
     are relative to the file's folder; in the environment and on the command line they are relative to the current \
     directory. Lists in the environment and on the command line are separated by commas (app.pythonpath by colons); an \
     option of a list may also be repeated.",
];

const FILE_EXAMPLE: &[&str] = &[
    "[app]",
    "target = \"shop.wsgi:application\"",
    "directory = \"/srv/shop\"",
    "",
    "[server]",
    "bind = \"unix:/run/shop/http.sock\"",
    "",
    "[reload]",
    "check = \"/health\"",
];

/// The page as roff; `date` stands in its foot.
///
/// # Errors
/// None that a page in memory has; the renderer is made for files.
pub(super) fn page(page: Page, date: &str) -> io::Result<String> {
    let mut text = match page {
        Page::Program => program(date)?,
        Page::Control => control(date)?,
        Page::File => file(date),
    };
    if !text.ends_with('\n') {
        text.push('\n');
    }
    Ok(text)
}

fn program(date: &str) -> io::Result<String> {
    let command = with_aliases(arguments::command());
    let commands: Vec<Command> =
        command.get_subcommands().filter(|command| !command.is_hide_set()).cloned().collect();
    let man = Man::new(command);
    let mut text = head("rwsgi", "1", date, "serve a Python web application (WSGI)");
    text.push_str(&part(|out| man.render_synopsis_section(out))?);
    let mut roff = Roff::new();
    paragraphs(roff.control("SH", ["DESCRIPTION"]), PROGRAM_ABOUT);
    roff.control("SH", ["COMMANDS"]);
    for command in commands {
        roff.control("TP", []).text([bold(command.get_name())]).text([roman(about(&command))]);
        if command.get_name() == ctl::NAME {
            roff.text([roman("See "), bold("rwsgi-ctl"), roman("(1).")]);
        }
        // Those of the table are listed below, once.
        let own = command.get_opts().filter(|argument| is_own(argument));
        let own: Vec<_> = own.filter(|_| command.get_name() != ctl::NAME).collect();
        if !own.is_empty() {
            roff.control("RS", []);
            own.into_iter().for_each(|argument| option(&mut roff, argument));
            roff.control("RE", []);
        }
    }
    text.push_str(&roff.to_roff());
    text.push_str(&part(|out| man.render_options_section(out))?);
    let mut roff = Roff::new();
    table(&mut roff, "SIGNALS", SIGNALS);
    table(&mut roff, "EXIT STATUS", EXIT_CODES);
    see_also(&mut roff, &[("rwsgi-ctl", "1"), ("rwsgi.toml", "5"), ("systemd.service", "5")]);
    text.push_str(&roff.to_roff());
    Ok(text)
}

fn control(date: &str) -> io::Result<String> {
    let command = ctl::command();
    let man = Man::new(command.clone());
    let mut text = head("rwsgi-ctl", "1", date, "ask a running rwsgi: status, reload, stop and more");
    text.push_str(&part(|out| man.render_synopsis_section(out))?);
    let mut roff = Roff::new();
    paragraphs(
        roff.control("SH", ["DESCRIPTION"]),
        &[
            "rwsgi ctl speaks with the master of a running server through its control socket. The server is named by the path of \
           the configuration file that it was started with, or by the socket. Only root and the user that the server runs as \
           may ask.",
        ],
    );
    roff.control("SH", ["COMMANDS"]);
    for command in command.get_subcommands().filter(|command| !command.is_hide_set()) {
        let mut usage = vec![bold(command.get_name())];
        for argument in command.get_positionals() {
            usage.extend([roman(" "), italic(placeholder(argument))]);
        }
        roff.control("TP", []).text(usage).text([roman(about(command))]);
        let options: Vec<_> = command.get_opts().filter(|argument| is_own(argument)).collect();
        if !options.is_empty() {
            roff.control("RS", []);
            options.into_iter().for_each(|argument| option(&mut roff, argument));
            roff.control("RE", []);
        }
    }
    text.push_str(&roff.to_roff());
    text.push_str(&part(|out| man.render_options_section(out))?);
    let mut roff = Roff::new();
    let codes = [("0", "Done."), ("1", "Refused, failed, or no server reached."), ("2", "A usage error.")];
    table(&mut roff, "EXIT STATUS", &codes);
    see_also(&mut roff, &[("rwsgi", "1"), ("rwsgi.toml", "5")]);
    text.push_str(&roff.to_roff());
    Ok(text)
}

fn file(date: &str) -> String {
    let mut text = head("rwsgi.toml", "5", date, "configuration of the application server rwsgi");
    let mut roff = Roff::new();
    paragraphs(roff.control("SH", ["DESCRIPTION"]), FILE_ABOUT);
    for (section, words) in SECTIONS {
        roff.control("SH", [format!("[{section}]").as_str()]).text(inlines(words));
        for setting in SETTINGS.iter().filter(|setting| setting.section == *section) {
            describe(&mut roff, setting);
        }
    }
    roff.control("SH", ["EXAMPLE"]).control("nf", []);
    for line in FILE_EXAMPLE {
        roff.text([roman(*line)]);
    }
    roff.control("fi", []);
    see_also(&mut roff, &[("rwsgi", "1"), ("rwsgi-ctl", "1")]);
    text.push_str(&roff.to_roff());
    text
}

fn describe(roff: &mut Roff, setting: &Setting) {
    let mut kind = vec![roman("Type: ")];
    kind.extend(inlines(&setting.kind.words()));
    let default = match setting.default {
        Fallback::Value(value) => value.to_owned(),
        Fallback::Computed { words, .. } => words.to_owned(),
        Fallback::Required { .. } => "none, it must be set".to_owned(),
    };
    kind.extend([roman(". Default: "), roman(default), roman(".")]);
    let mut elsewhere = vec![roman("Command line: ")];
    match setting.flag {
        Some(flag) => elsewhere.extend([bold(format!("--{}", flag.long)), roman(" "), italic(flag.value)]),
        None => elsewhere.push(italic("MODULE[:CALLABLE]")),
    }
    elsewhere.extend([roman(", environment: "), bold(setting.variable()), roman(".")]);
    roff.control("TP", []).text([bold(setting.key)]).text(inlines(setting.doc));
    roff.control("br", []).text(kind).control("br", []).text(elsewhere);
}

/// The title, with what makes a straight quote of an apostrophe everywhere, and the name.
fn head(name: &str, section: &str, date: &str, words: &str) -> String {
    let mut roff = Roff::new();
    let program = concat!("rwsgi ", env!("CARGO_PKG_VERSION"));
    roff.control("TH", [name.to_uppercase().as_str(), section, date, program, "rwsgi"]);
    roff.control("SH", ["NAME"]).text([roman(format!("{name} - {words}"))]);
    if section == "5" {
        roff.control("SH", ["SYNOPSIS"]).text([bold("rwsgi -c"), roman(" "), italic("app.toml")]);
    }
    roff.render()
}

/// A section from the renderer of whole pages, without the preamble that it puts before each.
fn part(render: impl Fn(&mut dyn io::Write) -> io::Result<()>) -> io::Result<String> {
    let mut bytes = Vec::new();
    render(&mut bytes)?;
    let text = String::from_utf8(bytes).map_err(io::Error::other)?;
    Ok(text.find(".SH").map_or(String::new(), |start| text[start..].to_owned()))
}

/// The options with their other names, which the renderer leaves out, and without the marks of code spans, which it prints.
fn with_aliases(command: Command) -> Command {
    command.mut_args(|argument| {
        let Some(help) = argument.get_long_help() else { return argument };
        let mut help = help.to_string().replace('`', "");
        for alias in argument.get_visible_aliases().unwrap_or_default() {
            help.push_str(&format!(" Also --{alias}."));
        }
        argument.long_help(help)
    })
}

/// Whether an option belongs to this command alone: neither of the table of settings nor of every command.
fn is_own(argument: &Arg) -> bool {
    let name = argument.get_id().as_str();
    let is_general = matches!(name, "help" | "version" | arguments::FILE);
    !argument.is_hide_set() && !is_general && !SETTINGS.iter().any(|setting| setting.name() == name)
}

fn option(roff: &mut Roff, argument: &Arg) {
    let Some(long) = argument.get_long() else { return };
    let mut head = vec![bold(format!("--{long}"))];
    if matches!(argument.get_action(), ArgAction::Set | ArgAction::Append) {
        head.extend([roman(" "), italic(placeholder(argument))]);
    }
    let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
    roff.control("TP", []).text(head).text(inlines(&format!("{help}.")));
}

fn placeholder(argument: &Arg) -> String {
    let names = argument.get_value_names().unwrap_or_default();
    names.first().map_or_else(|| argument.get_id().to_string(), ToString::to_string)
}

fn about(command: &Command) -> String {
    command.get_about().map(|about| format!("{about}.")).unwrap_or_default()
}

fn paragraphs(roff: &mut Roff, texts: &[&str]) {
    for (index, text) in texts.iter().enumerate() {
        if index > 0 {
            roff.control("PP", []);
        }
        roff.text(inlines(text));
    }
}

fn table(roff: &mut Roff, heading: &str, rows: &[(&str, &str)]) {
    roff.control("SH", [heading]);
    for (name, words) in rows {
        roff.control("TP", []).text([bold(*name)]).text(inlines(words));
    }
}

fn see_also(roff: &mut Roff, pages: &[(&str, &str)]) {
    let mut line = Vec::new();
    for (index, (name, section)) in pages.iter().enumerate() {
        if index > 0 {
            line.push(roman(", "));
        }
        line.extend([bold(*name), roman(format!("({section})"))]);
    }
    roff.control("SH", ["SEE ALSO"]).text(line);
}

/// Words, with code spans in bold.
fn inlines(text: &str) -> Vec<Inline> {
    let spans = text.split('`').enumerate();
    spans.map(|(index, span)| if index % 2 == 1 { bold(span) } else { roman(span) }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As a reader sees it: without escapes of roff.
    fn shown(of: Page) -> String {
        page(of, "2026-11-21").unwrap().replace("\\-", "-").replace("\\fB", "").replace("\\fR", "")
    }

    #[test]
    fn the_file_s_page_has_every_setting_with_its_default_and_text() {
        let text = shown(Page::File);
        for setting in SETTINGS {
            let name = setting.name();
            assert!(text.contains(&format!("\n.TP\n{}\n", setting.key)), "{name}\n{text}");
            assert!(text.contains(&setting.variable()), "{name}");
            if let Some(flag) = setting.flag {
                assert!(text.contains(&format!("--{} ", flag.long)), "{name}");
            }
            if let Fallback::Value(value) = setting.default {
                assert!(text.contains(&format!("Default: {value}.")), "{name}\n{text}");
            }
            let doc = setting.doc.replace('`', "").replace('\'', "\\*(Aq");
            assert!(text.replace('\'', "\\*(Aq").contains(&doc), "{name}\n{text}");
        }
        for (section, about) in SECTIONS {
            assert!(text.contains(&format!(".SH [{section}]\n{}\n", about.replace('`', ""))), "{section}");
        }
    }

    #[test]
    fn the_program_s_page_has_every_option_alias_and_command() {
        let text = shown(Page::Program);
        for setting in SETTINGS {
            let Some(flag) = setting.flag else { continue };
            for name in [flag.long].iter().chain(flag.aliases) {
                assert!(text.contains(&format!("--{name}")), "{name}\n{text}");
            }
        }
        for word in ["MODULE", "--config", "--fork", "check", "defaults", "rwsgi-ctl", "WINCH", "EXIT STATUS"]
        {
            assert!(text.contains(word), "{word}\n{text}");
        }
    }

    #[test]
    fn the_page_of_ctl_has_every_command_and_its_options() {
        let text = shown(Page::Control);
        for command in ctl::command().get_subcommands() {
            assert!(text.contains(&format!(".TP\n{}", command.get_name())), "{command}\n{text}");
            for long in command.get_arguments().filter_map(Arg::get_long) {
                assert!(text.contains(&format!("--{long}")), "{command} {long}\n{text}");
            }
        }
        assert!(text.contains("--socket"), "{text}");
    }
}
