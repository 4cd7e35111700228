//! The application of the worker's tests: what a path does, and where a test meets it.

use std::fs::File;
use std::io::{self, Read, Write};
use std::mem::MaybeUninit;
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier, Condvar, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::app::{
    AfterCall, Application, Attached, Block, Body, Exchange, Identity, LoadError, Overseer, RequestId,
    Scheme, Sent,
};
use crate::config::Settings;
use crate::http::ResponseHead;
use crate::sys::process::Fork;

/// Answers by path.
#[derive(Debug)]
pub(super) struct RustApp {
    /// Where `/barrier` waits for others.
    pub(super) barrier: Barrier,
    /// Where `/hold` meets the test, twice.
    pub(super) hold: Arc<Barrier>,
    pub(super) overseer: Arc<RustOverseer>,
}

/// Closed until it is opened, for ever then.
#[derive(Debug, Default)]
pub(super) struct Gate {
    open: Mutex<bool>,
    changed: Condvar,
}

impl Gate {
    pub(super) fn open(&self) {
        *self.open.lock().unwrap() = true;
        self.changed.notify_all();
    }

    pub(super) fn pass(&self) {
        drop(self.changed.wait_while(self.open.lock().unwrap(), |open| !*open).unwrap());
    }
}

impl Application for RustApp {
    fn attach(&self, _thread_name: &str, body: &mut dyn FnMut(&mut dyn Attached)) {
        body(&mut Thread(self));
    }

    fn freeze(&self) {}

    fn thread_names(&self) -> Vec<(i32, String)> {
        Vec::new()
    }

    fn fork(&self, fork: &mut dyn FnMut() -> io::Result<Fork>) -> io::Result<Fork> {
        fork()
    }

    fn settle(&mut self, _: &Settings, _: Identity, _: Option<&File>) -> Result<(), LoadError> {
        Ok(())
    }

    fn worker_start(&self, _: &Settings, _: Identity) -> Result<(), LoadError> {
        Ok(())
    }

    fn worker_exit(&self, _: &Settings, _: Identity) {}

    fn overseer(&self) -> Arc<dyn Overseer> {
        Arc::clone(&self.overseer) as Arc<dyn Overseer>
    }

    /// Writes one byte, an X.
    fn dump_stacks_on(&self, signal: i32, file: &File) -> io::Result<()> {
        signal_hook::low_level::pipe::register(signal, file.try_clone()?).map(drop)
    }

    fn finalize(&self) {}
}

/// What the tests and the application's paths share.
#[derive(Debug, Default)]
pub(super) struct RustOverseer {
    /// What `/moved` has set.
    deadline: Mutex<Option<Duration>>,
    /// Stands for the interpreter lock where a test wants that one thread keeps others from running.
    pub(super) lock: Mutex<()>,
    /// The interpreter lock is never given up.
    pub(super) deaf: AtomicBool,
    /// Opened by an interruption.
    pub(super) interrupted: Gate,
    /// What `/cue` sends as a client, once.
    pub(super) cue: Mutex<Vec<(TcpStream, String)>>,
    /// `/cue`, `/next` and `/other` as they were called.
    pub(super) order: Mutex<Vec<String>>,
    /// The client that `/toil` looks at, and whether it was answered by then.
    pub(super) watched: Mutex<Option<TcpStream>>,
    pub(super) answered: Mutex<Vec<bool>>,
    /// What `/whole` waits for when its response is out, as an application does in a `close()`.
    pub(super) closing: Mutex<()>,
    /// Opened when a path is held up.
    pub(super) begun: Gate,
    /// What `/stuck` waits for; opened by the test, or at its end.
    pub(super) released: Gate,
}

impl Overseer for RustOverseer {
    fn deadline(&self, _: &RequestId) -> Option<Duration> {
        if self.deaf.load(Ordering::Relaxed) {
            self.released.pass();
        }
        *self.deadline.lock().unwrap()
    }

    fn interrupt(&self, _: &RequestId) -> bool {
        self.interrupted.open();
        true
    }
}

impl RustOverseer {
    fn note(&self, path: &str) {
        if matches!(path, "/cue" | "/next" | "/other") {
            self.order.lock().unwrap().push(path.to_owned());
        }
        if path == "/cue" {
            for (mut other, message) in self.cue.lock().unwrap().drain(..) {
                other.write_all(message.as_bytes()).unwrap();
            }
        }
        if path == "/toil"
            && let Some(watched) = &*self.watched.lock().unwrap()
        {
            let flags = libc::MSG_PEEK | libc::MSG_DONTWAIT;
            let read = socket2::SockRef::from(watched).recv_with_flags(&mut [MaybeUninit::uninit()], flags);
            self.answered.lock().unwrap().push(read.is_ok());
        }
    }

    /// Answers the paths that take too long.
    fn hold_up(&self, path: &str, head: ResponseHead, exchange: &mut dyn Exchange) {
        match path {
            "/stuck" => {
                self.begun.open();
                self.released.pass();
                answer(b"late", head, exchange);
            }
            "/holds-the-lock" => {
                let _held = self.lock.lock().unwrap();
                self.begun.open();
                self.released.pass();
                exchange.abort();
            }
            "/stuck-in-close" => {
                exchange.start(head, Some(4));
                exchange.send(Block::Borrowed(b"done"), true);
                exchange.finish();
                self.released.pass();
            }
            "/large-stuck-in-close" => {
                exchange.start(head, Some(LARGE.len() as u64));
                exchange.send(Block::Shared(Bytes::from_static(&LARGE)), true);
                exchange.finish();
                self.released.pass();
            }
            "/stuck-stream" => {
                exchange.start(head, None);
                exchange.send(Block::Borrowed(b"begun"), false);
                self.released.pass();
                exchange.send(Block::Borrowed(b"late"), false);
                exchange.finish();
            }
            "/interruptible" => {
                self.interrupted.pass();
                exchange.abort();
            }
            _ => {
                let deadline = exchange.deadline().unwrap() + Duration::from_secs(60);
                *self.deadline.lock().unwrap() = Some(deadline);
                self.released.pass();
                answer(b"moved", head, exchange);
            }
        }
    }
}

/// At hand at once, so that the call is over before anybody takes the reactor over.
pub(super) static LARGE: [u8; 8 << 20] = [b'x'; 8 << 20];

/// A short answer that is not too short.
pub(super) static PAGE: [u8; 1500] = [b'y'; 1500];

/// How long `/toil` takes: long enough for nobody to wait for it unless many do.
const TOIL: Duration = Duration::from_micros(80);

struct Thread<'a>(&'a RustApp);

impl Thread<'_> {
    /// A large block after the test was met twice.
    fn hold_and_answer(&self, head: ResponseHead, exchange: &mut dyn Exchange) {
        self.0.hold.wait();
        self.0.hold.wait();
        exchange.start(head, Some(64 << 10));
        exchange.send(Block::Shared(Bytes::from(vec![b'x'; 64 << 10])), true);
        exchange.finish();
    }

    /// A response that is whole by its length, and whose call goes on until the test has met it.
    fn answer_and_hold(&self, block: Bytes, head: ResponseHead, exchange: &mut dyn Exchange) {
        exchange.start(head, Some(block.len() as u64));
        exchange.send(Block::Shared(block), false);
        assert!(exchange.head_sent());
        self.0.hold.wait();
        exchange.finish();
    }
}

impl Attached for Thread<'_> {
    fn call(&mut self, exchange: &mut dyn Exchange) -> AfterCall {
        // As Python code does. A thread that was busy until now takes its next request while it is attached, and waits here.
        drop(self.0.overseer.lock.lock().unwrap());
        let path = String::from_utf8_lossy(exchange.request().head.path()).into_owned();
        self.0.overseer.note(&path);
        let mut head = ResponseHead::new(b"200 OK").unwrap();
        head.push(b"Content-Type", b"text/plain").unwrap();
        match path.as_str() {
            "/echo" => {
                let body = read_all(exchange.take_body());
                answer(&body, head, exchange);
            }
            "/hold-shared" => self.hold_and_answer(head, exchange),
            "/whole-hold" => self.answer_and_hold(Bytes::from_static(b"whole"), head, exchange),
            "/whole-large-hold" => self.answer_and_hold(Bytes::from_static(&LARGE), head, exchange),
            "/large" => {
                let block = Bytes::from(vec![b'x'; 8 << 20]);
                exchange.start(head, Some(block.len() as u64));
                if exchange.send(Block::Shared(block), false) == Sent::Full {
                    exchange.wait();
                }
                exchange.finish();
            }
            "/stream" => stream(head, exchange),
            "/whole" => {
                exchange.start(head, Some(5));
                exchange.send(Block::Borrowed(b"whole"), false);
                drop(self.0.overseer.closing.lock().unwrap());
                exchange.finish();
            }
            "/toil" => {
                toil_and_send(head, exchange);
                exchange.finish();
            }
            "/toil-abort" => {
                toil_and_send(head, exchange);
                exchange.abort();
            }
            "/page" => answer(&PAGE, head, exchange),
            "/barrier" => {
                self.0.barrier.wait();
                answer(b"ok", head, exchange);
            }
            "/hold" => {
                self.0.hold.wait();
                self.0.hold.wait();
                answer(b"held", head, exchange);
            }
            "/stuck"
            | "/holds-the-lock"
            | "/stuck-in-close"
            | "/large-stuck-in-close"
            | "/stuck-stream"
            | "/interruptible"
            | "/moved" => {
                self.0.overseer.hold_up(&path, head, exchange);
            }
            "/scheme" => {
                let secure = exchange.request().origin.scheme == Scheme::Https;
                exchange
                    .start(ResponseHead::new(if secure { b"200 OK" } else { b"400 Bad" }).unwrap(), Some(0));
                exchange.finish();
            }
            "/abort" => {
                exchange.start(head, None);
                exchange.send(Block::Borrowed(b"begun"), false);
                exchange.abort();
            }
            "/forgets" => {}
            "/leave" => {
                exchange.abort();
                return AfterCall::Exit;
            }
            _ => answer(b"hello", head, exchange),
        }
        AfterCall::Continue
    }

    fn detached(&mut self, wait: &mut dyn FnMut()) {
        wait();
        drop(self.0.overseer.lock.lock().unwrap());
    }
}

/// A whole response after some work, with more to do after it.
fn toil_and_send(head: ResponseHead, exchange: &mut dyn Exchange) {
    let begun = Instant::now();
    while begun.elapsed() < TOIL {
        std::hint::spin_loop();
    }
    exchange.start(head, Some(PAGE.len() as u64));
    exchange.send(Block::Shared(Bytes::from_static(&PAGE)), false);
}

fn stream(head: ResponseHead, exchange: &mut dyn Exchange) {
    exchange.start(head, None);
    for block in [&b"one"[..], b"two", b"three"] {
        exchange.send(Block::Borrowed(block), false);
    }
    exchange.finish();
}

/// One block, and nothing to do after it.
fn answer(block: &[u8], head: ResponseHead, exchange: &mut dyn Exchange) {
    exchange.start(head, Some(block.len() as u64));
    exchange.send(Block::Borrowed(block), true);
    exchange.finish();
}

fn read_all(body: Body) -> Vec<u8> {
    let mut bytes = Vec::new();
    match body {
        Body::Memory(memory) => bytes.extend_from_slice(&memory),
        Body::Spooled { mut file, .. } => {
            file.read_to_end(&mut bytes).unwrap();
        }
        Body::Stream(mut stream) => loop {
            match stream.read(1000) {
                Ok(piece) if piece.is_empty() => break,
                Ok(piece) => bytes.extend_from_slice(&piece),
                Err(error) => return format!("{:?}", error.kind()).into_bytes(),
            }
        },
    }
    bytes
}
