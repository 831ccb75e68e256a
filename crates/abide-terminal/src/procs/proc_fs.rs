//! Reading `/proc`: processes come and go while it is read, so what is not there any more is left out in silence.

use std::fs;
use std::io;
use std::path::PathBuf;

use super::{Process, ProcessId};
use crate::ids::SessionId;

/// When the process with this pid started, in clock ticks since the boot; none if there is no such process in sight.
pub fn start_time(pid: u32) -> Option<u64> {
    Some(stat(pid)?.id.start_time)
}

/// What the kernel tells of the process with this pid; none if there is no such process in sight.
pub fn process(pid: u32) -> Option<Process> {
    let mut process = stat(pid)?;
    let status = fs::read(entry(pid, "status")).ok()?;
    process.uid = real_uid(&status)?;
    Some(process)
}

/// All processes in sight, in no order.
///
/// # Errors
/// `/proc` cannot be listed. Nothing is known then, and nothing may be concluded.
pub fn table() -> io::Result<Vec<Process>> {
    let mut table = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let pid = entry?.file_name().to_str().and_then(|name| name.parse().ok());
        table.extend(pid.and_then(process));
    }
    Ok(table)
}

/// Whether the process was started with this session's `ABIDE_SESSION` in its environment. False where the
/// environment may not be read.
pub fn carries_session(pid: u32, session: SessionId) -> bool {
    let mark = format!("ABIDE_SESSION={session}");
    fs::read(entry(pid, "environ"))
        .is_ok_and(|environment| environment.split(|&byte| byte == 0).any(|variable| variable == mark.as_bytes()))
}

/// The arguments of a process, its own name first; none where they may not be read, or it has ended.
pub fn arguments(pid: u32) -> Vec<String> {
    let line = fs::read(entry(pid, "cmdline")).unwrap_or_default();
    let words = line.strip_suffix(&[0]).unwrap_or(&line).split(|&byte| byte == 0);
    words.map(|word| String::from_utf8_lossy(word).into_owned()).filter(|_| !line.is_empty()).collect()
}

/// The directory that a process is in; none where it may not be read.
pub fn current_dir(pid: u32) -> Option<PathBuf> {
    fs::read_link(entry(pid, "cwd")).ok()
}

fn entry(pid: u32, file: &str) -> PathBuf {
    PathBuf::from(format!("/proc/{pid}/{file}"))
}

fn stat(pid: u32) -> Option<Process> {
    parse_stat(&fs::read(entry(pid, "stat")).ok()?)
}

/// Reads a line of `/proc/<pid>/stat`. The user does not stand there: it is left 0.
///
/// The command's name is in parentheses and may hold any byte, spaces and parentheses too: it ends at the last one.
fn parse_stat(line: &[u8]) -> Option<Process> {
    let open = line.iter().position(|&byte| byte == b'(')?;
    let close = line.iter().rposition(|&byte| byte == b')')?;
    let pid = std::str::from_utf8(line.get(..open)?).ok()?.trim().parse().ok()?;
    let command = String::from_utf8_lossy(line.get(open + 1..close)?).into_owned();
    let rest = std::str::from_utf8(line.get(close + 1..)?).ok()?;

    // Fields are counted from 1 in the manual; the name is field 2, so that the state, field 3, is the first here.
    let mut fields = rest.split_ascii_whitespace();
    let state = fields.next()?;
    let parent = fields.next()?.parse().ok()?;
    let group = fields.next()?.parse().ok()?;
    let session = fields.next()?.parse().ok()?;
    let terminal = fields.next()?.parse().ok()?;
    let start_time = fields.nth(22 - 8)?.parse().ok()?;
    let ended = matches!(state, "Z" | "X" | "x");
    Some(Process { id: ProcessId { pid, start_time }, parent, group, session, terminal, uid: 0, ended, command })
}

/// Finds the real user in `/proc/<pid>/status`. The owner of the folder will not do: it is root for a process that
/// may not be dumped.
fn real_uid(status: &[u8]) -> Option<u32> {
    let line = status.split(|&byte| byte == b'\n').find_map(|line| line.strip_prefix(b"Uid:"))?;
    std::str::from_utf8(line).ok()?.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Read};
    use std::os::unix::process::CommandExt;
    use std::process::{Child, Command, Stdio};

    use super::*;

    #[test]
    fn a_name_with_spaces_and_parentheses_does_not_shift_the_fields() {
        let mut line = b"4711 (a) R 1 (b\xff) S 10 20 30 34816 20 4194560 1 2 3 4 5 6 7 8 20 0 1 0 ".to_vec();
        line.extend(b"987654 1000 200 18446744073709551615\n");
        let expected = Process {
            id: ProcessId { pid: 4711, start_time: 987_654 },
            parent: 10,
            group: 20,
            session: 30,
            terminal: 34_816,
            uid: 0,
            ended: false,
            command: "a) R 1 (b\u{fffd}".to_owned(),
        };
        assert_eq!(parse_stat(&line), Some(expected));
    }

    #[test]
    fn a_line_that_is_cut_anywhere_before_the_start_time_is_none() {
        let line = b"4711 (sh) S 10 20 30 34816 20 4194560 1 2 3 4 5 6 7 8 20 0 1 0 9 1000\n";
        let whole = line.len() - b"9 1000\n".len();
        for end in 0..whole {
            assert_eq!(parse_stat(&line[..end]), None, "cut at {end}");
        }
        assert!(parse_stat(&line[..=whole]).is_some());
    }

    /// A program that says when it runs and lives until its standard input ends.
    fn waiting_program(mark: Option<SessionId>) -> Child {
        let mut command = Command::new("sh");
        command.args(["-c", "echo ready; read -r _"]).process_group(0);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).env_remove("ABIDE_SESSION");
        command.envs(mark.map(|id| ("ABIDE_SESSION", id.to_string())));
        let mut child = command.spawn().expect("sh is there");
        let mut line = String::new();
        let out = child.stdout.as_mut().expect("piped");
        BufReader::new(out).read_line(&mut line).expect("it says that it runs");
        assert_eq!(line, "ready\n");
        child
    }

    #[test]
    fn a_real_process_is_found_with_its_parent_group_and_user() {
        let mut child = waiting_program(None);
        let all = table().expect("/proc is there");
        let found = all.iter().find(|process| process.id.pid == child.id()).expect("it is in the table");
        let me = process(std::process::id()).expect("this process is in sight");
        assert_eq!(found.parent, std::process::id());
        assert_eq!(found.group, child.id());
        assert_eq!((found.session, found.uid), (me.session, me.uid));
        assert_eq!(found.command, "sh");
        assert!(!found.ended);
        assert!(found.id.start_time >= me.id.start_time);
        assert_eq!(Some(found.id.start_time), start_time(child.id()));

        // Not waited for yet: it has ended once its output has, and stays in the table as such.
        drop(child.stdin.take());
        child.stdout.take().expect("piped").read_to_end(&mut Vec::new()).expect("its output ends");
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
        while !process(child.id()).expect("it is not collected yet").ended {
            assert!(std::time::Instant::now() < deadline, "an ended process is told as ended");
            std::thread::yield_now();
        }
        child.wait().expect("it can be waited for");
        assert_eq!(process(child.id()), None);
    }

    #[test]
    fn a_process_carries_the_session_that_it_was_started_in() {
        let id = SessionId::from_parts(1_760_000_000_000, 7);
        let other = SessionId::from_parts(1_760_000_000_000, 8);
        let mut marked = waiting_program(Some(id));
        let mut plain = waiting_program(None);
        assert!(carries_session(marked.id(), id));
        assert!(!carries_session(marked.id(), other));
        assert!(!carries_session(plain.id(), id));
        for child in [&mut marked, &mut plain] {
            drop(child.stdin.take());
            child.wait().expect("it can be waited for");
        }
        assert!(!carries_session(marked.id(), id), "it has ended");
    }
}
