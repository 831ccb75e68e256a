//! The boot that processes belong to: pids and start times mean nothing in another one.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Names one boot of the machine, or of the container: the kernel's boot id, its last 8 bytes XOR the start time of
/// process 1. As text: 32 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BootId(pub [u8; 16]);

impl BootId {
    /// The boot that this process runs in.
    ///
    /// In builds with debug assertions `ABIDE_TEST_BOOT_ID` (32 digits) stands in for it.
    pub fn read() -> std::io::Result<Self> {
        if cfg!(debug_assertions)
            && let Some(text) = std::env::var_os("ABIDE_TEST_BOOT_ID")
        {
            return text.into_string().ok().and_then(|text| Self::parse(&text)).ok_or_else(not_an_id);
        }
        let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
        let mut id = Self::parse(text.trim()).ok_or_else(not_an_id)?;
        // Unreadable where /proc hides other users' processes: then a container's restart looks like the same boot.
        let first = crate::stat::start_time(1).unwrap_or(0).to_be_bytes();
        for (byte, mix) in id.0.iter_mut().skip(8).zip(first) {
            *byte ^= mix;
        }
        Ok(id)
    }

    fn parse(text: &str) -> Option<Self> {
        let digits: String = text.chars().filter(|c| *c != '-').collect();
        let number = u128::from_str_radix(&digits, 16).ok().filter(|_| digits.len() == 32)?;
        Some(Self(number.to_be_bytes()))
    }
}

fn not_an_id() -> std::io::Error {
    std::io::Error::new(std::io::ErrorKind::InvalidData, "the boot id is not 32 hexadecimal digits")
}

impl fmt::Display for BootId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Debug for BootId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<BootId> for String {
    fn from(id: BootId) -> Self {
        id.to_string()
    }
}

impl TryFrom<String> for BootId {
    type Error = std::io::Error;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text).ok_or_else(not_an_id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_boot_id_stays_the_same_and_reads_back() {
        let id = BootId::read().unwrap();
        assert_eq!(BootId::read().unwrap(), id);
        assert_eq!(BootId::try_from(id.to_string()).unwrap(), id);
        assert!(BootId::try_from("6b1f".to_owned()).is_err());
    }
}
