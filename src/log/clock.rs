//! Time as access logs have it, rendered once a second.

use std::cell::RefCell;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// Renders `[10/Oct/2000:13:55:36 -0700]`. Kept by one log, not shared between threads.
#[derive(Debug, Clone)]
pub(super) struct LocalClock {
    zone: TimeZone,
    /// The last second that was rendered, and its text.
    last: RefCell<(u64, String)>,
}

impl LocalClock {
    /// In the time zone of the system (`TZ`, else `/etc/localtime`).
    pub(super) fn system() -> Self {
        Self::in_zone(TimeZone::system())
    }

    fn in_zone(zone: TimeZone) -> Self {
        Self { zone, last: RefCell::new((u64::MAX, String::new())) }
    }

    /// Appends the time, in brackets.
    pub(super) fn write(&self, time: SystemTime, out: &mut Vec<u8>) {
        let second = since_1970(time).as_secs();
        let mut last = self.last.borrow_mut();
        if last.0 != second {
            let text =
                stamp(second).to_zoned(self.zone.clone()).strftime("[%d/%b/%Y:%H:%M:%S %z]").to_string();
            *last = (second, text);
        }
        out.extend_from_slice(last.1.as_bytes());
    }
}

/// Renders `2000-10-10T20:55:36.123Z` (RFC 3339). Kept by one log, not shared between threads.
#[derive(Debug, Clone)]
pub(super) struct UtcClock {
    /// The last second that was rendered, and its text.
    last: RefCell<(u64, String)>,
}

impl UtcClock {
    pub(super) fn new() -> Self {
        Self { last: RefCell::new((u64::MAX, String::new())) }
    }

    /// Appends the time, to the millisecond.
    pub(super) fn write(&self, time: SystemTime, out: &mut Vec<u8>) {
        let time = since_1970(time);
        let mut last = self.last.borrow_mut();
        if last.0 != time.as_secs() {
            *last = (time.as_secs(), stamp(time.as_secs()).strftime("%Y-%m-%dT%H:%M:%S.").to_string());
        }
        out.extend_from_slice(last.1.as_bytes());
        let milliseconds = time.subsec_millis();
        for divisor in [100, 10, 1] {
            out.push(b"0123456789"[(milliseconds / divisor % 10) as usize]);
        }
        out.push(b'Z');
    }
}

/// A clock that is set to before 1970 shows as 1970.
fn since_1970(time: SystemTime) -> Duration {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

/// A clock beyond the years that jiff knows (to 9999) shows as 1970.
fn stamp(second: u64) -> Timestamp {
    i64::try_from(second).ok().and_then(|second| Timestamp::from_second(second).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
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
    fn utc_has_milliseconds_and_survives_a_wrong_clock() {
        let clock = UtcClock::new();
        let text = |time| {
            let mut out = Vec::new();
            clock.write(time, &mut out);
            String::from_utf8(out).unwrap()
        };
        let time = SystemTime::UNIX_EPOCH + Duration::from_micros(971_211_336_023_900);
        assert_eq!(text(time), "2000-10-10T20:55:36.023Z");
        assert_eq!(text(time + Duration::from_millis(100)), "2000-10-10T20:55:36.123Z", "from the cache");
        assert_eq!(text(SystemTime::UNIX_EPOCH - Duration::from_secs(1)), "1970-01-01T00:00:00.000Z");
        assert_eq!(text(SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 60)), "1970-01-01T00:00:00.000Z");
    }

    #[test]
    fn the_offset_follows_daylight_saving() {
        let clock = LocalClock::in_zone(TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap());
        assert_eq!(text(&clock, 1_792_889_999), "[25/Oct/2026:02:59:59 +0200]");
        assert_eq!(text(&clock, 1_792_890_000), "[25/Oct/2026:02:00:00 +0100]");
    }
}
