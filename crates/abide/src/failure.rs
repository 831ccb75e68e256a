//! What went wrong, as one line for people, one object for programs, and an exit status.

use std::fmt::Write as _;

use abide_terminal::protocol::WireError;
use abide_wire::{Code, Retry};
use serde_json::json;

/// Exit status of `run` and `attach` for a failure of Abide itself, where the others are the program's.
pub(crate) const OWN_FAILURE: u8 = 125;

/// A failure and what it was about.
#[derive(Debug)]
pub(crate) struct Failure {
    /// The session or file that it is about.
    subject: Option<String>,
    error: WireError,
    hint: Option<String>,
    status: Option<u8>,
}

impl Failure {
    pub(crate) fn new(error: WireError) -> Self {
        Self { subject: None, error, hint: None, status: None }
    }

    /// A failure that no daemon named: the command line is wrong.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self { status: Some(2), ..Self::new(WireError::new(Code::BadRequest, message)) }
    }

    /// No such thing, or not what was waited for.
    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self { status: Some(5), ..Self::new(WireError::new(Code::SessionNotFound, message)) }
    }

    /// The time given with `--timeout` is over.
    pub(crate) fn timed_out() -> Self {
        Self::new(WireError::new(Code::DaemonUnreachable, "no answer in time"))
    }

    /// The system refused something.
    pub(crate) fn system(what: &str, error: &dyn std::fmt::Display) -> Self {
        Self { status: Some(1), ..Self::new(WireError::new(Code::Internal, format!("{what}: {error}"))) }
    }

    #[must_use]
    pub(crate) fn about(mut self, subject: impl Into<String>) -> Self {
        self.subject = Some(subject.into());
        self
    }

    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    #[must_use]
    pub(crate) fn with_status(mut self, status: u8) -> Self {
        self.status = Some(status);
        self
    }

    /// What went wrong, without the rest of the line.
    pub(crate) fn message(&self) -> &str {
        &self.error.message
    }

    pub(crate) fn code(&self) -> Code {
        self.error.code
    }

    /// The workspace's table: 1 refused, 2 usage, 3 outcome unknown, 4 no daemon or too late, 5 not there.
    pub(crate) fn status(&self) -> u8 {
        self.status.unwrap_or(match (self.error.code, self.error.retry) {
            (Code::DaemonUnreachable | Code::DaemonStopping, _) => 4,
            (Code::SessionNotFound | Code::SessionGone, _) => 5,
            (_, Retry::Resolve) => 3,
            _ => 1,
        })
    }

    /// One line: what failed, why, and what to try.
    pub(crate) fn line(&self) -> String {
        let mut line = "abide: ".to_owned();
        if let Some(subject) = &self.subject {
            let _ = write!(line, "{subject}: ");
        }
        let message = printable(&self.error.message);
        // A failure of the system or of the command line has no code that its reader could look up.
        let _ = match (self.status, self.error.code) {
            (Some(1 | 2), Code::Internal | Code::BadRequest) => write!(line, "{message}."),
            _ => write!(line, "{message} ({}).", self.error.code),
        };
        if let Some(hint) = self.hint.clone().or_else(|| self.usual_hint()) {
            let _ = write!(line, " Try: {hint}");
        }
        line
    }

    /// The same for programs.
    pub(crate) fn object(&self) -> String {
        let mut object = json!({
            "code": self.error.code,
            "message": self.error.message,
            "retry": self.error.retry,
        });
        if let Some(object) = object.as_object_mut() {
            object.extend(self.subject.iter().map(|subject| ("subject".to_owned(), json!(subject))));
            if !self.error.details.is_empty() {
                object.insert("details".to_owned(), json!(self.error.details));
            }
            let hint = self.hint.clone().or_else(|| self.usual_hint());
            object.extend(hint.map(|hint| ("hint".to_owned(), json!(hint))));
        }
        object.to_string()
    }

    fn usual_hint(&self) -> Option<String> {
        let session = self.subject.as_deref().unwrap_or("NAME");
        match self.error.code {
            Code::SessionOwned | Code::RoleForbidden => Some(format!("abide attach {session} --take")),
            Code::HolderLost | Code::HostRebooted => Some("abide recover".to_owned()),
            Code::SessionRunning => Some(format!("abide kill {session}")),
            Code::SessionNotFound => Some("abide ls -a".to_owned()),
            Code::NameTaken | Code::DaemonStopping => Some(format!("abide attach {session}")),
            Code::DaemonUnreachable => Some("abide doctor".to_owned()),
            _ => None,
        }
    }
}

impl From<WireError> for Failure {
    fn from(error: WireError) -> Self {
        Self::new(error)
    }
}

/// Text from elsewhere without control characters, so that it cannot play with the user's terminal.
pub(crate) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{FFFD}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_says_what_why_and_what_to_try() {
        let owned = WireError::new(Code::SessionOwned, "session is owned by cli-5f0c9a11");
        let failure = Failure::new(owned).about("build");
        insta::assert_snapshot!(
            failure.line(),
            @"abide: build: session is owned by cli-5f0c9a11 (SESSION_OWNED). Try: abide attach build --take"
        );
        insta::assert_snapshot!(
            failure.object(),
            @r#"{"code":"SESSION_OWNED","hint":"abide attach build --take","message":"session is owned by cli-5f0c9a11","retry":"give_up","subject":"build"}"#
        );
        insta::assert_snapshot!(Failure::usage("no session is named").line(), @"abide: no session is named.");
    }

    #[test]
    fn the_exit_status_follows_the_code() {
        for (code, status) in [
            (Code::RoleForbidden, 1),
            (Code::OutcomeUnknown, 3),
            (Code::JournalFailed, 3),
            (Code::DaemonUnreachable, 4),
            (Code::DaemonStopping, 4),
            (Code::SessionNotFound, 5),
            (Code::SessionGone, 5),
        ] {
            assert_eq!(Failure::new(WireError::new(code, "x")).status(), status, "{code}");
        }
        assert_eq!(Failure::usage("x").status(), 2);
    }

    #[test]
    fn a_message_cannot_play_with_the_terminal() {
        assert_eq!(printable("a\x1b]0;x\x07b"), "a\u{FFFD}]0;x\u{FFFD}b");
    }
}
