//! Marks: facts that have a place in the output, between two bytes of a session's log.

use serde::{Deserialize, Serialize};

use crate::ids::{ClientId, EventNumber, Incarnation, OwnerEpoch};
use crate::record::{Cause, Exit, RestoreAs};

/// A mark of a session log: its kind, and the event that it belongs to.
#[derive(Debug, Clone, PartialEq)]
pub struct Mark {
    /// What happened here.
    pub kind: MarkKind,
    /// The number of its event in the registry log; a hole has none.
    pub event: Option<EventNumber>,
}

/// What happened at a place in the output. The journal's tag tells the kinds apart, the payload is JSON.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum MarkKind {
    /// Tag 1: a program began.
    Started {
        /// Which start of the session this is.
        incarnation: Incarnation,
        /// The program's process id.
        pid: u32,
        /// Columns of its terminal.
        cols: u16,
        /// Rows of its terminal.
        rows: u16,
    },
    /// Tag 2: the terminal's size changed; what follows may be drawn for it.
    Resized {
        /// Columns.
        cols: u16,
        /// Rows.
        rows: u16,
    },
    /// Tag 3: another client owns the session, or nobody. Nothing that a new owner causes stands before it.
    OwnerChanged {
        /// Who owned it before.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        former: Option<ClientId>,
        /// Who owns it now.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        owner: Option<ClientId>,
        /// The epoch that begins.
        owner_epoch: OwnerEpoch,
        /// Why.
        cause: Cause,
    },
    /// Tag 4: the last byte stands before this.
    Exited {
        /// How the program ended.
        exit: Exit,
    },
    /// Tag 5: a new program follows one that was lost. The seam between the two screens is drawn from this.
    Restoring {
        /// Which start of the session begins.
        incarnation: Incarnation,
        /// What is started.
        r#as: RestoreAs,
        /// The loss.
        code: String,
    },
    /// Tag 6: output is missing here.
    Hole {
        /// Why.
        code: String,
        /// How many bytes; absent where nobody can know.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        lost_bytes: Option<u64>,
    },
}

/// A mark as it lies in the log.
#[derive(Serialize, Deserialize)]
struct Payload<K> {
    #[serde(flatten)]
    kind: K,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    event: Option<EventNumber>,
}

impl Mark {
    /// The journal's tag of this mark.
    pub fn tag(&self) -> u8 {
        match self.kind {
            MarkKind::Started { .. } => 1,
            MarkKind::Resized { .. } => 2,
            MarkKind::OwnerChanged { .. } => 3,
            MarkKind::Exited { .. } => 4,
            MarkKind::Restoring { .. } => 5,
            MarkKind::Hole { .. } => 6,
        }
    }

    /// The payload under which the mark is appended.
    pub fn payload(&self) -> serde_json::Result<Vec<u8>> {
        serde_json::to_vec(&Payload { kind: &self.kind, event: self.event })
    }

    /// Reads a mark back. `None` for a tag or a payload that this version does not know: such a mark is skipped,
    /// it never hides output.
    pub fn read(tag: u8, payload: &[u8]) -> Option<Self> {
        let Payload { kind, event } = serde_json::from_slice::<Payload<MarkKind>>(payload).ok()?;
        let mark = Self { kind, event };
        (mark.tag() == tag).then_some(mark)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_read_back_under_its_own_tag_only() {
        let kinds = [
            MarkKind::Started { incarnation: Incarnation(2), pid: 7, cols: 80, rows: 24 },
            MarkKind::Resized { cols: 100, rows: 30 },
            MarkKind::OwnerChanged { former: None, owner: None, owner_epoch: OwnerEpoch(3), cause: Cause::Lapsed },
            MarkKind::Exited {
                exit: Exit { kind: crate::ExitKind::Code(0), forced: false, survivors: vec![], drain: None },
            },
            MarkKind::Restoring { incarnation: Incarnation(3), r#as: RestoreAs::Shell, code: "HOLDER_LOST".into() },
            MarkKind::Hole { code: "HOLDER_LOST".into(), lost_bytes: Some(5) },
        ];
        for kind in kinds {
            let mark = Mark { kind, event: Some(EventNumber(9)) };
            let payload = mark.payload().unwrap();
            for tag in 0..8 {
                let read = Mark::read(tag, &payload);
                assert_eq!(read, (tag == mark.tag()).then(|| mark.clone()), "tag {tag}");
            }
        }
    }
}
