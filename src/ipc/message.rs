//! The messages. Each is one packet; an unknown or broken packet is an error, never skipped.

/// From a worker to the master.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FromWorker {
    /// The application is loaded; the worker waits for [`ToWorker::Serve`] before it accepts.
    Ready,
    /// The application could not be loaded; the worker exits after this.
    BootFailed {
        /// 2, 3 or 4, as the exit codes of the program.
        exit_code: u8,
        /// One sentence.
        summary: String,
        /// The traceback, if there is one; cut to fit a packet.
        traceback: Option<String>,
    },
    /// The worker wants to be replaced (the application asked for it) and drains.
    Leaving,
}

/// From the master to a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ToWorker {
    /// Start to accept connections.
    Serve,
    /// Stop accepting, answer what is in flight, exit within the graceful timeout.
    Drain,
    /// Reopen log files.
    ReopenLogs,
}
