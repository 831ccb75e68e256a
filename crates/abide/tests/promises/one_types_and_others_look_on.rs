//! A second window looks on, and takes over with Enter; the first one is told.

use abide_drive::Key;

use crate::harness::{Place, SOON};

#[test]
fn until_enter_takes_over() {
    let place = Place::new();
    let mut first = place.abide_window(&["run", "--name", "build", "--", "cat"]);
    first.type_text("from the first\r").unwrap();
    first.wait_for("from the first\nfrom the first", SOON).unwrap();

    let mut second = place.abide_window(&["attach", "build"]);
    second.wait_for("from the first", SOON).unwrap();
    second.wait_for("Enter takes over", SOON).unwrap();
    second.type_text("ignored").unwrap();
    first.type_text("still the first\r").unwrap();
    second.wait_for("still the first\nstill the first", SOON).unwrap();
    assert!(!first.screen().contains("ignored"));

    second.key(Key::Enter).unwrap();
    second.type_text("from the second\r").unwrap();
    second.wait_for("from the second\nfrom the second", SOON).unwrap();
    first.wait_for("Enter takes over", SOON).unwrap();
    first.wait_for("from the second", SOON).unwrap();
    let record = place.record("build");
    assert_eq!((record.owner_epoch.0, record.observers), (2, 1), "{record:?}");
}

#[test]
fn what_follows_the_enter_is_for_the_program() {
    let place = Place::new();
    let mut first = place.abide_window(&["run", "--name", "build", "--", "cat"]);
    first.type_text("one\r").unwrap();
    first.wait_for("one\none", SOON).unwrap();
    let mut second = place.abide_window(&["attach", "build"]);
    second.wait_for("Enter takes over", SOON).unwrap();
    second.type_text("dropped\rat once\r").unwrap();
    second.wait_for("at once\nat once", SOON).unwrap();
    assert!(!second.screen().contains("dropped"));
}

#[test]
fn an_observer_takes_nothing() {
    let place = Place::new();
    let mut owner = place.abide_window(&["run", "--name", "build", "--", "cat"]);
    owner.type_text("mine\r").unwrap();
    owner.wait_for("mine\nmine", SOON).unwrap();
    let mut observer = place.abide_window(&["attach", "--observe", "build"]);
    observer.wait_for("mine\nmine", SOON).unwrap();
    observer.key(Key::Enter).unwrap();
    observer.type_text("x\x1c").unwrap();
    observer.wait_for("detached from build", SOON).unwrap();
    let record = place.record("build");
    assert_eq!(record.owner_epoch.0, 1, "{record:?}");
    owner.type_text("still mine\r").unwrap();
    owner.wait_for("still mine\nstill mine", SOON).unwrap();
}

#[test]
fn take_does_it_at_once() {
    let place = Place::new();
    let mut first = place.abide_window(&["run", "--name", "build", "--", "cat"]);
    first.type_text("one\r").unwrap();
    first.wait_for("one\none", SOON).unwrap();
    let mut second = place.abide_window(&["attach", "--take", "build"]);
    second.wait_for("one\none", SOON).unwrap();
    second.type_text("two\r").unwrap();
    second.wait_for("two\ntwo", SOON).unwrap();
    first.wait_for("Enter takes over", SOON).unwrap();
    assert_eq!(place.record("build").owner_epoch.0, 2);
}
