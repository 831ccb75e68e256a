//! Windows in which a user of a place works.

use abide_drive::{Options, Terminal};

use super::place::{ABIDE, Place};

impl Place {
    /// A window with a program in it.
    pub(crate) fn window(&self, command: &[&str]) -> Terminal {
        let mut env = Options::default().env;
        env.extend(self.env());
        let options = Options { env, cwd: Some(self.work()), ..Options::default() };
        Terminal::spawn(command, &options).unwrap()
    }

    /// A window with an `abide` command in it.
    pub(crate) fn abide_window(&self, args: &[&str]) -> Terminal {
        let command: Vec<&str> = std::iter::once(ABIDE).chain(args.iter().copied()).collect();
        self.window(&command)
    }
}
