//! Network leaves: addresses, listening sockets, inherited descriptors, trust in proxies, PROXY protocol.

pub mod address;
pub mod inherit;
pub mod listener;
mod occupant;
pub mod origin;
pub mod proxy_protocol;

pub use address::{Address, Bind};
pub use listener::{BindError, Listener, SocketFile};
pub use origin::{Endpoint, Origin, OriginError, Scheme, origin_of};
