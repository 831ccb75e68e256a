//! A wish that cannot be met is refused by name before anything is made, and nobody else notices.

use crate::harness::Place;

#[test]
fn a_wish_that_cannot_be_met_leaves_nothing() {
    let place = Place::new();
    place.session("there", "exec cat");
    let before = place.record("there");
    let missing = place.work().join("missing");
    let file = place.work().join("file");
    std::fs::write(&file, "").unwrap();
    let [missing, file] = [&missing, &file].map(|path| path.to_str().unwrap());
    let refused: [(&[&str], &str); 6] = [
        (&["--cwd", missing, "--", "true"], "CWD_MISSING"),
        (&["--cwd", file, "--", "true"], "CWD_NOT_DIRECTORY"),
        (&["--", "no-such-command"], "COMMAND_NOT_FOUND"),
        (&["--", file], "PERMISSION_DENIED"),
        (&["--name", "there", "--", "true"], "NAME_TAKEN"),
        (&["--name", ".bad/name", "--", "true"], ""),
    ];
    for (arguments, code) in refused {
        let output = place.run(&[&["run", "-d"], arguments].concat());
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && errors.contains(code), "{arguments:?}: {} {errors}", output.status);
    }
    let list: Vec<serde_json::Value> = serde_json::from_str(&place.ok(&["ls", "-a", "-o", "json"])).unwrap();
    assert_eq!(list.len(), 1, "{list:?}");
    assert_eq!(place.record("there"), before, "the other one is untouched");
    println!("6 wishes refused");
}
