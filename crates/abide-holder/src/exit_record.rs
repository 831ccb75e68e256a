//! The exit file: how a program ended, for the case that its holder is gone before anybody asked.

use serde::{Deserialize, Serialize};

use crate::boot::BootId;
use crate::spec::ulid_text;

/// The version that is written.
pub const EXIT_RECORD_VERSION: u32 = 1;

/// One JSON line, written once at the exit. Readers accept fields that they do not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExitRecord {
    /// [`EXIT_RECORD_VERSION`].
    pub version: u32,
    /// The session.
    #[serde(with = "ulid_text")]
    pub session: [u8; 16],
    /// Its incarnation that ended.
    pub incarnation: u64,
    /// The boot in which it ran.
    pub boot_id: BootId,
    /// The program's pid.
    pub pid: u32,
    /// As `waitpid` gave it.
    pub wait_status: u32,
    /// Milliseconds since 1970.
    pub exited_ms: u64,
    /// End of the output that was read by then.
    pub output_head: u64,
}

impl ExitRecord {
    /// Reads an exit file's content.
    pub fn from_json(json: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(json)
    }

    /// Writes the line into `line` and returns its length; `None` if it does not fit. Allocates nothing, so that a
    /// holder can do it in the middle of anything.
    pub(crate) fn write_to(&self, line: &mut [u8]) -> Option<usize> {
        use std::io::Write as _;
        let room = line.len();
        let mut left = line;
        let mut text = [0; ulid::ULID_LEN];
        let session = ulid::Ulid::from_bytes(self.session).array_to_str(&mut text);
        writeln!(
            left,
            "{{\"version\":{},\"session\":\"{session}\",\"incarnation\":{},\"boot_id\":\"{}\",\"pid\":{},\
             \"wait_status\":{},\"exited_ms\":{},\"output_head\":{}}}",
            self.version, self.incarnation, self.boot_id, self.pid, self.wait_status, self.exited_ms, self.output_head
        )
        .ok()?;
        Some(room - left.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_reads_back() {
        let record = ExitRecord {
            version: EXIT_RECORD_VERSION,
            session: [0xff; 16],
            incarnation: u64::MAX,
            boot_id: BootId([0xff; 16]),
            pid: u32::MAX,
            wait_status: 9,
            exited_ms: u64::MAX,
            output_head: u64::MAX,
        };
        let mut line = [0; 512];
        let bytes = record.write_to(&mut line).unwrap();
        assert_eq!(ExitRecord::from_json(&line[..bytes]).unwrap(), record);
        assert!(line[..bytes].starts_with(br#"{"version":1,"session":"7ZZZZZZZZZZZZZZZZZZZZZZZZZ","incarnation":"#));
        assert_eq!(record.write_to(&mut [0; 64]), None);
    }
}
