//! Creating a session: what can be checked before anything is recorded.

use super::sessions::{Entry, Sessions, Waiting, known_size};
use super::shared::{Unfit, now};
use crate::ids::{ByteOffset, ClientId, Incarnation, OwnerEpoch, SessionId};
use crate::names;
use crate::protocol::{Create, Created as CreatedAnswer, WireError};
use crate::record::{Record, State};
use crate::session::{Session, Size};
use crate::store::{Created, Facts};

/// The size of a terminal whose creator knows none.
pub(super) const SIZE_UNKNOWN: Size = Size { cols: 80, rows: 24, pixels: (0, 0) };

impl Sessions {
    pub(super) fn create(&mut self, client: ClientId, create: Create, waiting: Waiting) {
        if let Some(key) = &create.key
            && let Some(existing) = self.keys.get(key.as_str()).copied()
        {
            return self.answer_existing(existing, waiting);
        }
        match self.accept(client, create) {
            Ok((id, entry)) => {
                self.index(id, entry.facts());
                self.entries.insert(id, entry);
                let asker = self.asker(waiting);
                let now = now();
                let mut out = Vec::new();
                if let Some(entry) = self.entries.get_mut(&id) {
                    entry.core.create(now, asker, &mut out);
                }
                self.carry_out(id, out);
                self.publish(id);
            }
            Err(error) => self.refuse(waiting, error),
        }
    }

    /// The session that has the key, whatever became of it.
    fn answer_existing(&self, id: SessionId, waiting: Waiting) {
        if let Some(session) = self.record_of(id) {
            self.answer_now(waiting, CreatedAnswer { created: false, session });
        } else if let Some(tombstone) = self.tombstones.iter().find(|tombstone| tombstone.id == id) {
            self.refuse(waiting, WireError::gone(&id.to_string(), tombstone.removed_at));
        }
    }

    fn accept(&self, client: ClientId, create: Create) -> Result<(SessionId, Entry), WireError> {
        let options = &self.shared.options;
        if self.full {
            return Err(WireError::journal_full());
        }
        if self.living() >= options.sessions_max as usize {
            return Err(WireError::sessions_limit(options.sessions_max));
        }
        let id = SessionId::from_parts(now().wall_ms, u128::from(random()?) << 64 | u128::from(random()?));
        let name = self.name_for(create.name.as_ref().map(crate::protocol::Name::as_str))?;
        let size = known_size(create.cols, create.rows, (create.xpixel, create.ypixel)).unwrap_or(SIZE_UNKNOWN);
        let cwd = create.cwd.clone().unwrap_or_else(|| self.shared.account.home.clone());
        if !cwd.is_absolute() {
            return Err(WireError::bad_request("cwd", "must be absolute"));
        }
        let restore = create.restore.unwrap_or(options.restore);
        let shell = self.shared.shell().to_string_lossy().into_owned();
        let record = Record {
            id,
            name,
            key: create.key.as_ref().map(ToString::to_string),
            incarnation: Incarnation(1),
            state: State::Starting,
            owner: create.own.then_some(client),
            owner_epoch: OwnerEpoch(u32::from(create.own)),
            observers: 0,
            pid: None,
            command: create.command.clone().unwrap_or(shell),
            args: create.args,
            cwd,
            created_at: now().wall_ms,
            started_at: None,
            exited_at: None,
            exit: None,
            kill: None,
            detached_at: if create.own { None } else { Some(now().wall_ms) },
            cols: size.cols,
            rows: size.rows,
            base_offset: ByteOffset(0),
            end_offset: ByteOffset(0),
            last_output_at: None,
            title: None,
            current_dir: None,
            restore,
            takeover: create.takeover.unwrap_or(options.takeover),
            recovery: None,
            labels: create.labels,
        };
        let facts = Facts::new(Created {
            record,
            login: create.login.unwrap_or(create.command.is_none()),
            pixels: size.pixels,
            env: Created::stores_env(restore).then(|| create.env.clone()),
            clear_env: create.clear_env,
            retention_bytes: create.retention_bytes,
            retention_age_ms: create.retention_age_ms,
            boot_id: self.shared.boot.to_string(),
        });
        let launch = self.shared.prepare(&facts, &create.env, create.login, create.command.as_deref());
        let mut entry = Entry::new(Session::new(facts, self.shared.session_limits()));
        entry.launch = Some(launch.map_err(unfit)?);
        Ok((id, entry))
    }

    /// The name asked for, if it is free, or two words that are.
    fn name_for(&self, wanted: Option<&str>) -> Result<String, WireError> {
        if let Some(name) = wanted {
            return match self.names.get(name).and_then(|id| self.record_of(*id)) {
                Some(record) => Err(WireError::name_taken(&record)),
                None => Ok(name.to_owned()),
            };
        }
        Ok(names::draw(random()?, |name| self.names.contains_key(name)))
    }
}

pub(super) fn unfit(unfit: Unfit) -> WireError {
    match unfit {
        Unfit::Environment(error) => WireError::env(&error.to_string()),
        Unfit::Program(failure) => WireError::not_started(failure),
    }
}

fn random() -> Result<u64, WireError> {
    getrandom::u64().map_err(|_| WireError::internal("no random number could be had"))
}
