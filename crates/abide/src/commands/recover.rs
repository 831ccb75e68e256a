//! `abide recover`: what the last start found, and another program in the place of a lost one.

use std::io::{self, Write as _};

use abide_terminal::protocol::{GetRecoveryReport, Recover};

use super::{Outcome, printed};
use crate::args::{self, Global};
use crate::context::Context;
use crate::format::{self, Format};

pub(crate) fn recover(global: &Global, recover: args::Recover) -> Outcome {
    let mut context = Context::new(global, true)?;
    let mut out = io::stdout().lock();
    let Some(session) = recover.name else {
        let report = context.call(GetRecoveryReport {})?;
        return printed(format::report(&mut out, global.output, &report));
    };
    let name = session.to_string();
    let recovered = context.call(Recover { session, what: recover.what.map(Into::into) });
    let record = recovered.map_err(|failure| failure.about(name))?.session;
    match global.output {
        Format::Table if global.quiet => Ok(0),
        Format::Table => printed(writeln!(out, "restored {}", record.name)),
        format => printed(format::value(&mut out, format, &record)),
    }
}
