//! Two holders never serve one session: of those that race for a place one gets it, the others end.

use abide_holder::LaunchError;

use crate::daemon::Session;

#[test]
fn the_place_is_taken_once() {
    let session = Session::new("read a");
    let contenders = 6;
    let results: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..contenders).map(|_| scope.spawn(|| session.launch())).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let taken = results.iter().filter(|result| matches!(result, Err(LaunchError::Taken))).count();
    let made = results.iter().filter(|result| result.is_ok()).count();
    assert_eq!((made, taken), (1, contenders - 1), "{results:?}");
    let holder = session.probe().unwrap().pid;
    let left = std::fs::read_dir(&session.dir).unwrap().flatten().count();
    assert_eq!(left, 1, "the socket alone");
    assert!(matches!(session.launch(), Err(LaunchError::Taken)));
    assert_eq!(session.probe().unwrap().pid, holder);
}

#[test]
fn what_another_put_in_its_place_is_left_alone() {
    let session = Session::new("read a");
    session.launch().unwrap();
    let mut first = session.adopt(1);
    std::fs::remove_file(&session.spec.paths.socket).unwrap();
    session.launch().unwrap();
    let second = session.probe().unwrap().pid;
    first.send(&abide_holder::ToHolder::Hangup);
    assert_eq!(first.next_or_closed(), None);
    assert_eq!(session.probe().unwrap().pid, second);
}
