//! A server under test with a site that can be deployed, broken and mended, and the questions that every scenario asks of it:
//! how many processes there are, what the master holds, who serves.

use std::cell::RefCell;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::client::Address;
use crate::harness::{Builder, PATIENCE, Server, binary, quoted, root};
use crate::load::{Load, Mix};
use crate::process::{self, Process};

/// How long a change of processes may take on a busy machine.
pub(crate) const SOON: Duration = Duration::from_secs(30);
/// What the master's memory may grow by before it counts as growth: the allocator's slack.
const MEMORY_SLACK_KIB: u64 = 2048;

/// Whether everything is to be done as often as wanted of a release.
pub(crate) fn is_full() -> bool {
    match std::env::var("RWSGI_CHAOS").as_deref() {
        Ok("full") => true,
        Ok("short") | Err(_) => false,
        Ok(other) => panic!("RWSGI_CHAOS={other}: it is \"full\" or \"short\""),
    }
}

/// How often something is done.
pub(crate) fn times(short: usize, full: usize) -> usize {
    if is_full() { full } else { short }
}

/// How the server is set up.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Variant {
    pub(crate) threads: usize,
    /// As in the file.
    pub(crate) preload: &'static str,
}

impl Variant {
    pub(crate) fn has_template(self) -> bool {
        self.preload != "false"
    }
}

/// Both numbers of threads, with and without a template; in the short form two of them. `RWSGI_CHAOS_PRELOAD` (`true`,
/// `false`, `auto`) picks those with this value.
pub(crate) fn variants() -> Vec<Variant> {
    let all = [(1, "true"), (4, "false"), (4, "\"auto\""), (1, "false")];
    let wanted = std::env::var("RWSGI_CHAOS_PRELOAD").ok();
    let is_wanted = |preload: &str| wanted.as_ref().is_none_or(|wanted| preload.trim_matches('"') == wanted);
    let some = all.iter().take(times(2, all.len())).filter(|(_, preload)| is_wanted(preload));
    some.map(|&(threads, preload)| Variant { threads, preload }).collect()
}

/// Numbers that look random and can be had again.
#[derive(Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    /// Seeded by `RWSGI_CHAOS_SEED`, else by the time.
    pub(crate) fn new() -> Self {
        let given =
            std::env::var("RWSGI_CHAOS_SEED").ok().map(|seed| seed.parse().expect("a number as seed"));
        let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos();
        let seed = given.unwrap_or_else(|| u64::try_from(now & 0xffff_ffff).unwrap());
        println!("RWSGI_CHAOS_SEED={seed}");
        Self(seed)
    }

    /// A number below `bound` (Knuth's multiplier; the high bits are good).
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % bound
    }
}

/// What the master holds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Holdings {
    descriptors: usize,
    memory_kib: u64,
}

/// A server with its site.
#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) server: Server,
    pub(crate) variant: Variant,
    pub(crate) count: usize,
    code: PathBuf,
    unix: PathBuf,
    version: RefCell<usize>,
    begun: Instant,
}

/// The site before it is started.
#[derive(Debug)]
pub(crate) struct Plan {
    variant: Variant,
    count: usize,
    builder: Builder,
}

impl Plan {
    pub(crate) fn new(variant: Variant, count: usize) -> Self {
        let builder = Builder::new("chaos_site")
            .with("app.preload", variant.preload)
            .with("workers.count", &count.to_string())
            .with("workers.threads", &variant.threads.to_string())
            .with("log.level", "\"debug\"");
        let control = quoted(builder.path("control.sock").to_str().unwrap());
        let bind =
            format!("[\"fd:3\", {}]", quoted(&format!("unix:{}", builder.path("site.sock").display())));
        let builder = builder.with("server.bind", &bind).with("control.socket", &control);
        let builder = builder.with("server.pid_file", "\"rwsgi.pid\"");
        Self { variant, count, builder }
    }

    pub(crate) fn with(mut self, key: &str, value: &str) -> Self {
        self.builder = self.builder.with(key, value);
        self
    }

    pub(crate) fn change(mut self, change: impl FnOnce(Builder) -> Builder) -> Self {
        self.builder = change(self.builder);
        self
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.builder.path(name)
    }

    /// Deploys version 1 and starts the server.
    pub(crate) fn start(self) -> Site {
        let site = self.launch();
        site.server.wait_for("generation 1 serves");
        site
    }

    /// As [`Plan::start`], without waiting.
    pub(crate) fn launch(self) -> Site {
        let code = self.builder.path("code");
        let unix = self.builder.path("site.sock");
        fs::create_dir_all(&code).unwrap();
        deploy(&code, &code_of("1"));
        println!("--- {:?}, {} workers", self.variant, self.count);
        let server = self.builder.directory(&code).launch();
        let begun = Instant::now();
        Site { server, variant: self.variant, count: self.count, code, unix, version: RefCell::new(1), begun }
    }
}

fn code_of(version: &str) -> String {
    let code = fs::read_to_string(root().join("tests/apps/chaos.py")).unwrap();
    let changed = code.replacen("VERSION = \"1\"", &format!("VERSION = \"{version}\""), 1);
    assert!(version == "1" || changed != code, "tests/apps/chaos.py has no version any more");
    changed
}

/// A file is there in full or not at all, as a sensible deployment does it.
fn deploy(directory: &std::path::Path, code: &str) {
    let draft = directory.join("draft");
    fs::write(&draft, code).unwrap();
    fs::rename(draft, directory.join("chaos_site.py")).unwrap();
}

impl Site {
    /// Puts new code on the disk and returns its version.
    pub(crate) fn deploy(&self) -> String {
        *self.version.borrow_mut() += 1;
        self.mend();
        self.version.borrow().to_string()
    }

    /// Puts the last good code on the disk.
    pub(crate) fn mend(&self) {
        deploy(&self.code, &code_of(&self.version.borrow().to_string()));
    }

    /// Puts bad code on the disk.
    pub(crate) fn spoil(&self, code: &str) {
        deploy(&self.code, code);
    }

    pub(crate) fn addresses(&self) -> Vec<Address> {
        vec![self.server.address(), Address::Unix(self.unix.clone())]
    }

    pub(crate) fn load(&self, mix: Mix) -> Load {
        Load::start(&self.addresses(), mix)
    }

    /// The process group: the first master's, which those that came by an upgrade stay in.
    pub(crate) fn process_group(&self) -> i32 {
        self.server.program.pid
    }

    /// The master, as the pid file says.
    pub(crate) fn master(&self) -> i32 {
        let text = fs::read_to_string(self.server.path("rwsgi.pid")).unwrap_or_default();
        // Before the first master has written it.
        text.trim().parse().unwrap_or(self.process_group())
    }

    /// How many log records hold `text`.
    pub(crate) fn count_of(&self, text: &str) -> usize {
        self.server.log().lines().filter(|line| line.contains(text)).count()
    }

    /// Sends HUP and waits until the new generation serves.
    #[track_caller]
    pub(crate) fn reload(&self) {
        let before = self.count_of("; retiring generation");
        assert!(send(self.master(), Signal::SIGHUP), "the master is gone");
        self.server.wait_for_nth("; retiring generation", before + 1);
    }

    /// Sends HUP and waits until the reload has failed for this reason.
    #[track_caller]
    pub(crate) fn reload_in_vain(&self, outcome: &str, reason: &str) {
        let (failed, named) = (self.count_of(outcome), self.count_of(reason));
        assert!(send(self.master(), Signal::SIGHUP), "the master is gone");
        self.server.wait_for_nth(outcome, failed + 1);
        self.server.wait_for_nth(reason, named + 1);
    }

    /// All processes of the server except the master.
    pub(crate) fn crew(&self) -> Vec<Process> {
        let master = self.master();
        process::group(self.process_group()).into_iter().filter(|process| process.pid != master).collect()
    }

    pub(crate) fn workers(&self) -> Vec<i32> {
        self.crew().iter().filter(|process| process.title.contains(": worker")).map(|it| it.pid).collect()
    }

    pub(crate) fn templates(&self) -> Vec<i32> {
        self.crew().iter().filter(|process| process.title.contains(": template")).map(|it| it.pid).collect()
    }

    pub(crate) fn holdings(&self) -> Holdings {
        let descriptors = fs::read_dir(format!("/proc/{}/fd", self.master())).unwrap().count();
        let status = fs::read_to_string(format!("/proc/{}/status", self.master())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
        let memory_kib = line.trim().trim_end_matches(" kB").parse().unwrap();
        Holdings { descriptors, memory_kib }
    }

    /// The processes are exactly those that should be there, none is a zombie, and the master has not grown.
    #[track_caller]
    pub(crate) fn expect_whole(&self, load: &Load, before: Holdings) {
        self.expect_crew(load);
        let after = || self.holdings();
        // Fewer are no loss: what belonged to a worker that drained may have been among those before.
        let no_more = load.until(SOON, || after().descriptors <= before.descriptors);
        assert!(no_more.is_ok(), "the master's descriptors: {before:?} before, {:?} now", after());
        let grown = after().memory_kib.saturating_sub(before.memory_kib);
        assert!(grown <= MEMORY_SLACK_KIB, "the master has grown by {grown} KiB: {before:?}, {:?}", after());
    }

    /// The processes are exactly those that should be there, and none is a zombie.
    #[track_caller]
    pub(crate) fn expect_crew(&self, load: &Load) {
        let templates = usize::from(self.variant.has_template());
        let whole = || {
            let crew = self.crew();
            self.workers().len() == self.count
                && self.templates().len() == templates
                && crew.len() == self.count + templates
                && process::zombies(self.process_group()).is_empty()
        };
        let (crew, zombies) = (|| self.crew(), || process::zombies(self.process_group()));
        if load.until(SOON, whole).is_err() {
            panic!(
                "{} workers, {templates} templates and no zombie are wanted: {:#?} {:#?}",
                self.count,
                crew(),
                zombies()
            );
        }
    }

    /// How many workers serve, as `rwsgi ctl status` tells.
    #[track_caller]
    pub(crate) fn serving(&self) -> usize {
        self.serving_pids().len()
    }

    fn serving_pids(&self) -> Vec<i32> {
        let status = self.control(&["status", "--json"]);
        let status: serde_json::Value =
            serde_json::from_str(&status).unwrap_or_else(|error| panic!("{error} in the status: {status}"));
        let workers = status["workers"].as_array().unwrap_or_else(|| panic!("no workers: {status}"));
        let serves = |worker: &&serde_json::Value| {
            worker["phase"].as_str().is_some_and(|phase| ["serving", "recycling"].contains(&phase))
        };
        let pid = |worker: &serde_json::Value| i32::try_from(worker["pid"].as_i64()?).ok();
        workers.iter().filter(serves).filter_map(pid).collect()
    }

    /// Waits until as many workers as wanted serve, without one that is gone.
    #[track_caller]
    pub(crate) fn await_capacity(&self, gone: i32) {
        let begun = Instant::now();
        loop {
            let serving = self.serving_pids();
            if serving.len() >= self.count && !serving.contains(&gone) {
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "{} of {} workers serve", serving.len(), self.count);
        }
    }

    /// What `rwsgi ctl` prints.
    #[track_caller]
    pub(crate) fn control(&self, words: &[&str]) -> String {
        let mut command = std::process::Command::new(binary());
        command.args(["ctl", "-c"]).arg(self.server.config()).args(words).stdin(std::process::Stdio::null());
        let outcome = crate::harness::run_command(command);
        assert!(outcome.status.success(), "rwsgi ctl {words:?}: {outcome:#?}");
        outcome.stdout
    }

    /// Where in the run this is, for those who read the log.
    pub(crate) fn age(&self) -> Duration {
        self.begun.elapsed()
    }
}

/// Sends a signal to a process that may be gone; whether it was there.
pub(crate) fn send(pid: i32, signal: Signal) -> bool {
    kill(Pid::from_raw(pid), signal).is_ok()
}
