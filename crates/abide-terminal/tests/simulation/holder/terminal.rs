//! A holder's terminal: what the program prints and reads, and the way of both through the ring.

use abide_holder::core::{Room, Source};

use super::{Holder, LOOK_MS, Life};
use crate::machine::Machine;
use crate::program::{INPUT_BYTES, TERMINAL_BYTES, byte};

impl Holder {
    /// How much of the terminal's output is read.
    fn read(&self) -> u64 {
        self.output.ring().head() - self.launch.output_base
    }

    pub(super) fn program_step(&mut self, machine: &mut Machine) -> bool {
        let script = self.launch.script;
        let Life::Running(leader) = self.life else { return self.background_step(machine) };
        if self.has_closed(machine) {
            return false;
        }
        if script.reads && self.unread > 0 && machine.rng.one_in(2) {
            self.unread = 0;
            return true;
        }
        let room = (TERMINAL_BYTES + self.read()).saturating_sub(self.written);
        let left = script.prints.map_or(u64::MAX, |all| all.saturating_sub(self.written));
        if !self.eof && left > 0 && room > 0 {
            // An endless program rests once it has printed enough to show what it does.
            let tired = self.written > machine.limits.endless_bytes && script.prints.is_none();
            let bytes = if tired { 0 } else { (1 + machine.rng.below(room)).min(left) };
            self.written += bytes;
            return bytes > 0;
        }
        if script.ends && left == 0 && machine.rng.one_in(8) {
            self.ended(machine, leader, u32::from(script.status) << 8);
            return true;
        }
        false
    }

    /// Whether the program has its terminal closed. It lives on meanwhile, and prints and reads nothing.
    fn has_closed(&mut self, machine: &mut Machine) -> bool {
        let now = machine.clock.tick_ms();
        if let Some((after, ms)) = self.launch.script.closes
            && self.closed_until.is_none()
            && self.written >= after
        {
            machine.tally.count("habit: a program closes its terminal and lives");
            self.closed_until = Some(now + ms);
        }
        self.closed_until.is_some_and(|until| until > now)
    }

    /// What the program left behind prints now and then.
    fn background_step(&mut self, machine: &mut Machine) -> bool {
        let Some(left) = self.background else { return false };
        if !machine.lives(left) {
            self.background = None;
            return true;
        }
        let room = (TERMINAL_BYTES + self.read()).saturating_sub(self.written);
        if !self.eof && room > 0 && self.written < machine.limits.endless_bytes && machine.rng.one_in(4) {
            self.written += 1;
            return true;
        }
        false
    }

    pub(super) fn read_output(&mut self, machine: &mut Machine) -> bool {
        let now = machine.clock.tick_ms();
        if self.runs() && self.look_at > now {
            return false;
        }
        let moved = self.take_output(machine);
        let all = self.written == self.read();
        // Nobody has it open: that is no end while the program lives.
        if all && self.runs() && self.closed_until.is_some_and(|until| until > now) {
            self.look_at = now + LOOK_MS;
        }
        if !self.eof && all && matches!(self.life, Life::Ended(_)) && self.background.is_none() {
            self.end_output();
            return true;
        }
        moved
    }

    /// Takes what the terminal has, as far as there is room.
    pub(super) fn take_output(&mut self, machine: &mut Machine) -> bool {
        let mut moved = false;
        while !self.eof && self.written > self.read() && self.make_room(machine) {
            let (from, left) = (self.read(), usize::try_from(self.written - self.read()).unwrap());
            let (session, incarnation) = (self.launch.session, self.launch.incarnation);
            let number = machine.truth.number(session);
            let filled = self.output.ring_mut().fill(|free| -> Result<usize, ()> {
                let bytes = free.len().min(left);
                for (at, place) in (from..).zip(&mut free[..bytes]) {
                    *place = byte(number, incarnation.0, at);
                }
                Ok(bytes)
            });
            let _wake = self.output.ring().must_wake_daemon();
            machine.truth.printed(session, incarnation, self.output.ring().head());
            moved |= filled.unwrap() > 0;
        }
        moved
    }

    fn make_room(&mut self, machine: &mut Machine) -> bool {
        loop {
            match self.output.room() {
                Ok(Room::Read) => return true,
                Ok(Room::Full) => {
                    machine.tally.count("a program was blocked");
                    return false;
                }
                Ok(Room::Spill { from, position, bytes }) => {
                    let spill = &self.spill;
                    let written = self.output.ring().with_valid(from, bytes, |valid| {
                        let (mut file, at) = (spill.borrow_mut(), usize::try_from(position).unwrap());
                        let end = at + valid.len();
                        if file.len() < end {
                            file.resize(end, 0);
                        }
                        file[at..end].copy_from_slice(valid);
                        valid.len() as u64
                    });
                    self.output.spilled(written);
                    machine.tally.count("spills");
                }
                Err(_) => {
                    machine.tally.count("a daemon broke the ring's rules");
                    self.drop_link(machine);
                }
            }
        }
    }

    pub(super) fn write_input(&mut self, machine: &mut Machine) -> bool {
        if !self.runs() || self.eof {
            return false;
        }
        let room = INPUT_BYTES.saturating_sub(self.unread);
        let epoch = self.input.owner_epoch();
        let Some((source, bytes)) = self.input.due().filter(|_| room > 0) else { return false };
        let some = 1 + machine.rng.below(room);
        let bytes = bytes[..bytes.len().min(usize::try_from(some).unwrap())].to_vec();
        self.unread += bytes.len() as u64;
        self.input.wrote(source, bytes.len());
        if source == Source::Owner {
            machine.truth.applied(self.launch.session, self.launch.incarnation, epoch, &bytes);
            machine.tally.add("bytes of input", bytes.len() as u64);
            self.output.ring_mut().set_input_applied(self.input.applied());
        }
        true
    }

    pub(super) fn end_output(&mut self) {
        if !self.eof {
            self.eof = true;
            self.input.clear();
            self.output.ring_mut().set_eof();
        }
    }
}
