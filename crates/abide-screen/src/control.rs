//! The parts of a control sequence.

use std::borrow::Cow;

/// `ESC [`, one of `<=>?`, parameters, intermediates, final byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Csi<'a> {
    pub(crate) marker: Option<u8>,
    pub(crate) params: &'a [u8],
    pub(crate) intermediates: &'a [u8],
    pub(crate) last: u8,
}

impl<'a> Csi<'a> {
    /// Takes a complete sequence in seven-bit form, without controls in it.
    pub(crate) fn parse(sequence: &'a [u8]) -> Self {
        let body = sequence.get(2..).unwrap_or_default();
        let (last, body) = body.split_last().map_or((0, body), |(last, body)| (*last, body));
        let (marker, body) = match body.split_first() {
            Some((&marker @ b'<'..=b'?', rest)) => (Some(marker), rest),
            _ => (None, body),
        };
        let params_end = body.iter().position(|byte| !(0x30..=0x3f).contains(byte)).unwrap_or(body.len());
        let (params, intermediates) = body.split_at(params_end);
        Self { marker, params, intermediates, last }
    }

    /// Parameter `at`; 0 if it is not given, or no number.
    pub(crate) fn number(&self, at: usize) -> usize {
        let param = self.params.split(|&byte| byte == b';').nth(at).unwrap_or_default();
        std::str::from_utf8(param).ok().and_then(|param| param.parse().ok()).unwrap_or(0)
    }
}

/// The seven-bit form of an escape or CSI sequence, without the controls in it and without what is no part of one: a
/// parser ignores bytes of eight bits there.
pub(crate) fn seven_bit(sequence: &[u8]) -> Cow<'_, [u8]> {
    let (c1, tail) = match sequence {
        [0xc2, second, rest @ ..] => (Some([0x1b, second - 0x40]), rest),
        [_, rest @ ..] => (None, rest),
        [] => return Cow::Borrowed(sequence),
    };
    let belongs = |byte: &u8| (0x20..0x7f).contains(byte);
    if c1.is_none() && tail.iter().all(belongs) {
        return Cow::Borrowed(sequence);
    }
    let introducer = c1.as_ref().map_or(&sequence[..1], |pair| &pair[..]);
    introducer.iter().copied().chain(tail.iter().copied().filter(belongs)).collect::<Vec<u8>>().into()
}

/// The text of an OSC, DCS or APC sequence: without introducer and terminator.
pub(crate) fn body(sequence: &[u8]) -> &[u8] {
    let body = sequence.get(2..).unwrap_or_default();
    [&b"\x1b\\"[..], &[0xc2, 0x9c], &[0x07]].iter().find_map(|end| body.strip_suffix(*end)).unwrap_or(body)
}

/// The number that an OSC's text begins with, and what follows the semicolon behind it.
pub(crate) fn osc(text: &[u8]) -> Option<(u16, &[u8])> {
    let end = text.iter().position(|&byte| byte == b';').unwrap_or(text.len());
    let number = std::str::from_utf8(&text[..end]).ok()?.parse().ok()?;
    Some((number, text.get(end + 1..).unwrap_or_default()))
}
