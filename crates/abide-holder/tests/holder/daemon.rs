//! The daemon's side, blocking and small: what a test needs to launch a holder and talk to it.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use abide_holder::{
    Adopted, BootId, FromHolder, Header, Inherited, Paths, Pong, ProbeError, ProbeTimeouts, Spec, ToHolder,
};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::net::{SendFlags, send};

/// Nothing in these tests takes longer; a test that waits so long has failed.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// The example `hold`, which cargo builds with the tests.
pub(crate) fn hold_program() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let program = test.parent().and_then(Path::parent).unwrap().join("examples/hold");
    assert!(program.exists(), "{} is missing: `cargo build -p abide-holder --examples`", program.display());
    program
}

/// A session's place on disk, and the spec of its holder. Ends the holder when it goes.
pub(crate) struct Session {
    pub(crate) dir: PathBuf,
    pub(crate) spec: Spec,
    program: PathBuf,
}

impl Session {
    /// A session whose program is `sh -c script`.
    pub(crate) fn new(script: &str) -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("abide-holder-test-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let mut session = [0; 16];
        session[8..].copy_from_slice(&(u64::from(std::process::id()) << 32 | number).to_be_bytes());
        let inherited = Inherited::read().unwrap();
        let env = [("PATH", "/usr/bin:/bin"), ("TERM", "xterm-256color"), ("MARK", "of-this-session")];
        let spec = Spec {
            session,
            incarnation: 1,
            boot_id: BootId::read().unwrap(),
            output_base: 0,
            owner_epoch: 1,
            command: "sh".to_owned(),
            args: vec!["sh".to_owned(), "-c".to_owned(), script.to_owned()],
            env: env.map(|(name, value)| (name.to_owned(), value.to_owned())).into_iter().collect::<BTreeMap<_, _>>(),
            cwd: dir.clone(),
            cols: 80,
            rows: 24,
            ring_bytes: 65536,
            spill_bytes_max: 1 << 20,
            paths: Paths {
                socket: dir.join("holder.sock"),
                exit_file: dir.join("holder.exit"),
                spill_dir: dir.clone(),
            },
            rlimits: inherited.rlimits,
            umask: inherited.umask,
            oom_score_adj: inherited.oom_score_adj,
            cgroup: None,
        };
        Self { dir, spec, program: hold_program() }
    }

    /// Launches the holder with faults, as `ABIDE_TEST_HOLDER` has them.
    pub(crate) fn with_faults(mut self, faults: &str) -> Self {
        let wrapper = self.dir.join("hold-with-faults");
        let script = format!("#!/bin/sh\nABIDE_TEST_HOLDER={faults} exec '{}' \"$@\"\n", hold_program().display());
        // Written by another process: what other tests start meanwhile would have it open, and it could not be executed.
        let write = r#"printf %s "$1" > "$0" && chmod 700 "$0""#;
        let written = std::process::Command::new("sh").args(["-c", write]).arg(&wrapper).arg(script).status();
        assert!(written.unwrap().success());
        self.program = wrapper;
        self
    }

    pub(crate) fn launch(&self) -> Result<(), abide_holder::LaunchError> {
        abide_holder::launch(&self.program, &self.spec)
    }

    /// Launches the holder, adopts it and starts the program.
    pub(crate) fn run(&self) -> Daemon {
        self.launch().unwrap();
        let mut daemon = self.adopt(1);
        daemon.start();
        daemon
    }

    pub(crate) fn adopt(&self, daemon_epoch: u64) -> Daemon {
        Daemon::adopt(self, daemon_epoch)
    }

    pub(crate) fn probe(&self) -> Result<Pong, ProbeError> {
        abide_holder::probe(&self.spec.paths.socket, ProbeTimeouts::default())
    }

    /// Waits until the holder is gone, with all that it owns.
    pub(crate) fn wait_for_end(&self) {
        until("the holder ends", || matches!(self.probe(), Err(ProbeError::Absent | ProbeError::Stale)));
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if let Ok(stream) = abide_holder::connect(&self.spec.paths.socket) {
            let mut bytes = Vec::new();
            ToHolder::Hangup.encode(&mut bytes);
            let _gone = send(&stream, &bytes, SendFlags::NOSIGNAL);
            let _closed = wait_readable(&[&stream], Duration::from_secs(5));
        }
        let _left = std::fs::remove_dir_all(&self.dir);
    }
}

/// An adopted holder.
pub(crate) struct Daemon {
    pub(crate) stream: UnixStream,
    pub(crate) holder: Adopted,
    pub(crate) header: Header,
    /// Offset up to which output was taken and acknowledged.
    pub(crate) from: u64,
    /// All output taken so far by this daemon.
    pub(crate) output: Vec<u8>,
    received: Vec<u8>,
    page: OwnedFd,
}

impl Daemon {
    fn adopt(session: &Session, daemon_epoch: u64) -> Self {
        let mut conversation = Conversation::begin(session);
        conversation.send(&ToHolder::Adopt {
            daemon_epoch,
            session: session.spec.session,
            version: abide_holder::VERSION,
        });
        let frame = conversation.next();
        let FromHolder::Adopted(header) = frame else { panic!("adopt was answered with {frame:?}") };
        let page = conversation.fds[1].try_clone().unwrap();
        let holder = Adopted::new(header, conversation.fds, daemon_epoch).unwrap();
        let from = holder.ring().acked();
        let Conversation { stream, received, .. } = conversation;
        Self { stream, holder, header, from, output: Vec::new(), received, page }
    }

    pub(crate) fn send(&mut self, frame: &ToHolder<'_>) {
        send_frame(&self.stream, frame);
    }

    /// The next frame of the holder.
    pub(crate) fn next(&mut self) -> FromHolder {
        next_frame(&self.stream, &mut self.received, &mut Vec::new()).expect("the holder goes on")
    }

    /// The next frame, or `None` when the connection is closed.
    pub(crate) fn next_or_closed(&mut self) -> Option<FromHolder> {
        next_frame(&self.stream, &mut self.received, &mut Vec::new())
    }

    pub(crate) fn ask(&mut self, frame: &ToHolder<'_>) -> FromHolder {
        self.send(frame);
        self.next()
    }

    pub(crate) fn start(&mut self) -> (u32, u64) {
        match self.ask(&ToHolder::Start { incarnation: 1 }) {
            FromHolder::Started { pid, start_time } => (pid, start_time),
            other => panic!("start was answered with {other:?}"),
        }
    }

    /// Takes and acknowledges output until `enough` says so.
    pub(crate) fn take_until(&mut self, what: &str, mut enough: impl FnMut(&Self) -> bool) {
        let began = Instant::now();
        loop {
            let mark = self.holder.ring().mark();
            self.take();
            if enough(self) {
                return;
            }
            assert!(began.elapsed() < DEADLINE, "{what}: took {:?}", String::from_utf8_lossy(&self.output));
            if self.holder.ring().sleep(mark) {
                self.wait_woken();
            }
        }
    }

    /// Takes and acknowledges what is there.
    pub(crate) fn take(&mut self) {
        loop {
            let bytes = self.holder.read(self.from, 1 << 20, &mut self.output).unwrap();
            if bytes == 0 {
                return;
            }
            self.from += bytes as u64;
            self.holder.ack(self.from);
        }
    }

    pub(crate) fn take_text(&mut self, text: &str) {
        self.take_until(text, |daemon| daemon.text().contains(text));
    }

    /// Takes everything up to the end of output.
    pub(crate) fn take_all(&mut self) {
        self.take_until("the end of output", |daemon| daemon.header_now().eof_offset == daemon.from);
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.output).replace("\r\n", "\n")
    }

    pub(crate) fn header_now(&self) -> Header {
        self.holder.ring().header().unwrap()
    }

    pub(crate) fn input(&mut self, owner_epoch: u32, input_offset: u64, bytes: &[u8]) {
        self.send(&ToHolder::Input { owner_epoch, input_offset, bytes });
    }

    /// Waits a while for the holder's eventfd.
    pub(crate) fn wait_woken(&self) {
        wait_readable_fd(self.holder.wake_fd(), Duration::from_millis(200));
        self.holder.woken();
    }

    /// Acknowledges what was never written, as no honest daemon does.
    pub(crate) fn break_acked(&self) {
        let far = self.from + 1_000_000;
        assert_eq!(rustix::io::pwrite(&self.page, &far.to_le_bytes(), 0).unwrap(), 8);
    }

    pub(crate) fn wait_applied(&self, bytes: u64) {
        until("the input is written", || self.header_now().input_applied == bytes);
    }
}

/// A connection that has adopted nothing.
pub(crate) struct Conversation {
    pub(crate) stream: UnixStream,
    received: Vec<u8>,
    fds: Vec<OwnedFd>,
}

impl Conversation {
    pub(crate) fn begin(session: &Session) -> Self {
        let stream = abide_holder::connect(&session.spec.paths.socket).unwrap();
        Self { stream, received: Vec::new(), fds: Vec::new() }
    }

    pub(crate) fn send(&mut self, frame: &ToHolder<'_>) {
        send_frame(&self.stream, frame);
    }

    pub(crate) fn next(&mut self) -> FromHolder {
        self.next_or_closed().expect("the holder goes on")
    }

    pub(crate) fn next_or_closed(&mut self) -> Option<FromHolder> {
        next_frame(&self.stream, &mut self.received, &mut self.fds)
    }
}

fn send_frame(stream: &UnixStream, frame: &ToHolder<'_>) {
    let mut bytes = Vec::new();
    frame.encode(&mut bytes);
    let mut left = bytes.as_slice();
    while !left.is_empty() {
        match send(stream, left, SendFlags::NOSIGNAL) {
            Ok(sent) => left = &left[sent..],
            Err(rustix::io::Errno::AGAIN) => {
                let mut fds = [PollFd::new(stream, PollFlags::OUT)];
                rustix::event::poll(&mut fds, Some(&Timespec { tv_sec: 5, tv_nsec: 0 })).unwrap();
            }
            Err(error) => panic!("send: {error}"),
        }
    }
}

fn next_frame(stream: &UnixStream, received: &mut Vec<u8>, fds: &mut Vec<OwnedFd>) -> Option<FromHolder> {
    let began = Instant::now();
    loop {
        if let Some((frame, bytes)) = FromHolder::decode(received).unwrap() {
            received.drain(..bytes);
            return Some(frame);
        }
        assert!(began.elapsed() < DEADLINE, "the holder is silent");
        wait_readable(&[stream], DEADLINE);
        let mut buffer = [0; 8192];
        match abide_holder::recv_with_fds(stream, &mut buffer, fds) {
            Ok(0) => return None,
            Ok(bytes) => received.extend_from_slice(&buffer[..bytes]),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return None,
            Err(error) => panic!("receive: {error}"),
        }
    }
}

fn wait_readable(streams: &[&UnixStream], limit: Duration) -> bool {
    let mut fds: Vec<PollFd<'_>> = streams.iter().map(|stream| PollFd::new(*stream, PollFlags::IN)).collect();
    rustix::event::poll(&mut fds, Some(&Timespec::try_from(limit).unwrap())).unwrap() > 0
}

fn wait_readable_fd(fd: std::os::fd::BorrowedFd<'_>, limit: Duration) {
    let mut fds = [PollFd::from_borrowed_fd(fd, PollFlags::IN)];
    rustix::event::poll(&mut fds, Some(&Timespec::try_from(limit).unwrap())).unwrap();
}

/// Waits for what becomes true in another process and cannot be waited for otherwise.
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < DEADLINE, "{what}: not within {DEADLINE:?}");
        std::thread::yield_now();
        std::thread::park_timeout(Duration::from_millis(2));
    }
}
