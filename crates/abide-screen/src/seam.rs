//! The seam: what shows that a program was lost and another one took its place.

use crate::modes::KeyboardFlags;
use crate::snapshot::plain;

/// Cancels what is unfinished and leaves the alternate screen; saved first, the cursor of the main screen stays where
/// it is, and that of the alternate one gives way to what the program had saved when it went there. Then come margins
/// and origin mode, whose reset moves the cursor: a soft reset does not, and where it is unknown, saving helps again.
const LEAVE: &[u8] = b"\x18\x1b\\\x1b[?2026l\x1b7\x1b[?1049l\x1b[!p\x1b7\x1b[r\x1b[?6l\x1b8";

/// Codes that end whatever the former program had on a terminal, and say why it ended: they leave the alternate screen,
/// reset modes and colours, erase what is below the cursor, and draw a line of its own, dim:
/// `restored after CODE, AT`.
///
/// `code` is an error code of the registry, `at` a point in time as people write it. Model and libraries draw the same.
pub fn seam(code: &str, at: &str) -> Vec<u8> {
    let printable = |text: &str| text.chars().filter(|c| !c.is_control()).collect::<String>();
    let mut out = LEAVE.to_vec();
    plain(&mut out);
    KeyboardFlags::default().write(&mut out);
    let line = format!("restored after {}, {}", printable(code), printable(at));
    out.extend_from_slice(format!("\x1b[0 q\x1b[?25h\r\n\x1b[J\x1b[2m{line}\x1b[22m\r\n").as_bytes());
    out
}
