//! `abide rename`: a name is one session's, from the request on, and after the death of the daemon.

use crate::harness::Place;

#[test]
fn and_the_old_one_is_free() {
    let place = Place::new();
    place.session("one", "sleep 1000");
    place.session("two", "sleep 1000");
    let id = place.record("one").id;
    assert_eq!(place.ok(&["rename", "one", "build"]), "renamed one to build\n");
    place.renew_daemon();
    assert_eq!(place.record("build").id, id);
    let taken = place.run(&["rename", "two", "build"]);
    assert!(String::from_utf8_lossy(&taken.stderr).contains("NAME_TAKEN"), "{taken:?}");
    assert_eq!(place.run(&["inspect", "one"]).status.code(), Some(5));
    place.session("one", "sleep 1000");
    assert_ne!(place.record("one").id, id);
    place.ok(&["rename", "build", "build"]);
}

#[test]
fn only_by_its_owner_while_there_is_one() {
    let place = Place::new();
    let mut window = place.abide_window(&["run", "--name", "build", "--", "cat"]);
    window.type_text("here\r").unwrap();
    window.wait_for("here\nhere", crate::harness::SOON).unwrap();
    let refused = place.run(&["rename", "build", "mine"]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("ROLE_FORBIDDEN"), "{refused:?}");
    assert_eq!(place.record("build").name, "build");
    place.ok(&["run", "-d", "--name", "mine", "--", "true"]);
}

#[test]
fn one_that_has_ended_may_share_its_name() {
    let place = Place::new();
    place.session("old", "true");
    place.wait_end("old");
    place.session("build", "sleep 1000");
    let (old, living) = (place.record("old").id, place.record("build").id);
    place.ok(&["rename", "old", "build"]);
    assert_eq!(place.record("build").id, living, "the one that lives comes first");
    assert_eq!(place.record(&old.to_string()).name, "build");
}
