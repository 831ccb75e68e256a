//! The user's terminal: raw while a session is shown in it, and put back on every way out.

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::{Mutex, Once, PoisonError};

use abide_terminal::protocol::WindowSize;
use rustix::io::Errno;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};

/// What a program may have switched on, switched off: mouse, focus, paste, keyboard protocols, scroll region, attributes,
/// character sets, a hidden cursor, its shape. None of it moves the cursor where it matters: the region is reset between
/// saving and restoring it.
const RESET: &[u8] = concat!(
    "\x1b[?9l\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1005l\x1b[?1006l\x1b[?1015l\x1b[?1016l",
    "\x1b[?1004l\x1b[?2004l\x1b[?2026l\x1b[?1l\x1b>\x1b[>4m\x1b[<99u\x1b[=0u",
    "\x1b7\x1b[?6l\x1b[r\x1b8\x1b[4l\x1b[?7h\x1b(B\x0f\x1b[m\x1b[?25h\x1b[0 q",
)
.as_bytes();

/// Comes first, since it brings back the attributes that were saved with the cursor. Each screen has keyboard flags of its own.
const LEAVE_ALTERNATE: &[u8] = b"\x1b[<99u\x1b[?1049l";
const SAVE_TITLE: &[u8] = b"\x1b[22;0t";
const RESTORE_TITLE: &[u8] = b"\x1b[23;0t";

/// What is to be put back, where a panic finds it too.
static SAVED: Mutex<Option<Saved>> = Mutex::new(None);
static HOOK: Once = Once::new();

struct Saved {
    modes: Termios,
    alternate: bool,
}

/// The terminal in raw mode. Dropping it puts everything back; so does a panic, before it says anything.
#[derive(Debug)]
pub(crate) struct RawTerminal(());

impl RawTerminal {
    /// `None` if standard input and output are not both a terminal.
    pub(crate) fn enter() -> io::Result<Option<Self>> {
        let (input, output) = (stdin(), stdout());
        if !rustix::termios::isatty(input) || !rustix::termios::isatty(output) {
            return Ok(None);
        }
        let modes = tcgetattr(input)?;
        let mut raw = modes.clone();
        raw.make_raw();
        *SAVED.lock().unwrap_or_else(PoisonError::into_inner) = Some(Saved { modes, alternate: false });
        HOOK.call_once(|| {
            let before = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |panic| {
                restore();
                before(panic);
            }));
        });
        let terminal = Self(());
        tcsetattr(input, OptionalActions::Now, &raw)?;
        write_all(SAVE_TITLE)?;
        Ok(Some(terminal))
    }
}

/// Remembers whether there is an alternate screen to leave.
pub(crate) fn set_alternate(alternate: bool) {
    if let Some(saved) = &mut *SAVED.lock().unwrap_or_else(PoisonError::into_inner) {
        saved.alternate = alternate;
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        restore();
    }
}

fn restore() {
    if let Some(saved) = SAVED.lock().unwrap_or_else(PoisonError::into_inner).take() {
        // A terminal that is gone needs nothing; one that is there gets what it can.
        if saved.alternate {
            let _ = write_all(LEAVE_ALTERNATE);
        }
        let _ = write_all(RESET);
        let _ = write_all(RESTORE_TITLE);
        let _ = tcsetattr(stdin(), OptionalActions::Now, &saved.modes);
    }
}

pub(crate) fn stdin() -> BorrowedFd<'static> {
    rustix::stdio::stdin()
}

pub(crate) fn stdout() -> BorrowedFd<'static> {
    rustix::stdio::stdout()
}

/// Writes to standard output, past all buffers.
pub(crate) fn write_all(mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match rustix::io::write(stdout(), bytes) {
            Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => wait_writable()?,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Somebody who shares our terminal made it non-blocking: wait for it like everybody who does not know.
pub(super) fn wait_writable() -> io::Result<()> {
    use rustix::event::{PollFd, PollFlags, poll};
    poll(&mut [PollFd::from_borrowed_fd(stdout(), PollFlags::OUT)], None)?;
    Ok(())
}

/// The size of the window, unknown (0) without one.
pub(crate) fn window_size() -> WindowSize {
    let size = [stdout(), stdin()].into_iter().find_map(|fd| tcgetwinsize(fd).ok());
    let within = |cells: u16| cells.min(abide_terminal::protocol::limits::SIZE_MAX);
    size.map_or(WindowSize { cols: 0, rows: 0, xpixel: 0, ypixel: 0 }, |size| WindowSize {
        cols: within(size.ws_col),
        rows: within(size.ws_row),
        xpixel: size.ws_xpixel,
        ypixel: size.ws_ypixel,
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use abide_drive::{Options, Terminal};

    use super::*;

    const SOON: Duration = Duration::from_secs(30);
    /// In the window's child: it is the one that panics.
    const CHILD: &str = "ABIDE_TEST_PANICS";

    /// Runs this test once more, alone in a window, between two looks at the terminal's settings.
    #[test]
    fn a_panic_puts_the_terminal_back_before_it_says_anything() {
        if std::env::var_os(CHILD).is_some() {
            return panics();
        }
        let test = std::env::current_exe().unwrap();
        let name = "window::terminal::tests::a_panic_puts_the_terminal_back_before_it_says_anything";
        let script = format!(
            "before=$(stty -g); {} --exact {name} --nocapture; [ \"$before\" = \"$(stty -g)\" ] && echo same settings",
            test.display()
        );
        let mut env = Options::default().env;
        env.extend([(CHILD.to_owned(), "1".to_owned()), ("RUST_BACKTRACE".to_owned(), "0".to_owned())]);
        let mut window = Terminal::spawn(&["sh", "-c", &script], &Options { env, ..Options::default() }).unwrap();
        window.wait_for("same settings", SOON).unwrap();
        let screen = window.screen();
        assert!(screen.contains("a bug in the window"), "its words are on the screen that stays: {screen}");
        assert!(!screen.contains("on the other screen"), "{screen}");
        let modes = String::from_utf8_lossy(&window.model().snapshot(0).bytes).into_owned();
        for on in ["\x1b[?1002h", "\x1b[?2004h", "\x1b[?25l"] {
            assert!(!modes.contains(on), "{on:?} is off: {modes:?}");
        }
    }

    #[expect(clippy::panic, reason = "what a panic does is the question")]
    fn panics() {
        let _terminal = RawTerminal::enter().unwrap().expect("it is in a window");
        set_alternate(true);
        write_all(b"\x1b[?1049h\x1b[?1002h\x1b[?2004h\x1b[?25lon the other screen").unwrap();
        panic!("a bug in the window");
    }
}
