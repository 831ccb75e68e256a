//! A bare connection: what it sends is exactly what a test says.

use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::net::UnixStream;

use abide_wire::{Decoder, RawFrame, encode};
use serde_json::Value;

use super::SOON;
use super::place::Place;

/// The greeting of a client of this name; `role` is `control` or `stream`.
pub(crate) fn hello(client: &str, role: &str) -> String {
    format!(
        r#"{{"type":"hello","id":"1","protocol":"abide-terminal","version":1,"client_id":"{client}","role":"{role}"}}"#
    )
}

/// A connection to the daemon of a place.
pub(crate) struct Peer {
    socket: UnixStream,
    decoder: Decoder,
    buffer: Vec<u8>,
}

/// Bytes that are read at once.
const READ_BYTES: usize = 128 << 10;

impl Peer {
    /// One that has not said anything yet.
    pub(crate) fn new(place: &Place) -> Self {
        let socket = abide_terminal::client::connect(&place.socket()).unwrap();
        socket.set_read_timeout(Some(SOON)).unwrap();
        Self { socket, decoder: Decoder::new(1 << 20), buffer: vec![0; READ_BYTES] }
    }

    /// One that was greeted back.
    #[track_caller]
    pub(crate) fn greeted(place: &Place, hello: &str) -> Self {
        let mut peer = Self::new(place);
        peer.say(hello);
        assert_eq!(peer.answer().unwrap()["type"], "hello_ok");
        peer
    }

    /// Sends a message.
    pub(crate) fn say(&mut self, json: &str) {
        self.send(1, json.as_bytes());
    }

    /// Sends a message, and takes the next one.
    #[track_caller]
    pub(crate) fn ask(&mut self, json: &str) -> Value {
        self.say(json);
        self.answer().expect("an answer comes")
    }

    /// Sends a frame.
    pub(crate) fn send(&mut self, kind: u8, payload: &[u8]) {
        let mut bytes = Vec::new();
        encode(kind, &[payload], &mut bytes);
        self.raw(&bytes);
    }

    /// Sends anything.
    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        self.socket.write_all(bytes).unwrap();
    }

    /// The socket itself.
    pub(crate) fn socket(&mut self) -> &mut UnixStream {
        &mut self.socket
    }

    /// The next message, past all frames that are none; `None` once the daemon has closed.
    #[track_caller]
    pub(crate) fn answer(&mut self) -> Option<Value> {
        loop {
            let frame = self.frame()?;
            if frame.kind == 1 {
                return Some(serde_json::from_slice(&frame.payload).unwrap());
            }
        }
    }

    /// The next message of this type.
    #[track_caller]
    pub(crate) fn next(&mut self, kind: &str) -> Value {
        loop {
            let message = self.answer().unwrap_or_else(|| panic!("the connection ended without {kind}"));
            if message["type"] == kind {
                return message;
            }
        }
    }

    /// The next frame; `None` once the daemon has closed.
    #[track_caller]
    pub(crate) fn frame(&mut self) -> Option<RawFrame> {
        loop {
            if let Some(frame) = self.decoder.next_frame().unwrap() {
                return Some(frame);
            }
            match self.socket.read(&mut self.buffer) {
                Ok(0) => return None,
                Ok(read) => self.decoder.extend(&self.buffer[..read]),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return None,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => panic!("no answer: {error}"),
            }
        }
    }
}
