//! The rule which processes belong to a session, over a table of processes.

use std::collections::BTreeSet;

use super::{Process, ProcessId};

/// What is known of processes apart from the table: pids that the shell looked up just now.
#[derive(Debug, Clone, Copy)]
pub struct Evidence<'a> {
    /// Those in the session's cgroup; empty where it has none.
    pub in_cgroup: &'a BTreeSet<u32>,
    /// Those with this session's `ABIDE_SESSION` in their environment.
    pub marked: &'a BTreeSet<u32>,
}

impl Evidence<'_> {
    fn names(&self, process: &Process) -> bool {
        self.in_cgroup.contains(&process.id.pid) || self.marked.contains(&process.id.pid)
    }
}

/// Processes that belong to no session, whatever they look like.
#[derive(Debug, Clone, Copy)]
pub struct Guarded<'a> {
    /// This daemon; it and its ancestors are never touched.
    pub daemon: u32,
    /// All holders, of every session.
    pub holders: &'a BTreeSet<u32>,
    /// The user whose sessions these are; processes of others are not.
    pub uid: u32,
}

impl Guarded<'_> {
    /// Takes out of a table what no session may have.
    fn candidates<'t>(&self, table: &'t [Process]) -> Vec<&'t Process> {
        let mut never = self.holders.clone();
        let mut pid = self.daemon;
        // Ends at process 1, at a parent that is not visible, or where a table that changed under its reader runs in a circle.
        while pid != 0 && never.insert(pid) {
            pid = table.iter().find(|process| process.id.pid == pid).map_or(0, |process| process.parent);
        }
        let allowed = |process: &&Process| {
            process.id.pid > 1 && process.uid == self.uid && !process.ended && !never.contains(&process.id.pid)
        };
        table.iter().filter(allowed).collect()
    }
}

/// The processes of one session, over its life: what it knows grows with each look at the table.
///
/// ```text
///  leader lives ──► session id, groups, terminals, descendants: all of them prove something, and are remembered
///  leader reaped ─► its numbers may be used again: only cgroup, environment, and who was listed before count
/// ```
#[derive(Debug, Clone)]
pub struct Members {
    leader: ProcessId,
    leader_reaped: bool,
    groups: BTreeSet<u32>,
    terminals: BTreeSet<i32>,
    listed: BTreeSet<ProcessId>,
}

impl Members {
    /// Starts with the program itself. It leads its session and its group.
    pub fn new(leader: ProcessId) -> Self {
        Self {
            leader,
            leader_reaped: false,
            groups: BTreeSet::from([leader.pid]),
            terminals: BTreeSet::new(),
            listed: BTreeSet::from([leader]),
        }
    }

    /// Says that the leader's status was taken: from now on its numbers prove nothing.
    pub fn leader_reaped(&mut self) {
        self.leader_reaped = true;
    }

    /// Finds the processes of the session that have not ended, in order of their pids; the leader is one of them.
    pub fn find(&mut self, table: &[Process], guarded: &Guarded<'_>, evidence: &Evidence<'_>) -> Vec<Process> {
        let candidates: Vec<&Process> = guarded
            .candidates(table)
            .into_iter()
            .filter(|process| process.id.start_time >= self.leader.start_time)
            .collect();
        let found = if self.leader_reaped {
            self.with_lasting_evidence(&candidates, evidence)
        } else {
            self.learn(&candidates);
            self.with_descendants(&candidates, evidence)
        };
        self.listed.extend(found.iter().map(|process| process.id));
        found
    }

    /// Remembers the groups and terminals of the leader's session while its number is surely its own.
    fn learn(&mut self, candidates: &[&Process]) {
        for process in candidates.iter().filter(|process| process.session == self.leader.pid) {
            self.groups.insert(process.group);
            if process.terminal != 0 {
                self.terminals.insert(process.terminal);
            }
        }
    }

    fn with_descendants(&self, candidates: &[&Process], evidence: &Evidence<'_>) -> Vec<Process> {
        let direct = |process: &Process| {
            evidence.in_cgroup.contains(&process.id.pid)
                || process.session == self.leader.pid
                || self.groups.contains(&process.group)
                || self.terminals.contains(&process.terminal)
                || self.listed.contains(&process.id)
        };
        let mut members: BTreeSet<u32> = candidates.iter().filter(|p| direct(p)).map(|p| p.id.pid).collect();
        // A child may stand before its parent in the table: looked through again until nothing is added.
        loop {
            let children: Vec<u32> = candidates
                .iter()
                .filter(|process| members.contains(&process.parent) && !members.contains(&process.id.pid))
                .map(|process| process.id.pid)
                .collect();
            if children.is_empty() {
                break;
            }
            members.extend(children);
        }
        in_order(candidates, |process| members.contains(&process.id.pid))
    }

    fn with_lasting_evidence(&self, candidates: &[&Process], evidence: &Evidence<'_>) -> Vec<Process> {
        in_order(candidates, |process| evidence.names(process) || self.listed.contains(&process.id))
    }
}

/// Finds what is left of a program whose holder is dead and whose leader may be: only what proves by itself that it
/// is the session's. `leader` is none if the program's start was never recorded.
pub fn left_behind(
    table: &[Process],
    leader: Option<ProcessId>,
    guarded: &Guarded<'_>,
    evidence: &Evidence<'_>,
) -> Vec<Process> {
    let candidates = guarded.candidates(table);
    let leader_lives = leader.filter(|&leader| table.iter().any(|process| process.id == leader));
    let own = |process: &Process| {
        leader.is_none_or(|leader| process.id.start_time >= leader.start_time)
            && (evidence.names(process) || leader_lives.is_some_and(|leader| process.session == leader.pid))
    };
    in_order(&candidates, own)
}

fn in_order(candidates: &[&Process], is_member: impl Fn(&Process) -> bool) -> Vec<Process> {
    let mut found: Vec<Process> =
        candidates.iter().filter(|process| is_member(process)).map(|&process| process.clone()).collect();
    found.sort_by_key(|process| process.id);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const UID: u32 = 1000;
    const DAEMON: u32 = 50;
    const TTY: i32 = 34_816;

    /// A process of the user that started at `start`, alone in a session and group of its own, without a terminal.
    fn process(pid: u32, start_time: u64, parent: u32) -> Process {
        Process {
            id: ProcessId { pid, start_time },
            parent,
            group: pid,
            session: pid,
            terminal: 0,
            uid: UID,
            ended: false,
            command: "sh".to_owned(),
        }
    }

    /// The usual company: init, a login shell, the daemon, a holder, and the leader 100 of a session.
    fn machine() -> Vec<Process> {
        vec![
            Process { uid: 0, ..process(1, 1, 0) },
            process(40, 10, 1),
            process(DAEMON, 20, 40),
            process(60, 30, 1),
            Process { terminal: TTY, ..process(100, 30, 60) },
        ]
    }

    fn leader() -> ProcessId {
        ProcessId { pid: 100, start_time: 30 }
    }

    struct World {
        holders: BTreeSet<u32>,
        in_cgroup: BTreeSet<u32>,
        marked: BTreeSet<u32>,
    }

    impl World {
        fn new() -> Self {
            Self { holders: BTreeSet::from([60]), in_cgroup: BTreeSet::new(), marked: BTreeSet::new() }
        }

        fn guarded(&self) -> Guarded<'_> {
            Guarded { daemon: DAEMON, holders: &self.holders, uid: UID }
        }

        fn evidence(&self) -> Evidence<'_> {
            Evidence { in_cgroup: &self.in_cgroup, marked: &self.marked }
        }

        fn find(&self, members: &mut Members, table: &[Process]) -> Vec<u32> {
            pids(&members.find(table, &self.guarded(), &self.evidence()))
        }

        fn left(&self, table: &[Process], leader: Option<ProcessId>) -> Vec<u32> {
            pids(&left_behind(table, leader, &self.guarded(), &self.evidence()))
        }
    }

    fn pids(found: &[Process]) -> Vec<u32> {
        found.iter().map(|process| process.id.pid).collect()
    }

    #[test]
    fn a_session_has_its_jobs_their_descendants_and_whoever_holds_its_terminal() {
        let mut world = World::new();
        world.in_cgroup.insert(300);
        let mut table = machine();
        table.extend([
            // The grandchild stands before its parent, which left the session.
            process(203, 41, 202),
            Process { session: 100, terminal: TTY, ..process(201, 40, 100) },
            process(202, 40, 201),
            Process { terminal: TTY, ..process(204, 40, 1) },
            Process { group: 201, ..process(205, 40, 1) },
            Process { session: 100, ..process(206, 40, 1) },
            process(300, 40, 1),
            process(400, 40, 1),
        ]);
        let mut members = Members::new(leader());
        assert_eq!(world.find(&mut members, &table), [100, 201, 202, 203, 204, 205, 206, 300]);
    }

    #[test]
    fn others_are_never_found() {
        let mut world = World::new();
        world.in_cgroup.extend([1, 40, DAEMON, 60, 500, 501, 502]);
        let mut table = machine();
        table.extend([
            Process { uid: 0, session: 100, ..process(500, 40, 100) },
            Process { session: 100, ..process(501, 29, 100) },
            Process { session: 100, ended: true, ..process(502, 40, 100) },
        ]);
        let mut members = Members::new(leader());
        assert_eq!(world.find(&mut members, &table), [100]);
    }

    #[test]
    fn a_daemon_inside_a_session_guards_itself_and_its_ancestors() {
        let world = World::new();
        let mut table = machine();
        table.retain(|process| process.id.pid != DAEMON);
        table.extend([
            Process { session: 100, ..process(201, 40, 100) },
            Process { session: 100, ..process(DAEMON, 41, 201) },
            Process { session: 100, ..process(203, 42, 100) },
        ]);
        let mut members = Members::new(leader());
        assert_eq!(world.find(&mut members, &table), [203]);
    }

    #[test]
    fn a_reaped_leaders_numbers_prove_nothing() {
        let mut world = World::new();
        let mut members = Members::new(leader());
        let mut table = machine();
        table.push(Process { session: 100, terminal: TTY, ..process(201, 40, 100) });
        assert_eq!(world.find(&mut members, &table), [100, 201]);

        members.leader_reaped();
        table.retain(|process| process.id.pid != 100);
        // A stranger got the leader's pid, and with it session and group; another opened the same terminal.
        table.extend([process(100, 90, 40), Process { terminal: TTY, ..process(600, 91, 40) }]);
        table.extend([Process { session: 100, ..process(601, 91, 100) }, process(602, 92, 201)]);
        assert_eq!(world.find(&mut members, &table), [201], "only who was listed before");

        world.marked.insert(602);
        world.in_cgroup.insert(601);
        assert_eq!(world.find(&mut members, &table), [201, 601, 602], "and who proves it by itself");

        table.retain(|process| process.id.pid != 201);
        table.push(process(201, 95, 40));
        assert_eq!(world.find(&mut members, &table), [601, 602], "a pid that is used again was not listed");
    }

    #[test]
    fn what_left_the_session_while_the_leader_lived_stays_listed() {
        let world = World::new();
        let mut members = Members::new(leader());
        let mut table = machine();
        table.push(Process { session: 100, group: 100, ..process(201, 40, 100) });
        world.find(&mut members, &table);
        table.pop();
        table.push(process(201, 40, 1));
        assert_eq!(world.find(&mut members, &table), [100, 201]);
    }

    #[test]
    fn what_a_dead_holder_left_must_prove_itself() {
        let mut world = World::new();
        let mut table = machine();
        table.push(Process { session: 100, ..process(201, 40, 1) });
        table.push(Process { terminal: TTY, ..process(202, 40, 1) });
        assert_eq!(world.left(&table, Some(leader())), [100, 201], "the leader lives: so does its session");

        let reused = ProcessId { pid: 100, start_time: 25 };
        assert_eq!(world.left(&table, Some(reused)), [] as [u32; 0], "a pid or session id alone proves nothing");

        world.marked.extend([202, DAEMON, 60]);
        assert_eq!(world.left(&table, Some(reused)), [202]);
        assert_eq!(world.left(&table, None), [202]);
    }

    #[test]
    fn init_is_never_found_even_if_the_way_to_it_is_not_in_the_table() {
        let mut world = World::new();
        world.in_cgroup.insert(1);
        let mut table = machine();
        table.retain(|process| process.id.pid != 40);
        table[0] = process(1, 30, 0);
        assert_eq!(world.find(&mut Members::new(leader()), &table), [100]);
    }

    #[test]
    fn a_table_that_runs_in_a_circle_ends_the_search() {
        let world = World::new();
        let mut table = machine();
        table.retain(|process| process.id.pid != 40);
        table.push(process(40, 10, DAEMON));
        assert_eq!(world.find(&mut Members::new(leader()), &table), [100]);
    }
}
