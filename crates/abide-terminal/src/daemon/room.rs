//! How long sessions that have ended are kept, and how much output all sessions keep together. How much each of them keeps
//! is the journal's: the base of its log rests on a screen.

use abide_journal::{Log, LogInfo};

use super::sessions::{Entry, Sessions};
use super::shared::now;
use crate::ids::SessionId;
use crate::record::State;
use crate::session::{Input, Now};

/// A session with this label is removed by whoever manages it.
const MANAGED_BY: &str = "abide.dev/managed-by";

/// A log is cut at its newest screen; a newer one is taken first if more than this lies behind it. Shorter logs are left
/// alone.
const CUT_BYTES_MIN: u64 = 4 << 20;

impl Sessions {
    /// Removes sessions that ended long ago, or are too many; and makes room if there is too much output.
    pub(super) fn make_room(&mut self) {
        let now = now();
        let ended = self.ended();
        let times: Vec<u64> = ended.iter().map(|(at, _)| *at).collect();
        let (gone, next) = expired(&times, now, &Keep::of(self));
        self.expires_at = next;
        for (_, id) in ended.iter().take(gone) {
            self.feed(*id, Input::Expired("expired"));
        }
        self.bound_output(&ended[gone..]);
    }

    /// Sessions that have ended and may be removed, the oldest first.
    fn ended(&self) -> Vec<(u64, SessionId)> {
        let kept = |entry: &&Entry| {
            entry.facts().state() == State::Finalized
                && entry.core.removed_at().is_none()
                && !entry.facts().record().labels.contains_key(MANAGED_BY)
        };
        let time = |entry: &Entry| (entry.facts().record().exited_at.unwrap_or(0), entry.facts().id());
        let mut ended: Vec<_> = self.entries.values().filter(kept).map(time).collect();
        ended.sort_unstable();
        ended
    }

    fn bound_output(&mut self, ended: &[(u64, SessionId)]) {
        let mut logs = self.logs();
        let all: u64 = logs.iter().map(|(.., info)| info.bytes).sum();
        let mut beyond = all.saturating_sub(self.shared.options.output_bytes_max);
        for (_, id) in ended {
            if beyond == 0 {
                return;
            }
            if let Some(at) = logs.iter().position(|(of, ..)| of == id) {
                beyond = beyond.saturating_sub(logs.swap_remove(at).2.bytes);
                self.feed(*id, Input::Expired("disk"));
            }
        }
        logs.sort_unstable_by_key(|(.., info)| std::cmp::Reverse(info.bytes));
        for (id, log, info) in logs {
            if beyond == 0 || info.bytes < CUT_BYTES_MIN {
                return;
            }
            let screen = info.checkpoints.last();
            let cut_at = screen.map_or(info.base.offset.0, |screen| screen.offset.0);
            if info.next.offset.0 - cut_at > CUT_BYTES_MIN {
                // Told when it is there.
                return self.shared.screens.keep(id);
            }
            if let Some(last) = screen.and_then(|screen| screen.lsn) {
                drop(log.trim(last.next()));
                beyond = beyond.saturating_sub(cut_at - info.base.offset.0);
            }
        }
    }

    /// The logs of sessions that are not removed.
    fn logs(&self) -> Vec<(SessionId, Log, LogInfo)> {
        let kept = self.entries.iter().filter(|(_, entry)| entry.core.removed_at().is_none());
        kept.filter_map(|(id, entry)| Some((*id, entry.log.clone()?, entry.log.as_ref()?.info().ok()?))).collect()
    }
}

/// How long, and how many.
struct Keep {
    ms: u64,
    sessions_max: usize,
}

impl Keep {
    fn of(sessions: &Sessions) -> Self {
        let options = &sessions.shared.options;
        Self { ms: options.finalized_keep_ms, sessions_max: options.finalized_sessions_max as usize }
    }
}

/// How many of those that ended at these times, the oldest first, are to go now; and when the next one is, by the clock of
/// deadlines.
fn expired(ended: &[u64], now: Now, keep: &Keep) -> (usize, Option<u64>) {
    let too_many = ended.len().saturating_sub(keep.sessions_max);
    let old = ended.partition_point(|at| at.saturating_add(keep.ms) <= now.wall_ms);
    let gone = too_many.max(old);
    let left = |at: &u64| at.saturating_add(keep.ms).saturating_sub(now.wall_ms);
    (gone, ended.get(gone).map(|at| now.boot_ms.saturating_add(left(at))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_ended_goes_by_age_and_number() {
        let now = Now { boot_ms: 1_000, wall_ms: 50_000 };
        let keep = |ms, sessions_max| Keep { ms, sessions_max };
        for (ended, keep, expected) in [
            (&[][..], keep(10, 10), (0, None)),
            (&[49_995], keep(10, 10), (0, Some(1_005))),
            (&[49_990, 49_991], keep(10, 10), (1, Some(1_001))),
            (&[49_995, 49_996, 49_997], keep(10, 1), (2, Some(1_007))),
            (&[49_995], keep(10, 0), (1, None)),
            // A clock that was set back keeps longer, one that is at its end for ever.
            (&[60_000], keep(10, 10), (0, Some(11_010))),
            (&[u64::MAX], keep(u64::MAX, 10), (0, Some(u64::MAX - 49_000))),
        ] {
            assert_eq!(expired(ended, now, &keep), expected, "{ended:?}");
        }
    }
}
