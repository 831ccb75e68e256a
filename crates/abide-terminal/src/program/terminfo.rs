//! Whether this host knows a terminal type.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Where terminal descriptions lie, if the environment names no other place.
const SYSTEM: [&str; 4] = ["/etc/terminfo", "/lib/terminfo", "/usr/share/terminfo", "/usr/lib/terminfo"];

/// Whether a program with this environment finds a description of the terminal type `term`: in `$TERMINFO`, in
/// `~/.terminfo`, in `$TERMINFO_DIRS`, or where the system keeps them.
pub fn has_terminfo(term: &OsStr, environment: &BTreeMap<OsString, OsString>) -> bool {
    let bytes = term.as_bytes();
    let Some(first) = bytes.first() else { return false };
    if bytes.contains(&b'/') || bytes.starts_with(b".") {
        return false;
    }
    let variable = |name: &str| environment.get(OsStr::new(name));
    let own = variable("TERMINFO").map(PathBuf::from);
    let home = variable("HOME").map(|home| Path::new(home).join(".terminfo"));
    let listed = variable("TERMINFO_DIRS").into_iter().flat_map(std::env::split_paths);
    let places = own.into_iter().chain(home).chain(listed).chain(SYSTEM.map(PathBuf::from));

    // In a folder named after the first letter, or, on file systems that do not tell cases apart, after its number.
    let letter = OsString::from(OsStr::from_bytes(&[*first]));
    let folders = [letter, format!("{first:x}").into()];
    places.into_iter().any(|place| folders.iter().any(|folder| place.join(folder).join(term).is_file()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_dir::TestDir;

    #[test]
    fn a_type_is_found_where_a_program_would_look() {
        let dir = TestDir::new();
        let places = ["own/a/abide-test", "home/.terminfo/61/abide-test", "listed/a/abide-test"];
        for (place, variable, value) in
            [(places[0], "TERMINFO", "own"), (places[1], "HOME", "home"), (places[2], "TERMINFO_DIRS", "listed")]
        {
            let file = dir.path().join(place);
            std::fs::create_dir_all(file.parent().expect("a folder")).expect("it is made");
            std::fs::write(&file, b"").expect("it is written");
            let at = |value: &Path| BTreeMap::from([(OsString::from(variable), value.as_os_str().to_owned())]);
            let term = OsStr::new("abide-test");
            assert!(has_terminfo(term, &at(&dir.path().join(value))), "{variable}");
            assert!(!has_terminfo(term, &at(Path::new("/nowhere"))), "{variable}");
        }
    }

    #[test]
    fn a_type_is_a_name_and_no_path() {
        let none = BTreeMap::new();
        for bad in ["", ".", "..", "../passwd", "a/b", "abide-no-such-type"] {
            assert!(!has_terminfo(OsStr::new(bad), &none), "{bad:?}");
        }
    }
}
