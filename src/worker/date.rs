//! The Date field of responses (RFC 9110 §6.6.1).

use std::cell::RefCell;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::sys::clock;

/// The Date field's value, rendered at most once a second on each thread.
pub(super) fn date_now() -> Arc<str> {
    thread_local! {
        static DATE: RefCell<(u64, Arc<str>)> = RefCell::new((0, Arc::from("")));
    }
    let second = clock::seconds_since_1970();
    DATE.with_borrow_mut(|(rendered, date)| {
        if *rendered != second || date.is_empty() {
            *rendered = second;
            let time = SystemTime::UNIX_EPOCH + Duration::from_secs(second);
            *date = Arc::from(httpdate::fmt_http_date(time));
        }
        Arc::clone(date)
    })
}
