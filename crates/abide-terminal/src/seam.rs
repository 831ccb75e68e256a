//! The line between a program that was lost and the one in its place: a mark in the log, drawn by whoever shows a screen.

/// What a terminal is fed where a restore stands: the codes that end what the lost program had on it, and a line that
/// says why it ended (`code`) and when the next one began (`at_ms`: wall clock in milliseconds since 1970).
///
/// The daemon's model and the clients draw the same, so the time is told in UTC.
pub fn seam(code: &str, at_ms: u64) -> Vec<u8> {
    abide_screen::seam(code, &in_utc(at_ms))
}

fn in_utc(at_ms: u64) -> String {
    let at = i64::try_from(at_ms).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    // A clock beyond the year 9999 is told as a number.
    at.map_or_else(|| at_ms.to_string(), |at| at.strftime("%Y-%m-%d %H:%M UTC").to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seam_says_why_and_when() {
        let text = String::from_utf8(seam("HOST_REBOOTED", 1_760_000_000_000)).unwrap();
        assert!(text.contains("restored after HOST_REBOOTED, 2025-10-09 08:53 UTC"), "{text:?}");
        assert_eq!(in_utc(u64::MAX), u64::MAX.to_string());
    }
}
