//! `abide config`: what is in force, and where it comes from.

use std::io::{self, Write};

use abide_terminal::options::Setting;
use serde_json::{Value, json};

use super::{Outcome, printed};
use crate::args::{self, ConfigCommand, Global};
use crate::configuration;
use crate::format::{self, Format};

pub(crate) fn config(global: &Global, args: &args::Config) -> Outcome {
    let ConfigCommand::Show { origin } = args.command;
    let settings = configuration::load(global)?.settings();
    let out = &mut io::stdout().lock();
    let objects = || settings.iter().map(|setting| object(setting, origin));
    printed(match global.output {
        Format::Table => file(out, &settings, origin),
        Format::Json => format::value(out, Format::Json, &objects().collect::<Vec<_>>()),
        Format::Jsonl => objects().try_for_each(|object| format::value(out, Format::Jsonl, &object)),
    })
}

/// As a configuration file that says the same. What has no value stands there as a comment.
fn file(out: &mut impl Write, settings: &[Setting], origin: bool) -> io::Result<()> {
    let mut table = "";
    for setting in settings {
        let Some((of, key)) = setting.key.split_once('.') else { continue };
        if of != table {
            let space = if table.is_empty() { "" } else { "\n" };
            writeln!(out, "{space}[{of}]")?;
            table = of;
        }
        match &setting.value {
            Some(value) => write!(out, "{key} = {value}")?,
            None => write!(out, "# {key} =")?,
        }
        if origin { writeln!(out, "  # {}", setting.origin)? } else { writeln!(out)? }
    }
    Ok(())
}

fn object(setting: &Setting, origin: bool) -> Value {
    let mut object = json!({"key": setting.key, "value": setting.value, "about": setting.about.trim()});
    if let Some(object) = object.as_object_mut().filter(|_| origin) {
        object.insert("origin".to_owned(), json!(setting.origin.to_string()));
    }
    object
}
