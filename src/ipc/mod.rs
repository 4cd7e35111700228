//! What master, template and worker share: few messages over a `SOCK_SEQPACKET` pair, one packet a message, the scoreboard,
//! and the seat that a forked process is given. `control` is what the master shares with `rwsgi ctl` instead.

pub mod channel;
pub mod control;
pub mod message;
pub mod roster;
pub mod scoreboard;
pub mod seat;

pub use channel::Channel;
pub use message::{FromTemplate, FromWorker, ToTemplate, ToWorker};
pub use roster::Roster;
pub use scoreboard::Scoreboard;
pub use seat::{Programs, Seat, TemplateMain, TemplateSeat, WorkerMain};
