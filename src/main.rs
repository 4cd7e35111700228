//! The program: wires the Python loader and the worker into the command line.

use std::process::ExitCode;

use rwsgi::cli;
use rwsgi::python::PythonLoader;
use rwsgi::worker::Worker;

fn main() -> ExitCode {
    cli::main(&PythonLoader, Box::new(Worker::new(Box::new(PythonLoader))))
}
