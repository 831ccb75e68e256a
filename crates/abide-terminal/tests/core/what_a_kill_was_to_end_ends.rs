//! What a dead holder left of its program is ended with it where that is the holder's doing, or a kill was under way.

use abide_terminal::recover::left_ends;
use abide_terminal::store::{Event, Facts};
use abide_terminal::{EventNumber, Exit, ExitKind, Takeover};

use crate::script::{START, STARTED, ada};
use crate::world::created;

#[test]
fn what_a_kill_was_to_end_ends_though_its_program_has() {
    let exit = Exit { kind: ExitKind::Code(0), forced: false, survivors: vec![], drain: None };
    let kill = Event::Kill { deadline_at: 9, t0_boot_ms: 1, grace_ms: 4, signal: None, by: None };
    let history = [START, STARTED, kill, Event::Exited { exit }];
    let mut facts = Facts::new(created(Some(ada()), Takeover::Allow));
    let mut ends = vec![(left_ends(&facts, false), left_ends(&facts, true))];
    for (number, event) in (1..).zip(&history) {
        facts.apply(EventNumber(number), 5_000, event);
        ends.push((left_ends(&facts, false), left_ends(&facts, true)));
    }
    assert_eq!(ends, [(false, false), (true, false), (true, false), (true, true), (false, false)]);
}
