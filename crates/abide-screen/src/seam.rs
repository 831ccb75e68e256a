//! The seam: what shows that a program was lost and another one took its place.

/// Codes that end whatever the former program had on a terminal, and say why it ended: the alternate screen, modes,
/// colours, then on a line of its own, dim, `restored after CODE, AT`.
///
/// `code` is an error code of the registry, `at` a point in time as people write it. Model and libraries draw the same.
pub fn seam(code: &str, at: &str) -> Vec<u8> {
    let printable = |text: &str| text.chars().filter(|c| !c.is_control()).collect::<String>();
    let mut out = Vec::new();
    crate::snapshot::reset(&mut out);
    out.extend_from_slice(b"\x1b[<8u\x1b[=0;1u\x1b[0 q\x1b[?25h\r\n");
    out.extend_from_slice(
        format!("\x1b[2mrestored after {}, {}\x1b[22m\r\n", printable(code), printable(at)).as_bytes(),
    );
    out
}
