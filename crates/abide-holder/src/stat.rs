//! A process' start time: with the pid it names the process for good within one boot.

use std::io::Write as _;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

/// Field 22 of `/proc/<pid>/stat`, in clock ticks since boot. ESRCH: there is no such process. Allocates nothing.
pub fn start_time(pid: u32) -> Result<u64, Errno> {
    let mut path = [0; 32];
    write!(path.as_mut_slice(), "/proc/{pid}/stat\0").map_err(|_| Errno::NAMETOOLONG)?;
    let path = std::ffi::CStr::from_bytes_until_nul(&path).map_err(|_| Errno::INVAL)?;
    let gone = |errno| if errno == Errno::NOENT { Errno::SRCH } else { errno };
    let file = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).map_err(gone)?;
    // The name is at most 64 bytes, and fields 3 to 22 are numbers.
    let mut text = [0; 1024];
    let bytes = rustix::io::read(&file, &mut text)?;
    parse(&text[..bytes]).ok_or(Errno::INVAL)
}

fn parse(stat: &[u8]) -> Option<u64> {
    // The name stands in parentheses and may itself hold spaces and parentheses.
    let name_end = stat.iter().rposition(|byte| *byte == b')')?;
    let field = stat.get(name_end + 2..)?.split(|byte| *byte == b' ').nth(22 - 3)?;
    std::str::from_utf8(field).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_does_not_confuse() {
        let stat = b"7 (a) b) c) S 1 7 7 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 424242 0 0";
        assert_eq!(parse(stat), Some(424_242));
        assert_eq!(parse(b"7 (sh) S 1"), None);
    }

    #[test]
    fn a_process_that_is_not_there_is_named() {
        assert!(start_time(std::process::id()).unwrap() > 0);
        assert_eq!(start_time(0x7fff_fff0), Err(Errno::SRCH));
    }
}
