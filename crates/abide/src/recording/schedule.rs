//! When a replay shows what.

use std::time::Duration;

/// The schedule of a replay: from the times of records to times since the replay began. No clock is asked.
#[derive(Debug)]
pub(crate) struct Schedule {
    speed: f64,
    idle_max: Duration,
    /// The time of the last record, and when it was due.
    last: Option<(u64, Duration)>,
}

impl Schedule {
    /// `speed` times as fast as it happened, where no pause counts as longer than `idle_max`.
    pub(crate) fn new(speed: f64, idle_max: Duration) -> Self {
        Self { speed, idle_max, last: None }
    }

    /// When the next record is due, which was written at `at_ms`. The first is due at once; a clock that was set back is
    /// no pause.
    pub(crate) fn due(&mut self, at_ms: u64) -> Duration {
        let due = match self.last {
            None => Duration::ZERO,
            Some((before_ms, due)) => {
                let pause = Duration::from_millis(at_ms.saturating_sub(before_ms)).min(self.idle_max);
                due.saturating_add(
                    Duration::try_from_secs_f64(pause.as_secs_f64() / self.speed).unwrap_or(Duration::MAX),
                )
            }
        };
        self.last = Some((at_ms, due));
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dues_ms(speed: f64, idle_max: Duration, at_ms: &[u64]) -> Vec<u128> {
        let mut schedule = Schedule::new(speed, idle_max);
        at_ms.iter().map(|at| schedule.due(*at).as_millis()).collect()
    }

    #[test]
    fn pauses_are_as_recorded() {
        let recorded = [1_760_000_000_000, 1_760_000_000_250, 1_760_000_000_250, 1_760_000_060_250];
        assert_eq!(dues_ms(1.0, Duration::MAX, &recorded), [0, 250, 250, 60_250]);
        assert_eq!(dues_ms(4.0, Duration::MAX, &recorded), [0, 62, 62, 15_062]);
        assert_eq!(dues_ms(0.5, Duration::MAX, &recorded), [0, 500, 500, 120_500]);
    }

    #[test]
    fn a_long_pause_is_cut_before_it_is_sped_up() {
        assert_eq!(dues_ms(1.0, Duration::from_secs(2), &[0, 1_000, 61_000, 62_000]), [0, 1_000, 3_000, 4_000]);
        assert_eq!(dues_ms(2.0, Duration::from_secs(2), &[0, 1_000, 61_000, 62_000]), [0, 500, 1_500, 2_000]);
        assert_eq!(dues_ms(1.0, Duration::ZERO, &[0, 1_000, 61_000]), [0, 0, 0]);
    }

    #[test]
    fn a_clock_that_was_set_back_is_no_pause() {
        assert_eq!(dues_ms(1.0, Duration::MAX, &[10_000, 11_000, 500, 1_500]), [0, 1_000, 1_000, 2_000]);
        assert_eq!(dues_ms(1e-300, Duration::MAX, &[0, u64::MAX]), [0, Duration::MAX.as_millis()]);
    }
}
