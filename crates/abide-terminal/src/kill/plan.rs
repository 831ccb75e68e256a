//! The kill plan: which signals are due when, from asking to giving up.

use super::Signal;

/// SIGTERM follows the first signal after this time, or after half of the grace if that is shorter.
const TERM_AFTER_MS: u64 = 500;
/// When the rounds of SIGKILL are sent, after the first of them. What forks while it is killed is found by a later one.
const ROUNDS_MS: [u64; 4] = [0, 100, 300, 600];
/// When whatever still lives is listed as a survivor, after the first round.
const GIVE_UP_MS: u64 = 1_000;

/// What is due in a kill.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The signal, then SIGCONT, to the foreground group and to the leader's group.
    Ask(Signal),
    /// SIGTERM, then SIGCONT, to the same groups and to every other process of the session.
    Terminate,
    /// SIGKILL to every process of the session, found anew.
    Kill {
        /// The round, from 0 to 3; from 1 on the session's cgroup is killed too, where it has one.
        round: u8,
    },
    /// The session is Exited by force, and what still lives is listed.
    GiveUp,
}

/// One kill under way. It ends early when the leader is reaped and no process is left: its owner drops it then.
///
/// ```text
///  t0 ─────── + min(500, grace / 2) ─────── + grace ── + 100 ── + 300 ── + 600 ── + 1000
///  Ask        Terminate                     Kill 0     Kill 1   Kill 2   Kill 3   GiveUp
/// ```
///
/// Steps whose time has passed unused (the daemon was away, or the kill is forced) are left out: of those due, only the
/// last one is carried out. But no kill gives up before it has sent SIGKILL and waited its second. Times are
/// milliseconds of one clock that never goes back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    first: Signal,
    accepted_ms: u64,
    grace_ms: u64,
    /// When SIGKILL was first sent.
    killed_ms: Option<u64>,
    /// The next step, as a number in the drawing's order.
    next: usize,
}

impl Plan {
    /// Number of steps in the drawing before the first round of SIGKILL.
    const BEFORE_KILL: usize = 2;
    /// Number of the last step.
    const GIVE_UP: usize = Self::BEFORE_KILL + ROUNDS_MS.len();

    /// A kill accepted now, that sends SIGKILL after `grace_ms` and asks with `first` (SIGHUP, unless the caller chose
    /// another). A forced kill has a grace of 0.
    pub fn new(accepted_ms: u64, grace_ms: u64, first: Signal) -> Self {
        Self { first, accepted_ms, grace_ms, killed_ms: None, next: 0 }
    }

    /// Takes up a kill after a restart of the daemon: `deadline_ms` and `grace_ms` are those of its record. The step that
    /// was due last may be carried out a second time, because nobody knows whether it was.
    pub fn resume(deadline_ms: u64, grace_ms: u64, first: Signal) -> Self {
        let grace_ms = grace_ms.min(deadline_ms);
        Self::new(deadline_ms - grace_ms, grace_ms, first)
    }

    /// When SIGKILL is due.
    pub fn deadline_ms(&self) -> u64 {
        self.accepted_ms.saturating_add(self.grace_ms)
    }

    /// Brings the deadline to now, if it is later.
    pub fn force(&mut self, now_ms: u64) {
        if now_ms < self.deadline_ms() {
            self.grace_ms = now_ms.saturating_sub(self.accepted_ms);
        }
    }

    /// When the next step is due; none after the last.
    pub fn due_ms(&self) -> Option<u64> {
        (self.next <= Self::GIVE_UP).then(|| self.time_of(self.next))
    }

    /// Takes the step that is due now, if one is. To be called until it returns none.
    pub fn take(&mut self, now_ms: u64) -> Option<Step> {
        // Before SIGKILL was sent its rounds have no times yet, so that nothing beyond the first can be due.
        let last = if self.killed_ms.is_some() { Self::GIVE_UP } else { Self::BEFORE_KILL };
        let due = (self.next..=last).rev().find(|&step| self.time_of(step) <= now_ms)?;
        self.next = due + 1;
        if due == Self::BEFORE_KILL {
            self.killed_ms = Some(now_ms);
        }
        Some(self.step(due))
    }

    fn step(&self, number: usize) -> Step {
        match number {
            0 => Step::Ask(self.first),
            1 => Step::Terminate,
            Self::GIVE_UP => Step::GiveUp,
            _ => Step::Kill { round: u8::try_from(number - Self::BEFORE_KILL).unwrap_or(u8::MAX) },
        }
    }

    fn time_of(&self, number: usize) -> u64 {
        let killed = || self.killed_ms.unwrap_or(self.deadline_ms());
        match number {
            0 => self.accepted_ms,
            1 => self.accepted_ms.saturating_add(TERM_AFTER_MS.min(self.grace_ms / 2)),
            2 => self.deadline_ms(),
            _ => killed().saturating_add(ROUNDS_MS.get(number - Self::BEFORE_KILL).copied().unwrap_or(GIVE_UP_MS)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T0: u64 = 1_000_000;

    /// Runs a plan by its own timer, `late_ms` late each time, and tells each step with its time after T0.
    fn run(plan: &mut Plan, from_ms: u64, late_ms: u64) -> Vec<(u64, Step)> {
        let mut steps = Vec::new();
        let mut now = from_ms;
        while let Some(due) = plan.due_ms() {
            now = now.max(due + late_ms);
            let before = steps.len();
            while let Some(step) = plan.take(now) {
                steps.push((now - T0, step));
            }
            assert!(steps.len() > before, "a step that is due is taken");
            assert!(steps.len() <= 7, "no step twice: {steps:?}");
        }
        steps
    }

    fn kills(at: u64) -> Vec<(u64, Step)> {
        let rounds = [(0, 0), (1, 100), (2, 300), (3, 600)];
        let kill = |(round, after)| (at + after, Step::Kill { round });
        rounds.into_iter().map(kill).chain([(at + 1_000, Step::GiveUp)]).collect()
    }

    #[test]
    fn a_kill_asks_terminates_kills_in_rounds_and_gives_up() {
        let mut plan = Plan::new(T0, 5_000, Signal::HUP);
        assert_eq!(plan.deadline_ms(), T0 + 5_000);
        let asked = [(0, Step::Ask(Signal::HUP)), (500, Step::Terminate)];
        assert_eq!(run(&mut plan, T0, 0), [&asked[..], &kills(5_000)].concat());
        assert_eq!(plan.due_ms(), None);
    }

    #[test]
    fn a_short_grace_has_its_sigterm_at_the_half() {
        let asked = [(0, Step::Ask(Signal::TERM)), (150, Step::Terminate)];
        assert_eq!(run(&mut Plan::new(T0, 300, Signal::TERM), T0, 0), [&asked[..], &kills(300)].concat());
    }

    #[test]
    fn a_forced_kill_begins_with_sigkill() {
        assert_eq!(run(&mut Plan::new(T0, 0, Signal::HUP), T0, 0), kills(0));
    }

    #[test]
    fn force_brings_the_deadline_to_now_and_never_puts_it_off() {
        let mut plan = Plan::new(T0, 5_000, Signal::HUP);
        assert_eq!(plan.take(T0), Some(Step::Ask(Signal::HUP)));
        plan.force(T0 + 200);
        assert_eq!(plan.deadline_ms(), T0 + 200);
        plan.force(T0 + 300);
        assert_eq!(plan.deadline_ms(), T0 + 200);
        assert_eq!(run(&mut plan, T0 + 200, 0), kills(200));
    }

    #[test]
    fn force_after_the_deadline_changes_nothing() {
        let mut plan = Plan::new(T0, 100, Signal::HUP);
        assert_eq!(plan.take(T0 + 150), Some(Step::Kill { round: 0 }));
        let before = plan.clone();
        plan.force(T0 + 200);
        assert_eq!(plan, before);
    }

    #[test]
    fn nothing_is_due_before_its_time() {
        let mut plan = Plan::new(T0, 5_000, Signal::HUP);
        assert_eq!(plan.take(T0 - 1), None);
        assert_eq!(plan.take(T0), Some(Step::Ask(Signal::HUP)));
        assert_eq!(plan.take(T0 + 499), None);
        assert_eq!(plan.due_ms(), Some(T0 + 500));
    }

    #[test]
    fn a_returning_daemon_goes_on_where_the_record_says() {
        let deadline = T0 + 5_000;
        let before_term = run(&mut Plan::resume(deadline, 5_000, Signal::HUP), T0 + 300, 0);
        let asked = [(300, Step::Ask(Signal::HUP)), (500, Step::Terminate)];
        assert_eq!(before_term, [&asked[..], &kills(5_000)].concat());

        let after_term = run(&mut Plan::resume(deadline, 5_000, Signal::HUP), T0 + 2_000, 0);
        assert_eq!(after_term, [&[(2_000, Step::Terminate)][..], &kills(5_000)].concat());

        let an_hour_late = run(&mut Plan::resume(deadline, 5_000, Signal::HUP), T0 + 3_600_000, 0);
        assert_eq!(an_hour_late, kills(3_600_000), "SIGKILL is sent, and has its second, however late");
    }

    #[test]
    fn late_timers_skip_rounds_but_never_the_first_kill() {
        let steps = run(&mut Plan::new(T0, 5_000, Signal::HUP), T0, 250);
        let names: Vec<Step> = steps.iter().map(|&(_, step)| step).collect();
        assert_eq!(names.iter().filter(|step| matches!(step, Step::Kill { round: 0 })).count(), 1);
        assert_eq!(names.last(), Some(&Step::GiveUp));
        let killed = steps.iter().find(|(_, step)| *step == Step::Kill { round: 0 }).expect("it was sent");
        let ended = steps.last().expect("it ended");
        assert!(ended.0 - killed.0 >= GIVE_UP_MS, "{steps:?}");
    }

    #[test]
    fn times_at_the_end_of_the_clock_do_not_overflow() {
        let mut plan = Plan::new(u64::MAX - 10, 60_000, Signal::HUP);
        assert_eq!(plan.take(u64::MAX), Some(Step::Kill { round: 0 }));
        assert_eq!(plan.take(u64::MAX), Some(Step::GiveUp));
        assert_eq!(Plan::resume(5, 60_000, Signal::HUP).deadline_ms(), 5);
    }
}
