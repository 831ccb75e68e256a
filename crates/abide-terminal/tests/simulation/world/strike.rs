//! How each fault strikes.

use std::path::Path;

use abide_sim::Fault as DiskFault;
use abide_terminal::{DaemonEpoch, Incarnation, recover};

use super::{Paused, World};
use crate::client::Client;
use crate::disk::STORE;
use crate::faults::Fault;
use crate::network::{End, WireId};

impl World {
    pub(super) fn fault(&mut self) {
        // Each fault strikes about as often, however many others there are.
        if self.machine.rng.index(16) >= self.faults.len() {
            return;
        }
        let fault = self.faults[self.machine.rng.index(self.faults.len())];
        self.machine.tell(|| format!("{fault:?}"));
        if self.strike(fault) {
            self.machine.tally.count(fault.name());
        }
    }

    /// Whether there was anything to strike.
    fn strike(&mut self, fault: Fault) -> bool {
        let now = self.machine.clock.tick_ms();
        match fault {
            Fault::KillDaemon => self.kill_daemon(30),
            Fault::KillDaemonAgainAndAgain => {
                self.kills_left = 3 + self.machine.rng.below(40);
                self.kill_daemon(10)
            }
            Fault::KillHolder => self.kill_holder(),
            Fault::KillBoth => self.kill_holder() && self.kill_daemon(1),
            Fault::Reboot => {
                if !self.machine.rng.one_in(3) {
                    return false;
                }
                self.reboot();
                true
            }
            Fault::PowerFailsInWrite => {
                if self.power_fails || self.daemon.is_none() {
                    return false;
                }
                self.power_fails = true;
                let calls = 1 + self.machine.rng.below(60);
                self.machine.disk.fail_after(calls, DiskFault::PowerLoss);
                true
            }
            Fault::CutConnection | Fault::StickConnection | Fault::ReadSlowly => {
                let all: Vec<_> = self.clients.iter().flat_map(Client::wires).collect();
                // Most of all where something is under way.
                let busy = |wire: &WireId| self.machine.net.unread(*wire, End::Server) > 0;
                let busy: Vec<_> = all.iter().copied().filter(busy).collect();
                let wires = if busy.is_empty() { all } else { busy };
                if wires.is_empty() {
                    return false;
                }
                let wire = wires[self.machine.rng.index(wires.len())];
                match fault {
                    Fault::CutConnection => self.machine.net.cut(wire, &mut self.machine.rng),
                    Fault::ReadSlowly => self.machine.net.slow_down(wire, now),
                    _ => {
                        let until = now + 1_000 + self.machine.rng.below(20_000);
                        self.machine.net.stick(wire, until);
                    }
                }
                true
            }
            Fault::NeverRead => {
                let which = self.machine.rng.index(self.clients.len());
                self.clients[which].rests_until = now + 1_000 + self.machine.rng.below(60_000);
                true
            }
            Fault::ClientReturns | Fault::ClientReturnsUnderItsId | Fault::TwoOfOneId => {
                self.replace_client(fault);
                true
            }
            Fault::DiskFull => {
                if self.room_at.is_some() {
                    return false;
                }
                let (free, total) = self.machine.disk.free_bytes();
                let used = total - free;
                let left = self.machine.rng.below(100_000);
                self.machine.disk.set_capacity(used + left);
                self.room_at = Some(now + 1_000 + self.machine.rng.below(20_000));
                true
            }
            Fault::SyncError => {
                if self.daemon.is_none() {
                    return false;
                }
                let calls = 1 + self.machine.rng.below(40);
                self.machine.disk.fail_after(calls, DiskFault::Error);
                true
            }
            Fault::SlowDisk => {
                self.machine.slow_disk_until = now + 100 + self.machine.rng.below(10_000);
                true
            }
            // It strikes by itself, once another program runs in the place of one that was killed.
            Fault::LateExit => false,
            Fault::PauseDaemon => self.pause_daemon(),
            Fault::SilentHolder | Fault::ForeignHolder => {
                let Some(holder) = self.some_holder() else { return false };
                let silent = now + 500 + self.machine.rng.below(15_000);
                let holder = self.machine.holders.get_mut(&holder).unwrap();
                if fault == Fault::SilentHolder {
                    holder.silent_until = silent;
                } else if self.daemon.is_none() {
                    holder.is_foreign = true;
                } else {
                    return false;
                }
                true
            }
            Fault::StrangersProbe => {
                let Some(session) = self.some_session() else { return false };
                self.machine.probe(session) != recover::Probe::None
            }
            Fault::ClockJumps => {
                let wall = self.machine.clock.wall_us();
                let jump = self.machine.rng.below(7_200_000_000);
                self.machine.clock.set_wall_us(wall + jump - 3_600_000_000);
                true
            }
            Fault::ReplaceDaemon => {
                let Some(daemon) = &mut self.daemon else { return false };
                daemon.replace();
                true
            }
            Fault::TimePasses => {
                let ms = self.machine.rng.below(15_000);
                self.machine.clock.advance_ms(ms);
                true
            }
        }
    }

    /// The exits of programs before the present ones are recorded only now, as if their holders had been held up.
    pub(super) fn late_exits(&mut self) {
        let sessions = std::mem::take(&mut self.killed);
        for session in sessions {
            match self.machine.truth.exit_of_a_former(session, self.machine.boot) {
                Some(record) if self.machine.rng.one_in(20) => {
                    self.machine.exits.insert((session, Incarnation(record.incarnation)), record);
                    self.machine.tally.count(Fault::LateExit.name());
                }
                _ => self.killed.push(session),
            }
        }
    }

    /// A holder is killed, if there is one.
    fn kill_holder(&mut self) -> bool {
        let Some(id) = self.some_holder() else { return false };
        if self.faults.contains(&Fault::LateExit) {
            self.killed.push(self.machine.holders[&id].session());
        }
        self.machine.kill_holder(id);
        true
    }

    fn kill_daemon(&mut self, effects: u64) -> bool {
        let after = self.machine.rng.below(effects);
        self.daemon.as_mut().map(|daemon| daemon.kill_after(after)).is_some()
    }

    /// Another daemon takes the place of one that stands still, for which its locks were deleted.
    fn pause_daemon(&mut self) -> bool {
        if self.paused.is_some() || self.power_fails {
            return false;
        }
        let Some(daemon) = self.daemon.take() else { return false };
        let until = self.machine.clock.tick_ms() + 1_000 + self.machine.rng.below(30_000);
        self.paused = Some(Paused { daemon, until });
        if self.machine.disk.remove(&Path::new(STORE).join("lock")).is_err() {
            // It is the disk's turn to fail.
            self.machine.disk.processes_die_keeping_faults();
        }
        self.machine.lock_is(DaemonEpoch(0));
        self.start_at = self.machine.clock.tick_ms();
        true
    }

    fn replace_client(&mut self, fault: Fault) {
        let which = self.machine.rng.index(self.clients.len());
        let id = self.clients[which].id.clone();
        if fault != Fault::TwoOfOneId {
            let past = self.clients.swap_remove(which).vanish(&mut self.machine);
            self.pasts.extend(past);
        }
        if fault == Fault::ClientReturns {
            self.add_client();
        } else if self.clients.len() < 8 {
            let client = Client::new(&mut self.machine, id);
            self.clients.push(client);
        }
        if self.clients.is_empty() {
            self.add_client();
        }
    }
}
