//! OSC 7: where a program says it works.

/// A directory as it was written, and its path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CurrentDir {
    pub(crate) written: String,
    pub(crate) path: String,
}

impl CurrentDir {
    /// Takes `file://host/path` with `%xx` for what a URL cannot hold; none for anything else.
    pub(crate) fn parse(url: &[u8]) -> Option<Self> {
        let written = std::str::from_utf8(url).ok().filter(|url| !url.chars().any(char::is_control))?;
        let path = written.strip_prefix("file://").or_else(|| written.strip_prefix("kitty-shell-cwd://"))?;
        let (_, path) = path.split_at_checked(path.find('/')?)?;
        let path = String::from_utf8(unescaped(path.as_bytes())).ok()?;
        (!path.chars().any(char::is_control)).then(|| Self { written: written.to_owned(), path })
    }
}

fn unescaped(path: &[u8]) -> Vec<u8> {
    let digit =
        |at: usize| path.get(at).and_then(|&byte| char::from(byte).to_digit(16)).and_then(|d| u8::try_from(d).ok());
    let mut out = Vec::with_capacity(path.len());
    let mut at = 0;
    while let Some(&byte) = path.get(at) {
        if let (b'%', Some(high), Some(low)) = (byte, digit(at + 1), digit(at + 2)) {
            out.push(high << 4 | low);
            at += 3;
        } else {
            out.push(byte);
            at += 1;
        }
    }
    out
}
