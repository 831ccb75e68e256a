//! Requests that look on: the text of a screen, a condition, events.

use serde::{Deserialize, Serialize};

use super::fields::{self, SessionRef};
use super::limits::FRAME_BYTES_MAX;
use crate::ids::{ByteOffset, EventNumber};
use crate::record::Exit;

/// Which lines of a screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TextOf {
    /// What a terminal shows.
    Screen,
    /// The history kept with the screen too.
    All,
}

/// Tells the text of a session's screen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Text {
    /// Which session.
    pub session: SessionRef,
    /// Which lines.
    pub what: TextOf,
    /// At most the last so many lines; absent: all.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "fields::integer")]
    pub lines: Option<u64>,
}

/// Answer to `text`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScreenText {
    /// The lines, each with its end; blanks at their ends and empty lines below the last are left out. Of a text too long
    /// for one frame, the end.
    pub text: String,
    /// The screen's columns.
    pub cols: u16,
    /// The screen's rows.
    pub rows: u16,
    /// Column and row of the cursor, from 0.
    pub cursor: (u16, u16),
    /// Whether it is the alternate screen.
    pub alternate: bool,
    /// The output that made it ends here.
    pub offset: ByteOffset,
}

/// What of an answer is not its text.
const AROUND_TEXT_BYTES: usize = 1_024;

impl ScreenText {
    /// The same with so many of its last lines as fit one frame.
    #[must_use]
    pub fn fitting(mut self) -> Self {
        let mut left = FRAME_BYTES_MAX as usize - AROUND_TEXT_BYTES;
        let mut kept = self.text.len();
        for line in self.text.split_inclusive('\n').rev() {
            // A text is always text; as JSON it is at least as long.
            let bytes = serde_json::to_string(line).map_or(usize::MAX, |json| json.len());
            if bytes > left {
                break;
            }
            left -= bytes;
            kept -= line.len();
        }
        self.text.drain(..kept);
        self
    }
}

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WaitFor {
    /// The session is Finalized.
    Exit,
    /// It prints nothing for `value` milliseconds, counted from the request on.
    IdleMs,
    /// A line of its output matches the regular expression `value`.
    Match,
}

/// What a condition is measured by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum WaitValue {
    /// Milliseconds.
    Number(u64),
    /// A regular expression, in the syntax of the crate `regex`.
    Text(String),
}

/// Waits until something holds of a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wait {
    /// Which session.
    pub session: SessionRef,
    /// What.
    pub r#for: WaitFor,
    /// Its measure: for `idle_ms` a number, for `match` an expression.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<WaitValue>,
    /// Where matching begins; absent: with what is printed from now on.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "fields::optional_offset")]
    pub from: Option<ByteOffset>,
    /// Milliseconds after which it is given up.
    #[serde(deserialize_with = "fields::milliseconds")]
    pub timeout_ms: u64,
}

/// Answer to `wait`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waited {
    /// Whether it holds; `false`: the time was over, or it cannot come to hold any more.
    pub met: bool,
    /// Output was looked at up to here: of a match the end of its line, else the end. `from` of the next wait.
    pub offset: ByteOffset,
    /// What matched.
    #[serde(rename = "match", default, skip_serializing_if = "Option::is_none")]
    pub matched: Option<String>,
    /// How the program ended, if it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit: Option<Exit>,
}

/// Asks for events, as they happen or from a number on. It takes the place of the connection's subscription before.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Subscribe {
    /// Only events of these; absent: all.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "fields::watched")]
    pub sessions: Option<Vec<SessionRef>>,
    /// The number of the last event that is known: those behind it follow. Absent: those from now on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_event: Option<EventNumber>,
}

/// Answer to `subscribe`; the events follow it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subscribed {
    /// Events behind this number follow.
    pub from: EventNumber,
    /// The newest event.
    pub head: EventNumber,
}

/// Ends the subscription of this connection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unsubscribe {}

/// Answer to `unsubscribe`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unsubscribed {
    /// The first event that was not told; absent if nothing was subscribed to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<EventNumber>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_told_from_its_end() {
        let line = "\u{1}x".repeat(5_000) + "\n";
        let whole = ScreenText {
            text: line.repeat(100) + "last\n",
            cols: 80,
            rows: 24,
            cursor: (0, 0),
            alternate: false,
            offset: ByteOffset(0),
        };
        let fitting = whole.clone().fitting();
        let bytes = serde_json::to_string(&fitting).unwrap().len();
        assert!(fitting.text.ends_with("x\nlast\n"), "its end");
        assert!((1_000_000..FRAME_BYTES_MAX as usize - 512).contains(&bytes), "{bytes}");
        assert_eq!(fitting.text.lines().next().unwrap().len() + 1, line.len(), "whole lines");
        let short = ScreenText { text: "one\n".to_owned(), ..whole };
        assert_eq!(short.clone().fitting(), short);
    }
}
