//! A strict HTTP/1.1 client: it sends exactly the bytes that a test gives it and believes nothing.
//!
//! It has its own reader so that a fault of the server's encoder cannot hide behind a forgiving library.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use socket2::{Domain, Socket, Type};

use crate::harness::PATIENCE;

/// Where a server listens.
#[derive(Debug, Clone)]
pub(crate) enum Address {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

#[derive(Debug)]
enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Client {
    stream: Stream,
    /// Bytes that were received and belong to no response yet.
    buffer: Vec<u8>,
}

/// One response.
#[derive(Debug, Clone)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) reason: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Response {
    /// The only value of the field `name`.
    #[track_caller]
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let values = self.headers(name);
        assert!(values.len() < 2, "{name} is repeated: {values:?}");
        values.first().copied()
    }

    /// All values of the field `name`.
    pub(crate) fn headers(&self, name: &str) -> Vec<&str> {
        let same = self.headers.iter().filter(|(other, _)| other.eq_ignore_ascii_case(name));
        same.map(|(_, value)| value.as_str()).collect()
    }

    /// The body as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body.clone()).expect("a body in UTF-8")
    }

    /// The body as JSON.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// Insists on the status.
    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Self {
        let body = String::from_utf8_lossy(&self.body[..self.body.len().min(2000)]);
        assert_eq!(self.status, status, "{} {:?}\n{body}", self.reason, self.headers);
        self
    }
}

impl Client {
    #[track_caller]
    pub(crate) fn connect(address: &Address) -> Self {
        Self::try_connect(address).unwrap_or_else(|error| panic!("connect to {address:?}: {error}"))
    }

    pub(crate) fn try_connect(address: &Address) -> io::Result<Self> {
        Ok(match address {
            Address::Tcp(address) => Self::from_tcp(TcpStream::connect_timeout(address, PATIENCE)?),
            Address::Unix(path) => Self::from_unix(UnixStream::connect(path)?),
        })
    }

    /// Connects from an address of the loopback network, all of which belong to this machine.
    pub(crate) fn connect_from(address: &Address, from: Ipv4Addr) -> Self {
        let Address::Tcp(address) = address else { panic!("only TCP has addresses to come from") };
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from((from, 0)).into()).unwrap();
        socket.connect_timeout(&(*address).into(), PATIENCE).unwrap();
        Self::from_tcp(socket.into())
    }

    /// A client on a connection that the test made itself.
    pub(crate) fn from_tcp(stream: TcpStream) -> Self {
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Self { stream: Stream::Tcp(stream), buffer: Vec::new() }
    }

    /// A client on a connection that the test made itself.
    pub(crate) fn from_unix(stream: UnixStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Self { stream: Stream::Unix(stream), buffer: Vec::new() }
    }

    /// Sends bytes as they are.
    #[track_caller]
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        self.try_send(bytes.as_ref()).unwrap_or_else(|error| panic!("send: {error}"));
        self
    }

    pub(crate) fn try_send(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.stream {
            Stream::Tcp(stream) => stream.write_all(bytes),
            Stream::Unix(stream) => stream.write_all(bytes),
        }
    }

    /// Closes the sending half.
    pub(crate) fn finish_sending(&mut self) -> &mut Self {
        match &self.stream {
            Stream::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Stream::Unix(stream) => stream.shutdown(Shutdown::Write),
        }
        .expect("half a connection can be closed");
        self
    }

    /// GET `path` and the response.
    #[track_caller]
    pub(crate) fn get(&mut self, path: &str) -> Response {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")).response()
    }

    /// Like [`Client::get`], for load: an error is a value.
    pub(crate) fn try_get(&mut self, path: &str) -> Result<Response, String> {
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        self.try_send(request.as_bytes()).map_err(|error| format!("send: {error}"))?;
        self.read_response(false)
    }

    /// Reads the next response.
    #[track_caller]
    pub(crate) fn response(&mut self) -> Response {
        self.read_response(false).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Reads the next response, which answers HEAD.
    #[track_caller]
    pub(crate) fn response_to_head(&mut self) -> Response {
        self.read_response(true).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Reads the next response; an error says what is wrong with it.
    pub(crate) fn read_response(&mut self, to_head: bool) -> Result<Response, String> {
        let mut response = self.read_head()?;
        // RFC 9112 §6.3
        if to_head || response.status < 200 || matches!(response.status, 204 | 304) {
            return Ok(response);
        }
        let length = response.headers("content-length").first().map(|value| (*value).to_owned());
        let coding = response.headers("transfer-encoding").first().map(|value| (*value).to_owned());
        response.body = match (length, coding) {
            (Some(_), Some(_)) => return Err("both Content-Length and Transfer-Encoding".into()),
            (Some(length), None) => {
                let length = length.parse().map_err(|error| format!("Content-Length {length:?}: {error}"))?;
                self.take(length)?
            }
            (None, Some(coding)) if coding == "chunked" => self.read_chunks()?,
            (None, Some(coding)) => return Err(format!("Transfer-Encoding: {coding}")),
            (None, None) => self.read_to_end()?,
        };
        Ok(response)
    }

    fn read_head(&mut self) -> Result<Response, String> {
        let line = self.line()?;
        let rest = line.strip_prefix("HTTP/1.1 ").ok_or_else(|| format!("status line {line:?}"))?;
        let (status, reason) = rest.split_once(' ').ok_or_else(|| format!("status line {line:?}"))?;
        let status = status.parse().map_err(|_| format!("status line {line:?}"))?;
        let mut headers = Vec::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                return Ok(Response { status, reason: reason.to_owned(), headers, body: Vec::new() });
            }
            let (name, value) = line.split_once(':').ok_or_else(|| format!("header line {line:?}"))?;
            headers.push((name.to_owned(), value.trim().to_owned()));
        }
    }

    fn read_chunks(&mut self) -> Result<Vec<u8>, String> {
        let mut body = Vec::new();
        loop {
            let line = self.line()?;
            let size = usize::from_str_radix(&line, 16).map_err(|_| format!("chunk size {line:?}"))?;
            body.extend(self.take(size)?);
            let end = self.line()?;
            if !end.is_empty() {
                return Err(format!("{end:?} after a chunk"));
            }
            if size == 0 {
                return Ok(body);
            }
        }
    }

    /// Reads to the end of the connection.
    pub(crate) fn read_to_end(&mut self) -> Result<Vec<u8>, String> {
        while self.fill()? > 0 {}
        Ok(std::mem::take(&mut self.buffer))
    }

    /// Insists that the server closes the connection without another byte.
    #[track_caller]
    pub(crate) fn expect_end(&mut self) {
        let rest = self.read_to_end().unwrap_or_else(|error| panic!("{error}"));
        assert!(rest.is_empty(), "more than was asked for: {:?}", String::from_utf8_lossy(&rest));
    }

    /// Insists that the server closes the connection without an answer; a reset is as good as an end.
    #[track_caller]
    pub(crate) fn expect_closed(&mut self) {
        match self.read_to_end() {
            Ok(rest) => assert!(rest.is_empty(), "an answer: {:?}", String::from_utf8_lossy(&rest)),
            Err(error) => assert!(error.contains("reset") && self.buffer.is_empty(), "{error}"),
        }
    }

    /// Reads a line that ends in CRLF and returns it without.
    pub(crate) fn line(&mut self) -> Result<String, String> {
        let mut searched = 0;
        loop {
            if let Some(at) = self.buffer[searched..].iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=searched + at).collect();
                let line = line.strip_suffix(b"\r\n").ok_or("a line that ends in a bare LF")?;
                return String::from_utf8(line.to_vec()).map_err(|error| error.to_string());
            }
            searched = self.buffer.len();
            if self.fill()? == 0 {
                return Err(format!("the connection ends in {:?}", String::from_utf8_lossy(&self.buffer)));
            }
        }
    }

    /// Reads `count` bytes.
    pub(crate) fn take(&mut self, count: usize) -> Result<Vec<u8>, String> {
        while self.buffer.len() < count {
            if self.fill()? == 0 {
                return Err(format!("the connection ends after {} of {count} bytes", self.buffer.len()));
            }
        }
        Ok(self.buffer.drain(..count).collect())
    }

    fn fill(&mut self) -> Result<usize, String> {
        let mut block = vec![0; 64 * 1024];
        let count = match &mut self.stream {
            Stream::Tcp(stream) => stream.read(&mut block),
            Stream::Unix(stream) => stream.read(&mut block),
        }
        .map_err(|error| format!("receive: {error}"))?;
        self.buffer.extend_from_slice(&block[..count]);
        Ok(count)
    }
}

/// What a visitor's browser keeps: an address and cookies.
#[derive(Debug)]
pub(crate) struct Session {
    address: Address,
    client: Client,
    cookies: BTreeMap<String, String>,
}

impl Session {
    pub(crate) fn new(address: &Address) -> Self {
        Self { address: address.clone(), client: Client::connect(address), cookies: BTreeMap::new() }
    }

    /// The value of a cookie.
    pub(crate) fn cookie(&self, name: &str) -> Option<&str> {
        self.cookies.get(name).map(String::as_str)
    }

    #[track_caller]
    pub(crate) fn get(&mut self, path: &str) -> Response {
        self.request("GET", path, "", b"")
    }

    /// Sends a form as `application/x-www-form-urlencoded`.
    #[track_caller]
    pub(crate) fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> Response {
        let pairs: Vec<String> =
            fields.iter().map(|(name, value)| format!("{}={}", escape(name), escape(value))).collect();
        self.request("POST", path, "application/x-www-form-urlencoded", pairs.join("&").as_bytes())
    }

    /// Sends a form with one file as `multipart/form-data` (RFC 7578).
    #[track_caller]
    pub(crate) fn upload(&mut self, path: &str, fields: &[(&str, &str)], file: (&str, &[u8])) -> Response {
        let mut body = Vec::new();
        for (name, value) in fields {
            let part = format!("--cut\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
            body.extend_from_slice(part.as_bytes());
        }
        let head = format!(
            "--cut\r\nContent-Disposition: form-data; name=\"{}\"; filename=\"upload.bin\"\r\n\
             Content-Type: application/octet-stream\r\n\r\n",
            file.0
        );
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(file.1);
        body.extend_from_slice(b"\r\n--cut--\r\n");
        self.request("POST", path, "multipart/form-data; boundary=cut", &body)
    }

    #[track_caller]
    fn request(&mut self, method: &str, path: &str, kind: &str, body: &[u8]) -> Response {
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n");
        if !self.cookies.is_empty() {
            let pairs: Vec<String> =
                self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
            write!(head, "Cookie: {}\r\n", pairs.join("; ")).unwrap();
        }
        if method == "POST" {
            write!(head, "Content-Type: {kind}\r\nContent-Length: {}\r\n", body.len()).unwrap();
            // Sites behind https want to see where a form comes from.
            head.push_str("Referer: https://localhost/\r\n");
        }
        head.push_str("\r\n");
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(body);
        let response = self.client.send(bytes).response();
        for cookie in response.headers("set-cookie") {
            let pair = cookie.split(';').next().unwrap_or_default();
            let (name, value) = pair.split_once('=').unwrap_or_else(|| panic!("cookie {cookie:?}"));
            self.cookies.insert(name.to_owned(), value.to_owned());
        }
        let closed = response.headers("connection").iter().any(|value| value.eq_ignore_ascii_case("close"));
        let unframed =
            response.headers("content-length").is_empty() && response.headers("transfer-encoding").is_empty();
        if closed || (unframed && !matches!(response.status, 204 | 304)) {
            self.client = Client::connect(&self.address);
        }
        response
    }
}

/// Percent-encodes a form's name or value.
fn escape(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    text.bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}
