//! The contract between a worker and the application that it serves.
//!
//! The worker owns sockets and HTTP; the bridge (`python`) owns the interpreter. They meet only here, so
//! that the worker can be tested on real sockets with an application written in Rust, and the bridge with
//! Python and no sockets.
//!
//! Invariants: an [`Exchange`] is used by one thread at a time; exactly one of [`Exchange::finish`] and
//! [`Exchange::abort`] ends it; nothing here blocks unless its doc says so, and what blocks is called by
//! the bridge only while it has given up the interpreter lock.

mod request_id;

use std::borrow::Cow;
use std::fmt;
use std::fs::File;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::config::Settings;
use crate::http::{RequestHead, ResponseHead};
use crate::sys::process::Fork;

/// What a [`Request`] is made of, for those who may not name `net`.
pub use crate::net::{Address, Endpoint, Origin, Scheme};
pub use request_id::RequestId;

/// Loads the application in a fresh worker process (after the fork, on its main thread).
pub trait Loader: fmt::Debug {
    /// Starts the interpreter, imports the application and resolves its callable.
    ///
    /// # Errors
    /// What failed, for the operator.
    ///
    /// A crash of the process writes the stacks of its threads to `crash_log`, from before the import on.
    fn load(
        &self,
        settings: &Settings,
        identity: Identity,
        crash_log: Option<&File>,
    ) -> Result<Box<dyn Application>, LoadError>;
}

/// Which worker this is; the application reads it as `rwsgi.generation` and `rwsgi.worker`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// The generation of code and configuration, from 1.
    pub generation: u32,
    /// The worker's slot, from 0.
    pub slot: u32,
}

/// Why an application could not be loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadError {
    /// Which step failed; decides the exit code.
    pub kind: LoadErrorKind,
    /// One sentence: what failed and what to do about it.
    pub summary: String,
    /// The traceback of the application's own error, if there is one.
    pub traceback: Option<String>,
}

/// The step of loading that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoadErrorKind {
    /// The interpreter cannot be started as configured (a virtualenv of another version): exit code 2.
    Configuration,
    /// The module cannot be imported, or its import raised: exit code 3.
    Import,
    /// The module has no such callable: exit code 4.
    NoCallable,
}

/// A loaded application. Shared by all threads of the worker.
pub trait Application: Send + Sync + fmt::Debug {
    /// Runs `body` on the calling thread, attached to the interpreter for as long as `body` runs.
    ///
    /// `thread_name` becomes the name of the Python thread object. Thread-local state of the application
    /// lives as long as this call, so an app thread attaches once and serves all its requests inside.
    fn attach(&self, thread_name: &str, body: &mut dyn FnMut(&mut dyn Attached));

    /// Gets ready to be forked: collects garbage, where there may be any, and moves what is left out of the collector's
    /// reach, so that a collection in a worker does not touch, and so copy, the memory that it shares (`gc.freeze`).
    /// Called once, on the thread that loaded the application.
    fn freeze(&self);

    /// The names of the threads that the application has started, by their kernel ids, for a report on what would not
    /// survive a fork.
    fn thread_names(&self) -> Vec<(i32, String)>;

    /// Forks with the interpreter's hooks around (`PyOS_BeforeFork`, `PyOS_AfterFork_Parent`, `PyOS_AfterFork_Child`).
    /// `fork` makes the process and tells which side it is on. Called on the thread that loaded the application.
    ///
    /// # Errors
    /// Those of `fork`.
    fn fork(&self, fork: &mut dyn FnMut() -> io::Result<Fork>) -> io::Result<Fork>;

    /// In a worker that was forked from a template: the application is that of this worker from now on. A crash writes to
    /// `crash_log`, no longer to the template's.
    ///
    /// # Errors
    /// The interpreter has no memory.
    fn settle(
        &mut self,
        settings: &Settings,
        identity: Identity,
        crash_log: Option<&File>,
    ) -> Result<(), LoadError>;

    /// Runs `hooks.worker_start`, if it is set. Called once in a worker, before it serves, on the thread that loaded or
    /// settled the application.
    ///
    /// # Errors
    /// The hook cannot be imported, or what it raised.
    fn worker_start(&self, settings: &Settings, identity: Identity) -> Result<(), LoadError>;

    /// Runs `hooks.worker_exit`, if it is set; what it raises is logged. Called once, before [`Application::finalize`].
    fn worker_exit(&self, settings: &Settings, identity: Identity);

    /// What can be done to a request from another thread.
    fn overseer(&self) -> Arc<dyn Overseer>;

    /// From now on `signal` makes the process write the stacks of all its threads to `file`, whoever holds the interpreter
    /// lock. What runs on the signal is async-signal-safe.
    ///
    /// # Errors
    /// The signal cannot be had.
    fn dump_stacks_on(&self, signal: i32, file: &File) -> io::Result<()>;

    /// Ends the interpreter: runs `atexit` handlers and flushes standard output. Called on the thread that
    /// loaded the application, once, after every other `attach` has returned.
    fn finalize(&self);
}

/// What can be done to a request from outside the thread that works on it. Each call waits for the interpreter lock, for
/// ever if the application never gives it up: never called by the reactor.
pub trait Overseer: Send + Sync + fmt::Debug {
    /// The deadline that the application has set in `environ["rwsgi.deadline"]`, in the time of
    /// [`monotonic`](crate::sys::clock::monotonic). `None` when no thread works on this request any more, or what is there
    /// is no time.
    fn deadline(&self, request: &RequestId) -> Option<Duration>;

    /// Raises `RequestTimeout` in the thread that works on this request. It arrives when the thread next runs Python
    /// code, and never in another request. False when no thread works on it any more.
    fn interrupt(&self, request: &RequestId) -> bool;
}

/// A thread that is attached to the interpreter.
pub trait Attached {
    /// Answers one exchange completely: runs the application, sends the response, ends the exchange.
    /// Never panics and never leaves the exchange open, whatever the application does.
    fn call(&mut self, exchange: &mut dyn Exchange) -> AfterCall;

    /// Runs `wait` (which may block) with the interpreter lock given up.
    fn detached(&mut self, wait: &mut dyn FnMut());
}

/// What the application asks of the worker once a call has returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AfterCall {
    /// Go on serving.
    Continue,
    /// The application raised `SystemExit` or `KeyboardInterrupt`: drain this worker, it is replaced.
    Exit,
}

/// A request as the application will see it; its body comes apart from it.
#[derive(Debug)]
pub struct Request {
    /// Parsed request line and header fields.
    pub head: RequestHead,
    /// The socket that it came in on.
    pub endpoint: Arc<Endpoint>,
    /// Scheme, client and host, after the rules of trust in proxies were applied.
    pub origin: Origin,
    /// Its identity in logs.
    pub id: RequestId,
    /// When the first byte of the head was read.
    pub received_at: Instant,
}

#[cfg(test)]
impl Request {
    /// A request like any other.
    pub(crate) fn for_tests() -> Self {
        let limits =
            crate::http::Limits { request_line_max: 99, headers_max: 9, header_bytes_max: 99, body_max: 0 };
        let mut input = bytes::BytesMut::from("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        let head = crate::http::HeadParser::new().parse(&mut input, &limits).unwrap().unwrap();
        let endpoint =
            Arc::new(Endpoint { local: Address::Unix(None), peer: Address::Unix(None), trusted: false });
        let (client, client_port, host, port, prefix) = (None, None, None, None, None);
        let origin = Origin { scheme: Scheme::Http, client, client_port, host, port, prefix };
        Self { head, endpoint, origin, id: RequestId::numbered(0, 1), received_at: Instant::now() }
    }
}

impl LoadErrorKind {
    /// The exit code that tells of it.
    #[must_use]
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Configuration => 2,
            Self::Import => 3,
            Self::NoCallable => 4,
        }
    }
}

/// The body of a request.
#[derive(Debug)]
pub enum Body {
    /// Complete, in memory (empty when there is no body).
    Memory(Bytes),
    /// Complete, in an unlinked temporary file positioned at its start.
    Spooled {
        /// The open file.
        file: File,
        /// Its length in bytes.
        length: u64,
    },
    /// Still arriving (`http.request_buffering = false`).
    Stream(Box<dyn BodyStream>),
}

/// A body that is read while it arrives.
pub trait BodyStream: Send + fmt::Debug {
    /// Waits for the next bytes of the body, at most `bytes_max` of them; empty at its end. Blocks.
    ///
    /// # Errors
    /// `UnexpectedEof` when the client went away, `TimedOut` past `http.body_timeout`, `InvalidData` when
    /// the framing of the body is broken.
    fn read(&mut self, bytes_max: usize) -> io::Result<Bytes>;
}

/// One request and the way to answer it.
pub trait Exchange: Send {
    /// The request, without its body.
    fn request(&self) -> &Request;

    /// Takes the request's body; an empty one is left.
    fn take_body(&mut self) -> Body;

    /// True once the client has closed its end of the connection or reset it.
    fn disconnected(&self) -> Arc<dyn Disconnection>;

    /// When the application is to be done with it, in the time of [`monotonic`](crate::sys::clock::monotonic); `None` when
    /// `workers.request_timeout` is off. The application may move it: [`Overseer::deadline`].
    fn deadline(&self) -> Option<Duration>;

    /// Hands over the response head. `body_length` is the length of the whole body where the bridge
    /// knows it (a list of blocks); the framing follows from it and from the head's own Content-Length.
    /// Called once, before the first `send`. Nothing is transmitted before the first `send`, `flush`,
    /// `send_file` or `finish`.
    fn start(&mut self, head: ResponseHead, body_length: Option<u64>);

    /// Queues a block of the body. Does not block. After [`Sent::Full`] the caller gives up the
    /// interpreter lock and calls [`Exchange::wait`] before it sends more.
    ///
    /// With `more` the caller promises that another `send` or `finish` follows without running
    /// application code in between, so that blocks may be gathered; without it everything queued is
    /// transmitted now (PEP 3333, "Buffering and Streaming").
    fn send(&mut self, block: Block<'_>, more: bool) -> Sent;

    /// Queues `length` bytes of `file` from `offset` as body, transmitted by `sendfile`.
    fn send_file(&mut self, file: File, offset: u64, length: u64) -> Sent;

    /// Blocks until there is room for more output.
    fn wait(&mut self) -> Sent;

    /// Ends the response. A body shorter than its Content-Length closes the connection.
    fn finish(&mut self);

    /// Ends the exchange after an error. When nothing was transmitted yet the client gets a complete
    /// `500` answer (and a head passed to `start` is forgotten); otherwise the connection is closed so
    /// that the truncation shows.
    fn abort(&mut self);

    /// True once any byte of the response may have been transmitted (so `start_response` with
    /// `exc_info` must re-raise).
    fn head_sent(&self) -> bool;
}

/// Tells whether a client is still there, from any thread.
pub trait Disconnection: Send + Sync + fmt::Debug {
    /// True once the client has closed its end of the connection or reset it.
    fn is_disconnected(&self) -> bool;
}

/// A block of a response body.
#[derive(Debug)]
pub enum Block<'a> {
    /// Borrowed: copied if it is not transmitted at once.
    Borrowed(&'a [u8]),
    /// Owned or shared: never copied. Meant for blocks too large to copy.
    Shared(Bytes),
}

/// What became of output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    /// Taken; there is room for more.
    Ready,
    /// Taken, but the output queue is past its high-water mark: [`Exchange::wait`] before sending more.
    Full,
    /// The connection is gone; further output is discarded. The application is not told (PEP 3333 leaves
    /// it to the server), but iteration should stop and `close()` be called.
    Gone,
    /// Bytes past the declared Content-Length were cut off.
    Excess,
}

/// Undoes percent-encoding (RFC 3986 §2.1). A `%` without two hexadecimal digits stands for itself.
#[must_use]
pub fn percent_decode(encoded: &[u8]) -> Cow<'_, [u8]> {
    if memchr::memchr(b'%', encoded).is_none() {
        return Cow::Borrowed(encoded);
    }
    let mut decoded = Vec::with_capacity(encoded.len());
    let mut rest = encoded;
    while let Some((byte, tail)) = next_decoded(rest) {
        decoded.push(byte);
        rest = tail;
    }
    Cow::Owned(decoded)
}

/// Splits a path as received (percent-encoded) at the application's mount: the part that names the mount
/// (`SCRIPT_NAME`) and the rest (`PATH_INFO`), both still encoded. `None`: the path is outside the mount.
///
/// Segments are compared decoded, so `/%61pp/x` is inside `/app`; an encoded slash is never a separator, and
/// `/apple` is outside `/app`. The asterisk form is inside every mount: it has no path.
#[must_use]
pub fn mount_split<'a>(path: &'a [u8], mount: &str) -> Option<(&'a [u8], &'a [u8])> {
    if path == b"*" {
        return Some((b"", b""));
    }
    let mut rest = path;
    for wanted in percent_decode(mount.as_bytes()).iter() {
        let (byte, tail) = next_decoded(rest)?;
        let encoded_slash = byte == b'/' && rest[0] != b'/';
        if byte != *wanted || encoded_slash {
            return None;
        }
        rest = tail;
    }
    if !mount.is_empty() && !rest.is_empty() && rest[0] != b'/' {
        return None;
    }
    Some(path.split_at(path.len() - rest.len()))
}

/// The first byte of a percent-encoded text, decoded, and what follows it.
fn next_decoded(encoded: &[u8]) -> Option<(u8, &[u8])> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    match encoded {
        [] => None,
        [b'%', high, low, tail @ ..] => match (digit(*high), digit(*low)) {
            (Some(high), Some(low)) => Some((high * 16 + low, tail)),
            (None, _) | (_, None) => Some((b'%', &encoded[1..])),
        },
        [byte, tail @ ..] => Some((*byte, tail)),
    }
}

#[cfg(test)]
mod tests {
    use super::{mount_split, percent_decode};

    #[test]
    fn percent_decoding() {
        for (encoded, decoded) in [
            (&b"/a"[..], &b"/a"[..]),
            (b"/%e4%C3%b6", b"/\xe4\xc3\xb6"),
            (b"%", b"%"),
            (b"%4", b"%4"),
            (b"%zz%41", b"%zzA"),
            (b"%4z%%41", b"%4z%A"),
            (b"%2541", b"%41"),
            (b"a+b", b"a+b"),
        ] {
            assert_eq!(percent_decode(encoded), decoded, "{}", encoded.escape_ascii());
        }
    }

    #[test]
    fn a_path_is_split_at_the_mount() {
        for (path, mount, split) in [
            ("/x", "", Some(("", "/x"))),
            ("/", "", Some(("", "/"))),
            ("/app", "/app", Some(("/app", ""))),
            ("/app/", "/app", Some(("/app", "/"))),
            ("/app/x%20y", "/app", Some(("/app", "/x%20y"))),
            ("/%61pp/x", "/app", Some(("/%61pp", "/x"))),
            ("/apple", "/app", None),
            ("/app%2fx", "/app", None),
            ("/ap", "/app", None),
            ("/", "/app", None),
            ("/a%2fb", "/a/b", None),
            ("/a/b", "/a/b", Some(("/a/b", ""))),
            ("/my%20app/x", "/my%20app", Some(("/my%20app", "/x"))),
            ("/my%20app/x", "/my app", Some(("/my%20app", "/x"))),
            ("*", "/app", Some(("", ""))),
        ] {
            let expected = split.map(|(script, rest)| (script.as_bytes(), rest.as_bytes()));
            assert_eq!(mount_split(path.as_bytes(), mount), expected, "{path} under {mount:?}");
        }
    }
}
