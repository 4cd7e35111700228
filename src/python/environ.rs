//! The `environ` dictionary of one request (PEP 3333, "environ Variables"; CGI, RFC 3875 §4.1).
//!
//! Each thread has dictionaries to copy ([`Template`]): one without header fields, and one for each header section that it
//! has seen twice lately, because clients say the same with every request. A template is as the last request has left it:
//! of the variables that any request may change, those that differ are set before it is copied. What belongs to one request
//! alone is set in the copy; the objects that one request after the other uses stay in the template.
//!
//! A copy that the application has neither kept nor changed is adjusted for the next request with the same section, and not made
//! again.

use std::time::Duration;

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

use crate::app::{Body, Identity, Request, Scheme};
use crate::config;
use crate::http::{RequestBodyLength, RequestHead, Target, Version};

use super::ends::Ends;
use super::fields::Fields;
use super::file_wrapper::FileWrapper;
use super::gil_cell::has_references;
use super::objects::{KEPT, Objects, References};
use super::targets::Targets;
use super::text::{latin1, version_of};

/// Most header sections that a thread remembers: those of the clients that it serves by turns, where they are alike.
const SECTIONS_MAX: usize = 16;

/// Longest header section that is remembered, in bytes: a few times that of a browser with its cookies.
const SECTION_BYTES_MAX: usize = 4096;

/// `SERVER_SOFTWARE`
const SERVER_SOFTWARE: &str = concat!("rwsgi/", env!("CARGO_PKG_VERSION"));

/// What all requests have in common.
#[derive(Debug)]
pub(super) struct Constants {
    base: Py<PyDict>,
    mount: String,
}

impl Constants {
    pub(super) fn new(
        py: Python<'_>,
        mount: &str,
        workers: &config::Workers,
        identity: Identity,
    ) -> PyResult<Self> {
        let base = PyDict::new(py);
        base.set_item("wsgi.version", (1, 0))?;
        base.set_item("wsgi.multithread", workers.threads > 1)?;
        base.set_item("wsgi.multiprocess", workers.count > 1)?;
        base.set_item("wsgi.run_once", false)?;
        base.set_item("wsgi.input_terminated", true)?;
        base.set_item("wsgi.file_wrapper", py.get_type::<FileWrapper>())?;
        base.set_item("SERVER_SOFTWARE", SERVER_SOFTWARE)?;
        base.set_item("rwsgi.generation", identity.generation)?;
        base.set_item("rwsgi.worker", identity.slot)?;
        Ok(Self { base: base.unbind(), mount: mount.to_owned() })
    }

    /// Whose requests they are from now on.
    pub(super) fn settle(&self, py: Python<'_>, identity: Identity) -> PyResult<()> {
        let base = self.base.bind(py);
        base.set_item("rwsgi.generation", identity.generation)?;
        base.set_item("rwsgi.worker", identity.slot)
    }
}

/// Length of a body that has arrived completely.
pub(super) fn complete_length(body: &Body) -> Option<u64> {
    match body {
        Body::Memory(bytes) => Some(bytes.len() as u64),
        Body::Spooled { length, .. } => Some(*length),
        Body::Stream(_) => None,
    }
}

/// The variables that every request sets, and the last of them that only some have.
const VARIABLES: [&str; 12] = [
    "REQUEST_METHOD",
    "SERVER_PROTOCOL",
    "RAW_URI",
    "REQUEST_URI",
    "QUERY_STRING",
    "SCRIPT_NAME",
    "PATH_INFO",
    "SERVER_NAME",
    "SERVER_PORT",
    "REMOTE_ADDR",
    "wsgi.url_scheme",
    "REMOTE_PORT",
];

/// The values of [`VARIABLES`].
type Values<'a, 'py> = [Option<&'a Bound<'py, PyString>>; VARIABLES.len()];

/// Which of the variables there are that not every request has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Shape {
    has_remote_port: bool,
    is_https: bool,
    has_deadline: bool,
}

/// A dictionary to copy, or a copy to lend again.
#[derive(Debug)]
struct Template<'py> {
    dict: Bound<'py, PyDict>,
    /// The values that it holds.
    values: [Option<Bound<'py, PyString>>; VARIABLES.len()],
    /// The addresses of the objects that it holds.
    objects: [usize; KEPT.len()],
}

/// The names of what a template holds.
#[derive(Debug)]
struct Names<'py> {
    variables: [Bound<'py, PyString>; VARIABLES.len()],
    kept: [Bound<'py, PyString>; KEPT.len()],
}

impl<'py> Template<'py> {
    /// The environ without header fields.
    fn base(py: Python<'py>, constants: &Constants, shape: Shape) -> PyResult<Self> {
        let dict = constants.base.bind(py).copy()?;
        for (index, name) in VARIABLES.iter().enumerate() {
            if index + 1 < VARIABLES.len() || shape.has_remote_port {
                dict.set_item(name, py.None())?;
            }
        }
        if shape.is_https {
            // PEP 3333, "environ Variables": as Apache has it.
            dict.set_item(intern!(py, "HTTPS"), intern!(py, "on"))?;
        }
        for name in KEPT {
            dict.set_item(name, py.None())?;
        }
        // Room for what is set in the copy.
        dict.set_item(intern!(py, "rwsgi.request_id"), py.None())?;
        if shape.has_deadline {
            dict.set_item(intern!(py, "rwsgi.deadline"), py.None())?;
        }
        Ok(Self { dict, values: Default::default(), objects: Default::default() })
    }

    /// The same with these values and objects, which are counted where it did not hold them.
    fn adjust(
        &mut self,
        names: &Names<'py>,
        values: &Values<'_, 'py>,
        objects: &Objects<'py>,
        references: &mut References,
    ) -> PyResult<()> {
        for ((held, value), name) in self.values.iter_mut().zip(values).zip(&names.variables) {
            if let Some(value) = value
                && !held.as_ref().is_some_and(|held| held.is(*value))
            {
                self.dict.set_item(name, value)?;
                *held = Some((*value).clone());
            }
        }
        let places = self.objects.iter_mut().zip(references).zip(&names.kept);
        for (((held, count), name), object) in places.zip(objects.kept()) {
            if *held != address(object) {
                self.dict.set_item(name, object)?;
                *held = address(object);
                *count += 1;
            }
        }
        Ok(())
    }

    /// It is dropped: these objects are counted no more if it holds them.
    fn forget(self, objects: &Objects<'py>, references: &mut References) {
        for ((held, count), object) in self.objects.iter().zip(references).zip(objects.kept()) {
            *count -= isize::from(*held == address(object));
        }
    }
}

fn address(object: &Bound<'_, PyAny>) -> usize {
    object.as_ptr().addr()
}

/// A header section that was seen.
#[derive(Debug)]
struct Section<'py> {
    bytes: Vec<u8>,
    shape: Shape,
    /// Made when it is seen again.
    template: Option<Template<'py>>,
    /// A copy of the template that an application has had and left as it was, or has now.
    used: Option<Template<'py>>,
}

/// An environ that may be as it was when its request is over.
#[derive(Debug)]
struct Lent {
    /// The index of its section.
    section: usize,
    /// What [`version_of`] said.
    version: u64,
}

/// What a thread makes environs from.
pub(super) struct Environs<'a, 'py> {
    py: Python<'py>,
    constants: &'a Constants,
    names: Names<'py>,
    /// Those of all templates and of the copies that are kept.
    references: References,
    bases: Vec<(Shape, Template<'py>)>,
    sections: Vec<Section<'py>>,
    /// That of the request under way.
    lent: Option<Lent>,
    /// The section that gives way to the next.
    oldest: usize,
    targets: Targets<'py>,
    ends: Ends<'py>,
    fields: Fields<'py>,
}

impl<'a, 'py> Environs<'a, 'py> {
    pub(super) fn new(py: Python<'py>, constants: &'a Constants) -> Self {
        Self {
            py,
            constants,
            names: Names {
                variables: VARIABLES.map(|name| PyString::intern(py, name)),
                kept: KEPT.map(|name| PyString::intern(py, name)),
            },
            references: References::default(),
            bases: Vec::new(),
            sections: Vec::new(),
            lent: None,
            oldest: 0,
            targets: Targets::default(),
            ends: Ends::default(),
            fields: Fields::default(),
        }
    }

    /// How many references to the objects of the last request the templates and the kept copies hold.
    pub(super) fn references(&mut self) -> &mut References {
        &mut self.references
    }

    /// Makes the environ of a request. `body_length` is the length of the body where it is complete; `deadline` is when the
    /// application is to be done, on the clock of `time.monotonic()`.
    pub(super) fn environ(
        &mut self,
        request: &Request,
        objects: &Objects<'py>,
        body_length: Option<u64>,
        deadline: Option<Duration>,
    ) -> PyResult<Bound<'py, PyDict>> {
        let py = self.py;
        let is_overruled = is_overruled(request, body_length);
        let (environ, section) = self.of_fields(request, objects, deadline.is_some(), is_overruled)?;
        if is_overruled {
            set_overruled_fields(&environ, request, body_length)?;
        }
        environ.set_item(intern!(py, "rwsgi.request_id"), latin1(py, request.id.as_bytes())?)?;
        if let Some(deadline) = deadline {
            environ.set_item(intern!(py, "rwsgi.deadline"), deadline.as_secs_f64())?;
        }
        self.lent = section.zip(version_of(&environ)).map(|(section, version)| Lent { section, version });
        Ok(environ)
    }

    /// The request is over. If its environ is as it was, and nobody has it but the caller and the section that it is for, it is
    /// kept for the next; else it is dropped, for which code of the application may run.
    pub(super) fn keep(&mut self, environ: Bound<'py, PyDict>, objects: &Objects<'py>) {
        let Self { references, sections, lent, .. } = self;
        let Some(Lent { section, version }) = lent.take() else { return };
        let Section { template: Some(template), used, .. } = &mut sections[section] else { return };
        debug_assert!(used.as_ref().is_none_or(|used| used.dict.is(&environ)));
        let is_unchanged = version_of(&environ) == Some(version)
            && has_references(&environ, 1 + isize::from(used.is_some()));
        if !is_unchanged {
            used.take().into_iter().for_each(|used| used.forget(objects, references));
        } else if used.is_none() {
            let (values, objects) = (template.values.clone(), template.objects);
            *used = Some(Template { dict: environ, values, objects });
            references.iter_mut().for_each(|count| *count += 1);
        }
    }

    /// The environ with request line, ends and header fields, and the section that it may be kept for. With `is_alone` it is for
    /// this request alone.
    fn of_fields(
        &mut self,
        request: &Request,
        objects: &Objects<'py>,
        has_deadline: bool,
        is_alone: bool,
    ) -> PyResult<(Bound<'py, PyDict>, Option<usize>)> {
        let Self { py, constants, names, references, bases, sections, oldest, targets, ends, fields, .. } =
            self;
        let (py, head) = (*py, &request.head);
        let mut method = None;
        let line = targets.of(py, request, &constants.mount)?;
        let both = ends.of(py, request)?;
        let values = [
            Some(match method_of(py, head) {
                Some(method) => method,
                None => method.insert(latin1(py, head.method())?),
            }),
            Some(match head.version() {
                Version::Http10 => intern!(py, "HTTP/1.0"),
                Version::Http11 => intern!(py, "HTTP/1.1"),
            }),
            Some(&line.raw),
            Some(&line.raw),
            Some(&line.query),
            Some(&line.script),
            Some(&line.path),
            Some(&both.server.name),
            Some(&both.server.port),
            Some(both.address),
            Some(match request.origin.scheme {
                Scheme::Http => intern!(py, "http"),
                Scheme::Https => intern!(py, "https"),
            }),
            both.port,
        ];
        let (has_remote_port, is_https) = (both.port.is_some(), request.origin.scheme == Scheme::Https);
        let shape = Shape { has_remote_port, is_https, has_deadline };
        let bytes = head.fields_bytes();
        let is_same = |section: &Section<'py>| section.bytes == bytes && section.shape == shape;
        let place = sections.iter().position(is_same);
        let known = place.map(|place| &mut sections[place]);
        if let Some(Section { template: Some(template), used, .. }) = known {
            // All objects can be found (`gc.get_objects()`), and held on to.
            if let Some(found) = used.take_if(|used| !has_references(&used.dict, 1)) {
                found.forget(objects, references);
            }
            if let Some(used) = used
                && !is_alone
            {
                used.adjust(names, &values, objects, references)?;
                return Ok((used.dict.clone(), place));
            }
            template.adjust(names, &values, objects, references)?;
            return Ok((template.dict.copy()?, place.filter(|_| !is_alone)));
        }
        let index = match bases.iter().position(|(other, _)| *other == shape) {
            Some(index) => index,
            None => {
                bases.push((shape, Template::base(py, constants, shape)?));
                bases.len() - 1
            }
        };
        let (_, base) = &mut bases[index];
        base.adjust(names, &values, objects, references)?;
        let environ = base.dict.copy()?;
        fields.set(&environ, request)?;
        let Some(section) = known else {
            let former = remember(sections, oldest, bytes, shape);
            former.into_iter().flatten().for_each(|template| template.forget(objects, references));
            return Ok((environ, None));
        };
        // It has come again, and so it will.
        let copy = environ.copy()?;
        section.template =
            Some(Template { dict: environ, values: base.values.clone(), objects: base.objects });
        references.iter_mut().for_each(|count| *count += 1);
        Ok((copy, None))
    }
}

/// The object of a usual method.
fn method_of<'py>(py: Python<'py>, head: &RequestHead) -> Option<&'py Bound<'py, PyString>> {
    Some(match head.method() {
        b"GET" => intern!(py, "GET"),
        b"POST" => intern!(py, "POST"),
        b"HEAD" => intern!(py, "HEAD"),
        b"PUT" => intern!(py, "PUT"),
        b"PATCH" => intern!(py, "PATCH"),
        b"DELETE" => intern!(py, "DELETE"),
        b"OPTIONS" => intern!(py, "OPTIONS"),
        _ => return None,
    })
}

/// Remembers a section, in place of the oldest if there are many: the templates of that are returned.
fn remember<'py>(
    sections: &mut Vec<Section<'py>>,
    oldest: &mut usize,
    bytes: &[u8],
    shape: Shape,
) -> [Option<Template<'py>>; 2] {
    if bytes.len() > SECTION_BYTES_MAX {
        return [None, None];
    }
    if sections.len() < SECTIONS_MAX {
        sections.push(Section { bytes: bytes.to_vec(), shape, template: None, used: None });
        return [None, None];
    }
    let section = &mut sections[*oldest];
    *oldest = (*oldest + 1) % SECTIONS_MAX;
    section.bytes.clear();
    section.bytes.extend_from_slice(bytes);
    section.shape = shape;
    [section.template.take(), section.used.take()]
}

/// Whether something else has a say in the variables of header fields.
fn is_overruled(request: &Request, body_length: Option<u64>) -> bool {
    let head = &request.head;
    let is_decoded = head.body_length() == RequestBodyLength::Chunked && body_length.is_some();
    is_decoded || request.origin.host.is_some() || head.target_form() == Target::Absolute
}

/// The variables of header fields that something else has a say in.
fn set_overruled_fields(
    environ: &Bound<'_, PyDict>,
    request: &Request,
    body_length: Option<u64>,
) -> PyResult<()> {
    let py = environ.py();
    let head = &request.head;
    if let Some(named) = &request.origin.host {
        environ.set_item(intern!(py, "HTTP_HOST"), latin1(py, named.as_bytes())?)?;
    } else if head.target_form() == Target::Absolute {
        // RFC 9112 §3.2.2: the target's authority counts, not the Host field.
        environ.set_item(intern!(py, "HTTP_HOST"), latin1(py, head.host().unwrap_or_default())?)?;
    }
    if let (RequestBodyLength::Chunked, Some(length)) = (head.body_length(), body_length) {
        // The body was decoded: its coding is of no concern any more, and its length is known.
        environ.set_item(intern!(py, "CONTENT_LENGTH"), length.to_string())?;
        let coding = intern!(py, "HTTP_TRANSFER_ENCODING");
        if environ.contains(coding)? {
            environ.del_item(coding)?;
        }
    }
    Ok(())
}
