//! Puts the directory of the Python library into the rpath, so that the binary starts anywhere on this machine.

fn main() {
    println!("cargo:rerun-if-env-changed=PYO3_PYTHON");
    if let Some(directory) = pyo3_build_config::get().lib_dir() {
        println!("cargo:rustc-link-arg=-Wl,-rpath,{directory}");
    }
}
