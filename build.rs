//! Puts the directory of the Python library into the rpath, so that the binary starts anywhere on this machine, and
//! tells the bridge where that Python's executable is (`sys.executable` when there is no virtualenv).

fn main() {
    println!("cargo:rerun-if-env-changed=PYO3_PYTHON");
    // `Py_GIL_DISABLED`, for the values that the interpreter lock guards.
    pyo3_build_config::use_pyo3_cfgs();
    let python = pyo3_build_config::get();
    if let Some(directory) = python.lib_dir().filter(|directory| !is_searched(directory)) {
        println!("cargo:rustc-link-arg=-Wl,-rpath,{directory}");
    }
    println!("cargo:rustc-env=RWSGI_PYTHON={}", python.executable().unwrap_or_default());
}

/// Whether the dynamic linker looks there anyway, as for the Python of a Linux distribution.
fn is_searched(directory: &str) -> bool {
    let triplet = directory.strip_prefix("/usr/lib/").or_else(|| directory.strip_prefix("/lib/"));
    matches!(directory, "/usr/lib" | "/lib" | "/usr/lib64" | "/lib64")
        || triplet.is_some_and(|triplet| triplet.ends_with("-linux-gnu") && !triplet.contains('/'))
}
