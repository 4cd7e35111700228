//! The master process: binds the listeners, forks the workers and watches over them. One thread, no Python.

mod supervisor;
