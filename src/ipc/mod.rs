//! What master and worker share: few messages over a `SOCK_SEQPACKET` pair, one packet a message, and the seat that
//! a forked worker is given.

pub mod channel;
pub mod message;
pub mod seat;

pub use channel::Channel;
pub use message::{FromWorker, ToWorker};
pub use seat::{Seat, WorkerMain};
