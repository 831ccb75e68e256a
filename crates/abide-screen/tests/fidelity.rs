//! A snapshot makes of an empty terminal one that equals the model, now and whatever follows.

use abide_screen::{Model, Size};
use proptest::prelude::*;
use proptest::strategy::Union;

#[path = "fidelity/random.rs"]
mod random;

const HISTORY_LINES: usize = 200;

/// What happens to a terminal.
#[derive(Clone)]
pub(crate) enum Happening {
    Output(Vec<u8>),
    Resize(u16, u16),
}

impl std::fmt::Debug for Happening {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Output(bytes) => write!(f, "{}", shown(bytes)),
            Self::Resize(cols, rows) => write!(f, "<{cols}x{rows}>"),
        }
    }
}

fn model(size: Size) -> Model {
    Model::new(size, HISTORY_LINES)
}

fn rebuilt(model: &Model) -> Model {
    let mut again = self::model(model.size());
    again.feed(&model.snapshot(HISTORY_LINES).bytes).expect("the engine takes a snapshot");
    again
}

fn happen(model: &mut Model, happening: &Happening) {
    match happening {
        Happening::Output(bytes) => model.feed(bytes).expect("the engine takes output"),
        Happening::Resize(cols, rows) => model.resize(*cols, *rows).expect("the engine takes a size"),
    }
}

fn shown(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

/// Both fidelity promises at the present position: equality and the fixpoint.
fn check(model: &Model) -> Result<Model, String> {
    let again = rebuilt(model);
    let (snapshot, second) = (model.snapshot(HISTORY_LINES), again.snapshot(HISTORY_LINES));
    if let Some(difference) = model.difference(&again) {
        return Err(format!("{difference}\nsnapshot: {}", shown(&snapshot.bytes)));
    }
    if snapshot != second {
        return Err(format!("no fixpoint:\n{}\n{}", shown(&snapshot.bytes), shown(&second.bytes)));
    }
    Ok(again)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: if std::env::var_os("ABIDE_NIGHTLY").is_some() { 20_000 } else { 600 }, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_sequences_cut_anywhere((cols, rows) in (2_u16..24, 1_u16..12), happenings in prop::collection::vec(random::happening(), 1..60), cut in 0.0..1.0_f64, rest in prop::collection::vec(random::happening(), 0..12)) {
        let mut all = model(Size { cols, rows });
        for happening in &happenings {
            happen(&mut all, happening);
        }
        let mut again = match check(&all) { Ok(again) => again, Err(message) => return Err(TestCaseError::fail(message)) };
        // Cut the next output in its middle, too.
        for happening in &rest {
            if let Happening::Output(bytes) = happening {
                let at = (bytes.len() as f64 * cut) as usize;
                for part in [&bytes[..at], &bytes[at..]] {
                    for model in [&mut all, &mut again] {
                        model.feed(part).expect("the engine takes output");
                    }
                    if let Some(difference) = all.difference(&again) {
                        return Err(TestCaseError::fail(format!("{difference}\nafter {}", shown(part))));
                    }
                    again = match check(&all) { Ok(again) => again, Err(message) => return Err(TestCaseError::fail(message)) };
                }
            } else {
                happen(&mut all, happening);
                happen(&mut again, happening);
                if let Some(difference) = all.difference(&again) {
                    return Err(TestCaseError::fail(difference));
                }
            }
        }
    }
}
