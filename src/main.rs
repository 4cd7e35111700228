//! The program: wires the Python loader, the worker and the template into the command line.

use std::process::ExitCode;

use rwsgi::cli;
use rwsgi::ipc::Programs;
use rwsgi::python::PythonLoader;
use rwsgi::template::Template;
use rwsgi::worker::Worker;

fn main() -> ExitCode {
    let worker = Box::new(Worker::new(Box::new(PythonLoader)));
    let template = Box::new(Template::new(Box::new(PythonLoader)));
    cli::main(&PythonLoader, Programs { worker, template })
}
