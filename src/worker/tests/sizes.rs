//! What a connection takes while it waits: ten thousand of them are to fit into ten megabytes.

use std::mem::size_of;

use super::super::connection::Connection;

#[test]
fn an_idle_connection_takes_little() {
    // 304 bytes when this was last changed; what it knows of its exchange is among them, or every request would allocate. The slab that they lie in may have grown to twice what is used, and each has an entry
    // in the timers and shares blocks of the allocator: a third of the KiB leaves room for all that.
    let size = size_of::<Connection>();
    assert!(size <= 320, "{size} bytes: put what only a busy connection needs into a box of its phase");
}
