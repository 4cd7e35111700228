//! Where settings come from: the file, then `RWSGI_*` of the environment, then the command line. Remembered as a value,
//! so that a reload reads the same sources again.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::file::{self, Found};
use super::nearest;
use super::problems::Problems;
use super::resolve::{Resolver, Surroundings};
use super::resolved::Settings;
use super::table::{Kind, SECTIONS, SETTINGS, Setting};
use super::written::{Given, Origin, Raw, quoted};

const PREFIX: &str = "RWSGI_";

/// The sources of a configuration.
#[derive(Debug, Clone)]
pub struct Sources {
    file: Option<PathBuf>,
    variables: Vec<(OsString, OsString)>,
    flags: Vec<FlagValues>,
    current_directory: PathBuf,
    on_terminal: bool,
    program: Option<PathBuf>,
}

/// A setting of the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlagValues {
    /// Which one.
    pub setting: &'static Setting,
    /// Its values, one an option.
    pub values: Vec<String>,
}

impl Sources {
    /// Remembers the sources. `file` is relative to `current_directory`, which is absolute; `on_terminal` tells whether
    /// standard output is a terminal.
    pub fn new(
        file: Option<PathBuf>,
        variables: impl IntoIterator<Item = (OsString, OsString)>,
        flags: Vec<FlagValues>,
        current_directory: PathBuf,
        on_terminal: bool,
    ) -> Self {
        let is_ours = |name: &OsString| {
            name == "VIRTUAL_ENV" || name.to_str().is_some_and(|name| name.starts_with(PREFIX))
        };
        let mut variables: Vec<_> = variables.into_iter().filter(|(name, _)| is_ours(name)).collect();
        variables.sort();
        Self { file, variables, flags, current_directory, on_terminal, program: None }
    }

    /// Remembers where this program is: one that was installed into a virtual environment uses it when nothing else is said.
    #[must_use]
    pub fn with_program(mut self, program: Option<PathBuf>) -> Self {
        self.program = program;
        self
    }

    /// The configuration file as the user gave it.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// Whether nothing says what to run: no file, and no target on the command line or in the environment.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let is_target = |setting: &Setting| (setting.section, setting.key) == ("app", "target");
        let of_variable = |name: &OsString| SETTINGS.iter().any(|s| is_target(s) && *name == *s.variable());
        self.file.is_none()
            && !self.flags.iter().any(|flag| is_target(flag.setting))
            && !self.variables.iter().any(|(name, _)| of_variable(name))
    }

    /// Reads all sources and resolves them.
    ///
    /// # Errors
    /// Everything that is wrong.
    pub fn load(&self) -> Result<Settings, Problems> {
        let found = match (self.absolute_file(), &self.file) {
            (Some(path), Some(shown)) => file::read(&path, shown),
            _ => Found { is_sound: true, ..Found::default() },
        };
        self.resolve(found)
    }

    /// [`Self::load`] as if the file held this text; the file itself is not looked at, and need not be there.
    ///
    /// # Errors
    /// Everything that is wrong.
    pub fn load_text(&self, text: &str) -> Result<Settings, Problems> {
        self.resolve(file::parse(text, self.file.as_deref().unwrap_or(Path::new(""))))
    }

    /// `control.socket`, if it is set. Whatever else is wrong with the configuration does not matter: a server goes on with
    /// what it has read before.
    #[must_use]
    pub fn control_socket(&self) -> Option<PathBuf> {
        let found = match (self.absolute_file(), &self.file) {
            (Some(path), Some(shown)) => file::read(&path, shown),
            _ => Found::default(),
        };
        self.resolver(found).control_socket().flatten()
    }

    /// The configuration file, absolute; symbolic links stay.
    #[must_use]
    pub fn absolute_file(&self) -> Option<PathBuf> {
        self.file.as_ref().map(|file| self.current_directory.join(file).components().collect())
    }

    fn resolve(&self, found: Found) -> Result<Settings, Problems> {
        let is_sound = found.is_sound;
        self.resolver(found).finish(is_sound)
    }

    fn resolver(&self, mut found: Found) -> Resolver {
        self.read_variables(&mut found);
        for flag in &self.flags {
            found.given.push(flag.given());
        }
        let virtual_env =
            self.variables.iter().find(|(name, value)| name == "VIRTUAL_ENV" && !value.is_empty());
        let surroundings = Surroundings {
            file: self.absolute_file(),
            shown: self.file.clone(),
            current_directory: self.current_directory.clone(),
            virtual_env: virtual_env.map(|(_, value)| PathBuf::from(value)),
            on_terminal: self.on_terminal,
            program: self.program.clone(),
        };
        Resolver::new(found.given, found.problems, surroundings)
    }

    fn read_variables(&self, found: &mut Found) {
        for (name, value) in &self.variables {
            let Some(name) = name.to_str().filter(|name| name.starts_with(PREFIX)) else { continue };
            let origin = Origin::Environment(name.to_owned());
            let Some(setting) = SETTINGS.iter().find(|setting| setting.variable() == name) else {
                let section = name[PREFIX.len()..].split_once('_').map_or("", |(section, _)| section);
                if SECTIONS.iter().any(|(known, _)| known.eq_ignore_ascii_case(section)) {
                    found.problems.push((origin, format!("{name}: {}", nearest::variable(name))));
                }
                continue;
            };
            match value.to_str() {
                Some(value) => found.given.push(Given {
                    setting,
                    raw: words(setting, &[value], true),
                    written: quoted(value),
                    origin,
                }),
                None => found.problems.push((origin, format!("{name}: its value is not UTF-8"))),
            }
        }
    }
}

impl FlagValues {
    fn given(&self) -> Given {
        let values: Vec<&str> = self.values.iter().map(String::as_str).collect();
        let origin = match self.setting.flag {
            Some(flag) => format!("--{}", flag.long),
            None => "command line".to_owned(),
        };
        Given {
            setting: self.setting,
            raw: words(self.setting, &values, false),
            written: quoted(&values.join(",")),
            origin: Origin::CommandLine(origin),
        }
    }
}

/// Values outside the file: lists are split at their separator; a variable of `--env` may contain commas.
fn words(setting: &Setting, values: &[&str], split_map: bool) -> Raw {
    let word = |text: &str| Raw::Word(text.to_owned());
    match setting.kind.separator() {
        None => word(values.last().copied().unwrap_or_default()),
        Some(_) if setting.kind == Kind::Map && !split_map => {
            Raw::List(values.iter().map(|value| word(value)).collect())
        }
        Some(separator) => Raw::List(
            values
                .iter()
                .flat_map(|value| value.split(separator))
                .map(str::trim)
                .filter(|item| !item.is_empty())
                .map(word)
                .collect(),
        ),
    }
}
