//! What the server tells about itself to those who watch over it: Prometheus text, and pages of health and readiness. Pure:
//! figures and bytes in, text out; who collects the figures and owns the sockets is the master.
//!
//! `figures` is what is told and how it is named, `text` the form, `page` the little HTTP that is needed, `restart` the reasons
//! why workers are replaced.

pub mod figures;
pub mod page;
pub mod restart;
mod text;

pub use figures::{Figures, Listening, Process};
pub use page::{Answer, Page, Readiness, Reading};
pub use restart::{End, Restart, Restarts};
