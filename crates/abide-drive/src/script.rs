//! Scripts: what a person would do at windows, one step a line.
//!
//! | step | effect |
//! | --- | --- |
//! | `# …`, an empty line | nothing |
//! | `within SECONDS` | deadline of each later wait (10) |
//! | `size COLSxROWS`, `in DIR`, `env NAME=VALUE` | for windows opened later |
//! | `window NAME` | later steps are for the window of this name |
//! | `spawn COMMAND` | opens the window with `sh -c "exec COMMAND"` |
//! | `type TEXT` | types it; `\r`, `\n`, `\t`, `\e` and `\\` as usual |
//! | `key NAME …` | presses keys: `enter`, `up`, `f5`, `ctrl-c`, `alt-x` … |
//! | `wait TEXT`, `gone TEXT` | waits until it is, or is not, on the screen |
//! | `end` | waits for the program's end, which must be a success; `end CODE`: with this exit status |
//! | `resize COLSxROWS` | changes the window's size |
//! | `screen` | prints the screen |
//! | `record FILE` | writes all output so far, and the sizes, to a file |
//! | `run COMMAND` | runs a shell command outside of any window and prints its output; it must succeed |
//! | `close`, `kill` | hangs up; kills the program |

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, bail, ensure};

use abide_screen::Size;

use crate::terminal::{Options, Terminal};

/// A step that failed.
#[derive(Debug, thiserror::Error)]
#[error("line {line}: {step}")]
pub struct Broken {
    /// Its line, from 1.
    pub line: usize,
    /// The step.
    pub step: String,
    /// Why.
    #[source]
    pub why: anyhow::Error,
}

struct Stage<'a> {
    options: Options,
    within: Duration,
    windows: BTreeMap<String, Terminal>,
    window: String,
    out: &'a mut dyn Write,
}

/// Runs `script` and prints to `out`. What still runs at its end is killed.
pub fn run(script: &str, out: &mut dyn Write) -> Result<(), Broken> {
    let mut stage = Stage {
        options: Options::default(),
        within: Duration::from_secs(10),
        windows: BTreeMap::new(),
        window: String::new(),
        out,
    };
    for (at, step) in script.lines().enumerate() {
        if step.trim().is_empty() || step.starts_with('#') {
            continue;
        }
        stage.step(step).map_err(|why| Broken { line: at + 1, step: step.to_owned(), why })?;
    }
    Ok(())
}

impl Stage<'_> {
    fn step(&mut self, step: &str) -> anyhow::Result<()> {
        let (verb, rest) = step.split_once(' ').unwrap_or((step, ""));
        match verb {
            "within" => self.within = Duration::from_secs(rest.trim().parse()?),
            "size" => self.options.size = size(rest)?,
            "in" => self.options.cwd = Some(PathBuf::from(rest)),
            "env" => {
                let (name, value) = rest.split_once('=').context("an equals sign is missing")?;
                self.options.env.push((name.to_owned(), value.to_owned()));
            }
            "window" => rest.clone_into(&mut self.window),
            "spawn" => {
                let terminal = Terminal::spawn(&["sh", "-c", &format!("exec {rest}")], &self.options)?;
                self.windows.insert(self.window.clone(), terminal);
            }
            "run" => self.run_outside(rest)?,
            "screen" => {
                let screen = self.terminal()?.screen();
                self.out.write_all(screen.as_bytes())?;
            }
            _ => self.step_in_window(verb, rest)?,
        }
        Ok(())
    }

    fn step_in_window(&mut self, verb: &str, rest: &str) -> anyhow::Result<()> {
        let within = self.within;
        let terminal = self.terminal()?;
        match verb {
            "type" => terminal.type_text(&unescaped(rest))?,
            "key" => {
                for name in rest.split_whitespace() {
                    terminal.key(name.parse()?)?;
                }
            }
            "wait" => terminal.wait_for(rest, within)?,
            "gone" => terminal.wait_gone(rest, within)?,
            "end" => {
                let code = if rest.is_empty() { 0 } else { rest.parse()? };
                let status = terminal.wait_end(within)?;
                ensure!(status.code() == Some(code), "the program ended with {status}");
            }
            "resize" => terminal.resize(size(rest)?)?,
            "record" => std::fs::write(rest, terminal.recording())?,
            "close" => terminal.close(),
            "kill" => terminal.kill()?,
            _ => bail!("there is no such step"),
        }
        Ok(())
    }

    fn terminal(&mut self) -> anyhow::Result<&mut Terminal> {
        self.windows.get_mut(&self.window).context("nothing was spawned in this window")
    }

    fn run_outside(&mut self, command: &str) -> anyhow::Result<()> {
        let mut shell = Command::new("sh");
        shell.args(["-c", command]).envs(self.options.env.iter().map(|(name, value)| (name, value)));
        if let Some(cwd) = &self.options.cwd {
            shell.current_dir(cwd);
        }
        let output = shell.output()?;
        self.out.write_all(&output.stdout)?;
        self.out.write_all(&output.stderr)?;
        ensure!(output.status.success(), "it ended with {}", output.status);
        Ok(())
    }
}

fn size(text: &str) -> anyhow::Result<Size> {
    let (cols, rows) = text.trim().split_once('x').context("a size is COLSxROWS")?;
    Ok(Size { cols: cols.parse()?, rows: rows.parse()? })
}

fn unescaped(text: &str) -> String {
    let mut out = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some('r') => out.push('\r'),
                Some('n') => out.push('\n'),
                Some('t') => out.push('\t'),
                Some('e') => out.push('\x1b'),
                Some(other) => out.push(other),
                None => out.push('\\'),
            },
            c => out.push(c),
        }
    }
    out
}
