//! One connection: who it is from, its hello, its frames, one after the other. What they mean is the hub's business.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use serde::Serialize;
use tokio::net::UnixListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::hub::{Hub, Msg, StreamInput};
use super::outbox::Outbox;
use super::socket::Socket;
use super::viewer::Viewer;
use crate::protocol::limits::{ATTACH_TIME, HELLO_TIME, UNANSWERED_MAX};
use crate::protocol::{
    Ack, Decoder, ErrorMessage, Frame, Hello, Refusal, Role, StreamRequest, WireError, message_frame, read_control,
    read_hello, read_stream,
};

/// Names a connection for as long as the daemon lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct ConnectionId(pub(super) u64);

/// Least free space in the receive buffer before a read.
const READ_BYTES: usize = 64 << 10;

/// How long accepting rests after the system had no descriptor left.
pub(super) const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Accepts connections until the daemon stops.
pub(super) async fn accept(listener: UnixListener, hub: Hub) {
    for number in 0.. {
        match listener.accept().await {
            Ok((socket, _)) => {
                let own = rustix::process::geteuid().as_raw();
                if !socket.peer_cred().is_ok_and(|peer| peer.uid() == own) {
                    tracing::warn!("connection of another user refused");
                    continue;
                }
                let Ok(socket) = socket.into_std().and_then(Socket::new) else { continue };
                let slot = hub.slot();
                tokio::spawn(serve(ConnectionId(number), socket, hub.clone(), slot));
            }
            Err(error) => {
                tracing::error!(%error, "cannot accept connections");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Waits until the connections that were told of the end have ended.
pub(super) async fn let_go(hub: &Hub, time: Duration) {
    let _ = tokio::time::timeout(time, hub.connections_ended()).await;
}

/// A connection's two directions.
pub(super) struct Wire {
    socket: Arc<Socket>,
    decoder: Decoder,
    pub(super) outbox: Outbox,
}

/// A frame of JSON.
pub(super) fn json_frame(message: &impl Serialize) -> Bytes {
    let mut frame = BytesMut::new();
    message_frame(message, &mut frame);
    frame.freeze()
}

impl Wire {
    /// The next frame; `None` at the end of the connection, and after a frame that breaks it (which is answered).
    async fn frame(&mut self) -> Option<Frame> {
        loop {
            match self.decoder.next_frame() {
                Ok(Some(frame)) => return Some(frame),
                Ok(None) => {}
                Err(error) => {
                    self.send(&tagged(ErrorMessage { id: None, error }));
                    return None;
                }
            }
            let buffer = self.decoder.buffer();
            buffer.reserve(READ_BYTES);
            match self.socket.read(buffer).await {
                Ok(0) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    pub(super) fn send(&self, message: &impl Serialize) {
        self.outbox.push(&[json_frame(message)]);
    }

    /// Answers what was not understood. False if the connection ends with it.
    fn refuse(&self, refusal: Refusal) -> bool {
        self.send(&tagged(refusal.answer));
        !refusal.closes
    }
}

/// An error as a message of either kind of connection.
pub(super) fn tagged(error: ErrorMessage) -> impl Serialize {
    crate::protocol::StreamMessage::Error(error)
}

async fn serve(id: ConnectionId, socket: Socket, hub: Hub, slot: Option<OwnedSemaphorePermit>) {
    let socket = Arc::new(socket);
    let outbox = Outbox::new(Arc::clone(&socket), hub.limits().outbox);
    let writer = tokio::spawn(outbox.clone().run());
    let mut wire = Wire { socket, decoder: Decoder::default(), outbox: outbox.clone() };
    if slot.is_none() {
        wire.send(&tagged(ErrorMessage { id: None, error: WireError::clients_limit() }));
    } else if let Some(hello) = greet(&mut wire).await {
        let role = hello.role;
        let (reply, answer) = oneshot::channel();
        hub.tell(Msg::Hello { connection: id, hello, outbox: outbox.clone(), reply }).await;
        match answer.await {
            Ok(Ok(welcome)) => {
                wire.outbox.push(&[welcome]);
                match role {
                    Role::Control => control(id, &mut wire, &hub).await,
                    Role::Stream => stream(id, &mut wire, &hub).await,
                }
            }
            Ok(Err(error)) => wire.send(&tagged(ErrorMessage { id: None, error })),
            Err(_) => {}
        }
        hub.tell(Msg::Closed(id)).await;
    }
    outbox.close();
    let _ = writer.await;
}

/// The hello, or nothing after the reason was told.
async fn greet(wire: &mut Wire) -> Option<Hello> {
    let text = match tokio::time::timeout(HELLO_TIME, wire.frame()).await {
        Ok(Some(Frame::Message(text))) => text,
        // Whatever else came, it was no hello; the empty text is refused as such.
        Ok(Some(_)) | Err(_) => Bytes::new(),
        Ok(None) => return None,
    };
    match read_hello(&text) {
        Ok(hello) => Some(hello),
        Err(refusal) => {
            wire.refuse(refusal);
            None
        }
    }
}

async fn control(id: ConnectionId, wire: &mut Wire, hub: &Hub) {
    let unanswered = Arc::new(Semaphore::new(UNANSWERED_MAX));
    loop {
        let Ok(permit) = Arc::clone(&unanswered).acquire_owned().await else { return };
        let Some(frame) = wire.frame().await else { return };
        let Frame::Message(text) = frame else {
            wire.refuse(Refusal::wrong_connection(None, Role::Control, "a frame of bytes"));
            continue;
        };
        match read_control(&text) {
            Ok((request_id, request)) => {
                hub.tell(Msg::Request { connection: id, id: request_id, request, permit }).await;
            }
            Err(refusal) => {
                if !wire.refuse(refusal) {
                    return;
                }
            }
        }
    }
}

async fn stream(id: ConnectionId, wire: &mut Wire, hub: &Hub) {
    let Ok(Some((stream, viewer))) = tokio::time::timeout(ATTACH_TIME, attach(id, wire, hub)).await else {
        return;
    };
    let acks = viewer.acks.clone();
    let viewer = tokio::spawn(viewer.run());
    while let Some(frame) = wire.frame().await {
        let input = match frame {
            Frame::Input { owner_epoch, input_offset, bytes } => {
                StreamInput::Bytes { epoch: owner_epoch, offset: input_offset, bytes }
            }
            Frame::Message(text) => match read_stream(&text) {
                Ok(StreamRequest::Resize(size)) => StreamInput::Resize(size),
                // Nobody but the stream itself needs to know.
                Ok(StreamRequest::Ack(Ack { offset })) => {
                    acks.send_replace(offset);
                    continue;
                }
                Ok(StreamRequest::InputState) => StreamInput::InputState,
                Ok(StreamRequest::Detach) => StreamInput::Detach,
                Ok(StreamRequest::Attach(request_id, _)) => {
                    let error = WireError::bad_request("type", "may be attach only once");
                    wire.send(&tagged(ErrorMessage { id: Some(request_id), error }));
                    continue;
                }
                Err(refusal) => {
                    if wire.refuse(refusal) {
                        continue;
                    }
                    break;
                }
            },
            Frame::Output { .. } | Frame::Snapshot { .. } => {
                wire.refuse(Refusal::wrong_connection(None, Role::Stream, "a frame of output"));
                continue;
            }
        };
        hub.tell(Msg::FromStream(stream, input)).await;
    }
    viewer.abort();
}

/// Waits for an attach that is granted; a refused one may be repeated.
async fn attach(id: ConnectionId, wire: &mut Wire, hub: &Hub) -> Option<(crate::session::StreamId, Viewer)> {
    loop {
        let Frame::Message(text) = wire.frame().await? else {
            wire.refuse(Refusal::wrong_connection(None, Role::Stream, "a frame of bytes before the attach"));
            continue;
        };
        match read_stream(&text) {
            Ok(StreamRequest::Attach(request_id, attach)) => {
                let (reply, answer) = oneshot::channel();
                hub.tell(Msg::Attach { connection: id, id: request_id.clone(), attach, reply }).await;
                match answer.await.ok()? {
                    Ok(granted) => return Some(granted),
                    Err(error) => wire.send(&tagged(ErrorMessage { id: Some(request_id), error })),
                }
            }
            Ok(_) => {
                wire.refuse(Refusal::wrong_connection(None, Role::Stream, "this message before the attach"));
            }
            Err(refusal) => {
                if !wire.refuse(refusal) {
                    return None;
                }
            }
        }
    }
}
