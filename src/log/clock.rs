//! Local time in the common log format, rendered once a second.

use std::cell::RefCell;
use std::time::SystemTime;

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// Renders `[10/Oct/2000:13:55:36 -0700]`. Kept by one log, not shared between threads.
#[derive(Debug, Clone)]
pub(super) struct LocalClock {
    zone: TimeZone,
    /// The last second that was rendered, and its text.
    last: RefCell<(i64, String)>,
}

impl LocalClock {
    /// In the time zone of the system (`TZ`, else `/etc/localtime`).
    pub(super) fn system() -> Self {
        Self::in_zone(TimeZone::system())
    }

    fn in_zone(zone: TimeZone) -> Self {
        Self { zone, last: RefCell::new((i64::MIN, String::new())) }
    }

    /// Appends the time, in brackets.
    pub(super) fn write(&self, time: SystemTime, out: &mut Vec<u8>) {
        // A clock beyond the years that jiff knows (-9999 to 9999) shows as 1970.
        let time = Timestamp::try_from(time).unwrap_or_default();
        let mut last = self.last.borrow_mut();
        if last.0 != time.as_second() {
            let text = time.to_zoned(self.zone.clone()).strftime("[%d/%b/%Y:%H:%M:%S %z]").to_string();
            *last = (time.as_second(), text);
        }
        out.extend(last.1.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn text(clock: &LocalClock, seconds: u64) -> String {
        let mut out = Vec::new();
        clock.write(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds), &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn time_is_local_with_its_offset() {
        let clock = LocalClock::in_zone(TimeZone::fixed(jiff::tz::offset(-7)));
        assert_eq!(text(&clock, 971_211_336), "[10/Oct/2000:13:55:36 -0700]");
        assert_eq!(text(&clock, 971_211_336), "[10/Oct/2000:13:55:36 -0700]", "from the cache");
        assert_eq!(text(&clock, 971_211_337), "[10/Oct/2000:13:55:37 -0700]");
    }

    #[test]
    fn the_offset_follows_daylight_saving() {
        let clock = LocalClock::in_zone(TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap());
        assert_eq!(text(&clock, 1_792_889_999), "[25/Oct/2026:02:59:59 +0200]");
        assert_eq!(text(&clock, 1_792_890_000), "[25/Oct/2026:02:00:00 +0100]");
    }
}
