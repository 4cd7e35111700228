//! `metrics.bind`: Prometheus text, health and readiness, answered by the master whatever the workers do. The text is read with
//! the reference parser of Prometheus (`tests/clients/metrics.py`).

use std::collections::BTreeMap;
use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::client::{Address, Client, Response};
use crate::harness::{Builder, PATIENCE, Server, quoted, root, run};
use crate::tools;

type Samples = BTreeMap<String, f64>;

/// A server with a listener for metrics.
struct Metered {
    server: Server,
    metrics: Address,
}

fn local(port: u16) -> Address {
    Address::Tcp(SocketAddr::from(([127, 0, 0, 1], port)))
}

fn with_metrics(builder: Builder) -> (Builder, Address) {
    let port = tools::free_port();
    (builder.with("metrics.bind", &format!("\"127.0.0.1:{port}\"")), local(port))
}

fn start(builder: Builder) -> Metered {
    let (builder, metrics) = with_metrics(builder);
    Metered { server: builder.start(), metrics }
}

#[track_caller]
fn page(address: &Address, path: &str) -> Response {
    Client::connect(address).get(path)
}

/// Reads Prometheus text.
#[track_caller]
fn samples_of(directory: &Path, text: &str) -> Samples {
    let file = directory.join("metrics.txt");
    fs::write(&file, text).unwrap();
    let script = root().join("tests/clients/metrics.py");
    let read = tools::python(directory, &[script.to_str().unwrap(), file.to_str().unwrap()], &[]);
    serde_json::from_str(&read).unwrap()
}

impl Metered {
    #[track_caller]
    fn samples(&self) -> Samples {
        let response = page(&self.metrics, "/metrics").expect(200);
        assert_eq!(response.header("Content-Type"), Some("text/plain; version=0.0.4; charset=utf-8"));
        samples_of(&self.server.path(""), &response.text())
    }

    /// The value of one sample, straight from the text.
    #[track_caller]
    fn value(&self, name: &str) -> Option<f64> {
        let text = page(&self.metrics, "/metrics").expect(200).text();
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.map(|value| value.parse().unwrap())
    }

    /// Waits until a sample has this value: a worker counts an answer right after it was sent.
    #[track_caller]
    fn wait_for_value(&self, name: &str, wanted: f64) {
        self.wait_until(name, |value| value == wanted);
    }

    #[track_caller]
    fn wait_until(&self, name: &str, is_it: impl Fn(f64) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let value = self.value(name);
            if value.is_some_and(&is_it) {
                return;
            }
            assert!(Instant::now() < deadline, "{name} stays at {value:?}");
        }
    }
}

/// What only ever goes up has not gone down.
#[track_caller]
fn expect_monotonic(before: &Samples, after: &Samples) {
    for (name, value) in before {
        let name_alone = name.split('{').next().unwrap();
        if ["_total", "_bucket", "_count", "_sum"].iter().any(|suffix| name_alone.ends_with(suffix)) {
            assert!(after[name] >= *value, "{name} went from {value} down to {}", after[name]);
        }
    }
}

fn write_configuration(server: &Server, old: &str, new: &str) {
    let text = fs::read_to_string(server.config()).unwrap();
    assert!(text.contains(old), "{old} in {text}");
    fs::write(server.config(), text.replace(old, new)).unwrap();
}

#[track_caller]
fn reload(server: &Server) {
    let outcome = run(&root(), &["ctl", "-c", server.config().to_str().unwrap(), "reload", "--wait"]);
    outcome.expect_code(0);
}

#[test]
fn requests_are_counted_exactly() {
    let metered = start(Builder::new("metered").with("workers.threads", "2"));
    let before = metered.samples();
    assert_eq!(before["rwsgi_requests_total{status=2xx}"], 0.0);
    let mut client = metered.server.connect();
    for (path, count) in [("/", 5), ("/status/404", 3), ("/status/503", 2), ("/status/301", 1)] {
        (0..count).for_each(|_| drop(client.get(path)));
    }
    metered.server.connect().send("GET / HTTP/1.1\r\nHost : a\r\n\r\n").response().expect(400);
    let long = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(9000));
    metered.server.connect().send(long).response().expect(414);
    metered.wait_for_value("rwsgi_requests_total{status=\"4xx\"}", 5.0);
    let after = metered.samples();
    expect_monotonic(&before, &after);
    for (name, count) in [
        ("rwsgi_requests_total{status=2xx}", 5.0),
        ("rwsgi_requests_total{status=3xx}", 1.0),
        ("rwsgi_requests_total{status=4xx}", 5.0),
        ("rwsgi_requests_total{status=5xx}", 2.0),
        ("rwsgi_requests_total{status=none}", 0.0),
        ("rwsgi_request_duration_seconds_count", 11.0),
        ("rwsgi_requests_refused_total{reason=malformed}", 1.0),
        ("rwsgi_requests_refused_total{reason=request_line_too_long}", 1.0),
        // The application's own 503.
        ("rwsgi_requests_refused_total{reason=overloaded}", 0.0),
        ("rwsgi_request_timeouts_total", 0.0),
        ("rwsgi_requests_in_flight", 0.0),
        ("rwsgi_app_threads", 2.0),
        ("rwsgi_workers{phase=serving}", 1.0),
        ("rwsgi_workers_wanted", 1.0),
        ("rwsgi_generation", 1.0),
    ] {
        assert_eq!(after[name], count, "{name}");
    }
    assert!(after["rwsgi_request_duration_seconds_sum"] > 0.0);
    let waits = after["rwsgi_request_queue_wait_seconds_count"];
    assert!(waits <= 11.0, "{waits} waits of 11 requests");
    assert!(after["rwsgi_gil_wait_seconds_count"] >= 1.0);
    assert!(after["rwsgi_connections"] >= 1.0, "the client is still here");
    assert!(
        after["rwsgi_received_bytes_total"] > 11.0 * 30.0 && after["rwsgi_sent_bytes_total"] > 11.0 * 30.0
    );
    assert!(after["rwsgi_worker_private_memory_bytes{slot=0}"] > 1e6);
    assert!(after["process_resident_memory_bytes"] > 1e6 && after["process_open_fds"] > 5.0);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
    assert!((now - after["process_start_time_seconds"]).abs() < 600.0);
    assert_eq!(after[&format!("rwsgi_build_info{{version={}}}", env!("CARGO_PKG_VERSION"))], 1.0);
}

#[test]
fn sums_outlive_workers_and_generations() {
    let metered = start(Builder::new("metered"));
    let many = |count: usize| (0..count).for_each(|_| drop(metered.server.get("/").expect(200)));
    many(7);
    metered.wait_for_value("rwsgi_requests_total{status=\"2xx\"}", 7.0);
    let before = metered.samples();
    kill(Pid::from_raw(metered.server.workers()[0].pid), Signal::SIGKILL).unwrap();
    metered.server.wait_for("starting a replacement");
    let without = metered.samples();
    expect_monotonic(&before, &without);
    assert_eq!(without["rwsgi_worker_restarts_total{reason=killed}"], 1.0);
    many(5);
    metered.wait_for_value("rwsgi_requests_total{status=\"2xx\"}", 12.0);
    let between = metered.samples();
    expect_monotonic(&without, &between);
    reload(&metered.server);
    many(3);
    metered.wait_for_value("rwsgi_requests_total{status=\"2xx\"}", 15.0);
    metered.wait_for_value("rwsgi_workers{phase=\"draining\"}", 0.0);
    let after = metered.samples();
    expect_monotonic(&between, &after);
    assert_eq!(after["rwsgi_requests_total{status=2xx}"], 15.0);
    assert_eq!(after["rwsgi_request_duration_seconds_count"], 15.0);
    assert_eq!(after["rwsgi_generation"], 2.0);
    assert_eq!(after["rwsgi_reloads_total{outcome=success}"], 1.0);
    let restarts: f64 =
        after.iter().filter(|(name, _)| name.starts_with("rwsgi_worker_restarts_total")).map(|it| it.1).sum();
    assert_eq!(restarts, 1.0, "a reload is no restart");
}

#[test]
fn reasons_of_restarts() {
    let reason = |reason: &str| format!("rwsgi_worker_restarts_total{{reason=\"{reason}\"}}");
    let limited = |setting, value| {
        Builder::new("metered").with(setting, value).with("workers.max_requests_jitter", "0")
    };
    let metered = start(limited("workers.max_requests", "3"));
    (0..3).for_each(|_| drop(metered.server.get("/").expect(200)));
    metered.wait_for_value(&reason("max_requests"), 1.0);

    let metered = start(limited("workers.max_memory", "\"1MiB\""));
    metered.wait_until(&reason("max_memory"), |count| count >= 1.0);

    let metered = start(limited("workers.max_lifetime", "\"100ms\""));
    metered.wait_until(&reason("max_lifetime"), |count| count >= 1.0);

    let metered = start(Builder::new("metered"));
    drop(metered.server.get("/exit"));
    metered.wait_for_value(&reason("application_exit"), 1.0);
    kill(Pid::from_raw(metered.server.workers()[0].pid), Signal::SIGSEGV).unwrap();
    metered.wait_for_value(&reason("crash"), 1.0);

    let limits = Builder::new("metered").with("workers.request_timeout", "\"200ms\"");
    let metered = start(limits.with("workers.timeout_grace", "\"200ms\""));
    metered.server.get("/backtrack").expect(504);
    metered.wait_for_value(&reason("timeout"), 1.0);
    assert_eq!(metered.value("rwsgi_request_timeouts_total"), Some(1.0));
}

#[test]
fn the_master_answers_while_every_worker_is_stuck() {
    let builder = Builder::new("metered").with("workers.count", "2");
    let metered = start(builder.with("workers.graceful_timeout", "\"1s\""));
    let stuck: Vec<Client> = (1..=2)
        .map(|count| {
            let mut client = metered.server.connect();
            client.send("GET /backtrack HTTP/1.1\r\nHost: a\r\n\r\n");
            metered.server.wait_for_nth("inside", count);
            client
        })
        .collect();
    // Nobody is free to accept it.
    let waiting = metered.server.connect();
    let Address::Tcp(address) = metered.server.address() else { panic!("the passed listener is TCP") };
    metered.wait_for_value(&format!("rwsgi_accept_queue_length{{listener=\"{address}\"}}"), 1.0);
    metered.wait_for_value("rwsgi_connections", 2.0);
    let samples = metered.samples();
    assert_eq!(samples["rwsgi_requests_in_flight"], 2.0);
    assert_eq!(samples["rwsgi_workers{phase=serving}"], 2.0);
    assert_eq!(samples[&format!("rwsgi_accept_queue_limit{{listener={address}}}")], 4096.0);
    for worker in metered.server.workers() {
        kill(Pid::from_raw(worker.pid), Signal::SIGSTOP).unwrap();
    }
    assert_eq!(metered.samples()["rwsgi_requests_in_flight"], 2.0);
    assert_eq!(page(&metered.metrics, "/healthz").expect(200).text(), "ok\n");
    page(&metered.metrics, "/readyz").expect(200);
    for worker in metered.server.workers() {
        kill(Pid::from_raw(worker.pid), Signal::SIGCONT).unwrap();
    }
    drop((stuck, waiting));
}

#[test]
fn connections_that_wait_at_a_unix_socket_are_counted() {
    let builder = Builder::new("metered");
    let path = builder.path("rwsgi.sock");
    let metered = start(builder.bind(&[&format!("unix:{}", path.display())]));
    let sample = format!("rwsgi_accept_queue_length{{listener=\"unix:{}\"}}", path.display());
    if metered.value(&sample).is_none() {
        return eprintln!("skipped: this kernel does not tell the queues of unix sockets (CONFIG_UNIX_DIAG)");
    }
    let worker = Pid::from_raw(metered.server.workers()[0].pid);
    kill(worker, Signal::SIGSTOP).unwrap();
    let waiting = [0; 3].map(|_| UnixStream::connect(&path).unwrap());
    metered.wait_for_value(&sample, 3.0);
    kill(worker, Signal::SIGCONT).unwrap();
    metered.wait_for_value(&sample, 0.0);
    drop(waiting);
}

#[test]
fn slow_clients_keep_nobody_waiting() {
    let metered = start(Builder::new("metered"));
    let mut silent = Client::connect(&metered.metrics);
    let mut half = Client::connect(&metered.metrics);
    half.send("GET /metrics HTTP/1.1\r\nHo");
    let before = Instant::now();
    page(&metered.metrics, "/metrics").expect(200);
    assert!(before.elapsed().as_secs() < 4, "it was answered before the others' time was up");
    silent.expect_closed();
    half.expect_closed();
    // More than there are places: the next waits for one, and gets it.
    let crowd: Vec<Client> = (0..70).map(|_| Client::connect(&metered.metrics)).collect();
    page(&metered.metrics, "/healthz").expect(200);
    drop(crowd);
}

#[test]
fn a_hundred_clients_at_once_are_all_answered() {
    let metered = start(Builder::new("metered"));
    let mut clients: Vec<Client> = (0..100).map(|_| Client::connect(&metered.metrics)).collect();
    for client in &mut clients {
        client.send("GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    for client in &mut clients {
        let response = client.response().expect(200);
        assert_eq!(response.header("Connection"), Some("close"));
        client.expect_end();
    }
}

#[test]
fn what_is_no_scrape_is_refused() {
    let metered = start(Builder::new("metered"));
    let long = format!("GET /metrics HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(20_000));
    for (request, status) in [
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", 404),
        ("POST /metrics HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc", 405),
        ("GET /metrics HTTP/1.1\r\n\r\n", 400),
        ("\u{16}\u{3}\u{1}\0\0", 400),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
        (long.as_str(), 431),
    ] {
        let mut client = Client::connect(&metered.metrics);
        let response = client.send(request).response().expect(status);
        assert_eq!(response.header("Connection"), Some("close"), "{request}");
        client.expect_end();
    }
    let mut client = Client::connect(&metered.metrics);
    let head = client.send("HEAD /metrics HTTP/1.0\r\n\r\n").response_to_head().expect(200);
    assert!(head.header("Content-Length").unwrap().parse::<usize>().unwrap() > 1000);
    client.expect_end();
    // Half a request, and nothing more to come.
    let mut client = Client::connect(&metered.metrics);
    client.send("GET /metr").finish_sending().expect_closed();
    page(&metered.metrics, "/metrics").expect(200);
}

#[test]
fn readiness_follows_the_workers() {
    let (builder, metrics) = with_metrics(Builder::new("slow"));
    let gate = builder.path("gate");
    let mut server = builder.start();
    assert_eq!(page(&metrics, "/readyz").expect(200).text(), "ready\n");
    let mut client = server.connect();
    client.send(format!("GET /?{} HTTP/1.1\r\nHost: a\r\n\r\n", gate.display()));
    server.wait_for("inside");
    server.signal(Signal::SIGTERM);
    server.wait_for("stopping");
    assert_eq!(page(&metrics, "/readyz").expect(503).text(), "stopping\n");
    page(&metrics, "/healthz").expect(200);
    fs::write(gate, "").unwrap();
    client.response().expect(200);
    server.expect_exit(0);

    let (builder, metrics) = with_metrics(Builder::new("import_hangs"));
    let server = builder.with("workers.graceful_timeout", "\"1s\"").launch();
    server.wait_for("metrics on http://");
    assert_eq!(page(&metrics, "/readyz").expect(503).text(), "booting: no worker serves yet\n");
    page(&metrics, "/healthz").expect(200);
}

#[test]
fn an_address_in_use_is_told_at_the_start_and_refuses_a_reload() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let said = format!("metrics.bind: cannot listen on {address}: the address is in use by ");
    let mut server = Builder::new("metered").with("metrics.bind", &format!("\"{address}\"")).launch();
    let line = server.wait_for(&said);
    assert!(line.ends_with(": stop it, or set metrics.bind to another address"), "{line}");
    server.expect_exit(1);

    let metered = start(Builder::new("metered"));
    let Address::Tcp(metrics) = metered.metrics else { panic!("an address of TCP") };
    write_configuration(&metered.server, &metrics.to_string(), &address.to_string());
    metered.server.signal(Signal::SIGHUP);
    metered.server.wait_for(&said);
    metered.server.wait_for("reload refused: generation 1 keeps serving");
    metered.server.get("/").expect(200);
    metered.wait_for_value("rwsgi_reloads_total{outcome=\"failure\"}", 1.0);
    drop(taken);
    reload(&metered.server);
    page(&Address::Tcp(address), "/metrics").expect(200);

    let both = tools::free_port();
    let builder = Builder::new("metered").bind(&[&format!("127.0.0.1:{both}")]);
    let mut server = builder.with("metrics.bind", &format!("\"127.0.0.1:{both}\"")).launch();
    server.wait_for("server.bind has the address: set metrics.bind to another address");
    server.expect_exit(1);
}

#[test]
fn a_changed_address_moves_with_the_reload() {
    let builder = Builder::new("metered");
    let socket: PathBuf = builder.path("metrics.sock");
    let mut metered = start(builder);
    let Address::Tcp(old) = metered.metrics else { panic!("an address of TCP") };
    metered.server.get("/").expect(200);
    let sample = "rwsgi_requests_total{status=\"2xx\"}";
    metered.wait_for_value(sample, 1.0);
    // Kept: no client is refused, and the listener stays.
    reload(&metered.server);
    metered.wait_for_value(sample, 1.0);
    write_configuration(&metered.server, &quoted(&old.to_string()), "\"unix:metrics.sock\"");
    reload(&metered.server);
    metered.metrics = Address::Unix(socket.clone());
    metered.wait_for_value(sample, 1.0);
    assert_eq!(metered.value("rwsgi_generation"), Some(3.0));
    assert_eq!(fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o666);
    metered.server.wait_for(&format!("no longer metrics on http://{old}"));
    assert!(TcpStream::connect(old).is_err(), "{old} is still listened on");
    write_configuration(&metered.server, "\"unix:metrics.sock\"", "\"\"");
    reload(&metered.server);
    assert!(!socket.exists());
    write_configuration(&metered.server, "bind = \"\"", "bind = \"unix:metrics.sock\"");
    reload(&metered.server);
    metered.wait_for_value(sample, 1.0);
    metered.server.stop();
    assert!(!socket.exists());
}

#[test]
fn an_upgrade_leaves_no_scrape_unanswered() {
    let builder = Builder::new("metered").with("metrics.bind", "\"unix:metrics.sock\"");
    let socket = builder.path("metrics.sock");
    let mut server = builder.bind(&[&format!("127.0.0.1:{}", tools::free_port())]).start();
    let metrics = Address::Unix(socket.clone());
    let inode = fs::metadata(&socket).unwrap().ino();
    let started = |text: &str| -> f64 {
        let line = text.lines().find_map(|line| line.strip_prefix("process_start_time_seconds "));
        line.unwrap().parse().unwrap()
    };
    let before = started(&page(&metrics, "/metrics").expect(200).text());
    let stop = AtomicBool::new(false);
    let old = server.program.pid;
    thread::scope(|scope| {
        let scraper = scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let mut client = Client::try_connect(&metrics).map_err(|error| error.to_string())?;
                client.try_get("/metrics")?;
            }
            Ok::<(), String>(())
        });
        server.signal(Signal::SIGUSR2);
        let line = server.wait_for("starts as the new master with pid");
        let pid: i32 = line.rsplit(' ').next().unwrap().parse().unwrap();
        server.wait_for(&format!("took over from the master with pid {old}"));
        server.program.follow(pid);
        stop.store(true, Ordering::Relaxed);
        assert_eq!(scraper.join().unwrap(), Ok(()), "a scrape failed");
    });
    let text = page(&metrics, "/metrics").expect(200).text();
    assert!(started(&text) > before, "the new master answers");
    assert_eq!(fs::metadata(&socket).unwrap().ino(), inode);
    server.stop();
    assert!(!socket.exists());
}

#[test]
fn ctl_shows_the_same_figures() {
    let server = Builder::new("metered").start();
    let outcome = run(&root(), &["ctl", "-c", server.config().to_str().unwrap(), "metrics"]);
    outcome.expect_code(0);
    let samples = samples_of(&server.path(""), &outcome.stdout);
    assert_eq!(samples["rwsgi_workers{phase=serving}"], 1.0);
    assert!(!server.log().contains("metrics on"), "no listener was asked for");
}

#[test]
fn no_worker_keeps_the_listener_open() {
    let metered = start(Builder::new("metered").with("workers.graceful_timeout", "\"1s\""));
    let Address::Tcp(address) = metered.metrics else { panic!("an address of TCP") };
    let mut server = metered.server;
    let worker = Pid::from_raw(server.workers()[0].pid);
    kill(worker, Signal::SIGSTOP).unwrap();
    server.signal(Signal::SIGKILL);
    server.program.wait();
    // The worker is stopped and has not noticed; nobody listens any more all the same.
    let again = TcpListener::bind(address);
    kill(worker, Signal::SIGCONT).unwrap();
    again.expect("the listener ended with the master");
}

#[test]
fn the_listener_is_bound_before_privileges_are_given_up() {
    if !nix::unistd::geteuid().is_root() {
        return eprintln!("skipped: only root has privileges to give up");
    }
    let builder = Builder::new("site_under_test").with("server.user", "\"nobody\"");
    let code = builder.path("code");
    fs::create_dir(&code).unwrap();
    fs::copy(root().join("tests/apps/metered.py"), code.join("site_under_test.py")).unwrap();
    fs::set_permissions(builder.path(""), fs::Permissions::from_mode(0o755)).unwrap();
    let closed = builder.path("closed");
    fs::create_dir(&closed).unwrap();
    let socket = closed.join("metrics.sock");
    let builder = builder.with("metrics.bind", &quoted(&format!("unix:{}", socket.display())));
    let server = builder.directory(&code).start();
    let text = page(&Address::Unix(socket.clone()), "/metrics").expect(200).text();
    assert!(text.contains("rwsgi_workers{phase=\"serving\"} 1"), "{text}");
    assert_ne!(fs::metadata(&socket).unwrap().uid(), 0, "it belongs to the configured user");
    reload(&server);
    page(&Address::Unix(socket), "/readyz").expect(200);
}
