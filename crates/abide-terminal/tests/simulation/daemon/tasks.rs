//! What takes its time: tickets of the journal, launches, processes that are ended.

use abide_journal::Error as JournalError;
use abide_terminal::store;

use super::{Daemon, Msg, Task};
use crate::disk::poll;
use crate::machine::Machine;

impl Daemon {
    /// A step of one of the things that take their time.
    pub(super) fn task_some(&mut self, machine: &mut Machine) -> bool {
        let Some(task) = self.tasks.pop_front() else { return false };
        let mut moved = true;
        match task {
            Task::Append(lsn, mut ticket) => match poll(&mut ticket) {
                None => {
                    self.tasks.push_back(Task::Append(lsn, ticket));
                    moved = false;
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => self.append_failed(machine, lsn, &error),
            },
            Task::CreateLog(id, mut ticket) => match poll(&mut ticket) {
                None => {
                    self.tasks.push_back(Task::CreateLog(id, ticket));
                    moved = false;
                }
                Some(created) => {
                    let created = match created {
                        Err(JournalError::LogExists) => self.journal.log(&store::session_log(id)),
                        created => created,
                    };
                    self.messages.push_back(Msg::LogCreated(id, created));
                }
            },
            Task::AwaitRoom(id) if self.full => {
                self.tasks.push_back(Task::AwaitRoom(id));
                moved = false;
            }
            Task::AwaitRoom(id) => self.messages.push_back(Msg::CreateLog(id)),
            Task::DropLog(id, mut ticket) => match ticket.as_mut().map(poll) {
                Some(None) => {
                    self.tasks.push_back(Task::DropLog(id, ticket));
                    moved = false;
                }
                _ => self.messages.push_back(Msg::LogDropped(id)),
            },
            Task::Launch(id, at) => moved = self.launch_step(machine, id, at),
            Task::EndLost(lost) => moved = self.end_lost_step(lost),
            Task::EndLeft(id, left, step, at, then) => moved = self.end_left_step(machine, id, left, step, at, then),
            Task::ProbeAgain(id, at) => {
                if at > machine.clock.tick_ms() {
                    self.tasks.push_back(Task::ProbeAgain(id, at));
                    moved = false;
                } else {
                    let probe = machine.probe(id);
                    self.messages.push_back(Msg::Probed(id, probe));
                }
            }
        }
        moved
    }
}
