//! Programs that a start finds in a holder and in no record: each becomes a session.

use std::collections::BTreeMap;
use std::path::PathBuf;

use abide_wire::Code;

use super::sessions::{Entry, Sessions};
use super::shared::now;
use crate::ids::{ByteOffset, OwnerEpoch, SessionId};
use crate::procs;
use crate::protocol::Detached;
use crate::record::{Record, Restore, State};
use crate::recover::Pong;
use crate::session::Session;
use crate::store::{Created, Facts};

/// Characters of its id in the name of an orphan; they are random ones.
const NAME_CHARACTERS: usize = 8;

impl Sessions {
    /// Takes in a living program of which nothing is recorded, or only an earlier one of its session.
    pub(super) fn take_in(&mut self, id: SessionId, pong: &Pong) {
        let former = self.entries.remove(&id);
        let known = former.as_ref().map(|entry| entry.facts().created.clone());
        self.release_name(id);
        let mut created = known.unwrap_or_else(|| self.nameless(id, pong));
        created.boot_id = self.shared.boot.to_string();
        let record = &mut created.record;
        record.incarnation = pong.incarnation;
        record.state = State::Starting;
        (record.pid, record.started_at, record.exited_at) = (None, None, None);
        (record.exit, record.kill, record.owner) = (None, None, None);
        record.detached_at = Some(now().wall_ms);
        if self.names.contains_key(&record.name) {
            record.name = orphan_name(id);
        }
        let facts = Facts::new(created);
        self.index(id, &facts);
        let mut entry = Entry::new(Session::new(facts, self.shared.session_limits()));
        if let Some(mut former) = former {
            (entry.log, entry.followed) = (former.log.take(), former.followed.take());
            for viewer in former.viewers.values_mut() {
                if let Some(end) = viewer.end.take() {
                    let _ = end.send(Detached::new(Code::SessionExited));
                }
            }
        }
        self.entries.insert(id, entry);
        let mut out = Vec::new();
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.core.take_in(&mut out);
        }
        self.carry_out(id, out);
        self.publish(id);
    }

    /// A session of which only the holder and the process table tell.
    fn nameless(&self, id: SessionId, pong: &Pong) -> Created {
        let mut words = procs::arguments(pong.program).into_iter();
        let command = words.next().unwrap_or_else(|| "unknown".to_owned());
        Created {
            record: Record {
                id,
                name: orphan_name(id),
                key: None,
                incarnation: pong.incarnation,
                state: State::Starting,
                owner: None,
                owner_epoch: OwnerEpoch(0),
                observers: 0,
                pid: None,
                command,
                args: words.collect(),
                cwd: procs::current_dir(pong.program).unwrap_or_else(|| PathBuf::from("/")),
                created_at: now().wall_ms,
                started_at: None,
                exited_at: None,
                exit: None,
                kill: None,
                detached_at: None,
                cols: super::create::SIZE_UNKNOWN.cols,
                rows: super::create::SIZE_UNKNOWN.rows,
                base_offset: ByteOffset(0),
                end_offset: ByteOffset(0),
                last_output_at: None,
                title: None,
                current_dir: None,
                // Its environment is not known: nothing could be started in its place.
                restore: Restore::Never,
                takeover: self.shared.options.takeover,
                recovery: None,
                labels: BTreeMap::new(),
            },
            login: false,
            pixels: (0, 0),
            env: None,
            clear_env: false,
            retention_bytes: None,
            retention_age_ms: None,
            boot_id: String::new(),
        }
    }
}

/// The name of a session whose own is not known.
pub(super) fn orphan_name(id: SessionId) -> String {
    let id = id.to_string().to_lowercase();
    format!("orphan-{}", id.get(id.len() - NAME_CHARACTERS..).unwrap_or_default())
}
