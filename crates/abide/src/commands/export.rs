//! `abide export`: what a session printed, as a file for other programs.

use std::fs::File;
use std::io::{self, BufWriter, Write};

use abide_terminal::client::StreamEvent;
use abide_terminal::protocol::Attach;
use abide_terminal::{Record, seam};

use super::Outcome;
use crate::args::{self, ExportFormat, Global};
use crate::context::Context;
use crate::failure::Failure;
use crate::recording::{self, Asciicast, Lines};

pub(crate) fn export(global: &Global, args: &args::Export) -> Outcome {
    let mut context = Context::new(global, true)?;
    let record = context.named_or_only(args.name.as_ref())?;
    match &args.out {
        None => write(&context, &record, args.format, &mut io::stdout().lock())?,
        Some(path) => {
            let refused = |error: io::Error| Failure::system(&path.display().to_string(), &error);
            let mut file = BufWriter::new(File::create(path).map_err(refused)?);
            write(&context, &record, args.format, &mut file)?;
            file.into_inner().map_err(|error| refused(error.into_error()))?;
        }
    }
    Ok(0)
}

fn write(context: &Context, record: &Record, format: ExportFormat, out: &mut impl Write) -> Result<(), Failure> {
    let attach = recording::range(record, record.base_offset, Some(record.end_offset));
    match format {
        ExportFormat::Raw => recording::read(context, record, attach, |event| match event {
            StreamEvent::Output { bytes, .. } => out.write_all(bytes),
            _ => Ok(()),
        }),
        ExportFormat::Text => {
            let mut lines = Lines::default();
            recording::read(context, record, attach, |event| match event {
                StreamEvent::Output { bytes, .. } => lines.write(bytes, out),
                _ => Ok(()),
            })?;
            written(lines.finish(out))
        }
        ExportFormat::AsciicastV2 => {
            let mut cast = Asciicast::new(&record.name, (record.cols, record.rows));
            let attach = Attach { times: true, ..attach };
            recording::read(context, record, attach, |event| match event {
                StreamEvent::Time(time) => {
                    cast.time(time.at);
                    Ok(())
                }
                StreamEvent::Resized(size) => cast.resized(size.cols, size.rows, out),
                StreamEvent::Output { bytes, .. } => cast.output(bytes, out),
                StreamEvent::Restored(restored) => cast.output(&seam(&restored.code, restored.at), out),
                _ => Ok(()),
            })?;
            written(cast.finish(out))
        }
    }
}

fn written(result: io::Result<()>) -> Result<(), Failure> {
    super::printed(result).map(drop)
}
