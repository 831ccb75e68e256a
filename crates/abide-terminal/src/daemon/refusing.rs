//! A daemon whose journal cannot be opened, or failed twice in a row: it answers each greeting with the reason, until it
//! starts itself anew.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;

use super::connection::{json_frame, tagged};
use crate::protocol::limits::HELLO_TIME;
use crate::protocol::{ErrorMessage, WireError};

/// Connections that are answered at a time; more wait to be accepted.
const CONNECTIONS_MAX: usize = 64;

/// Refuses everybody for this long.
pub(super) async fn refuse(listener: &UnixListener, error: &WireError, time: Duration) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let refusing = async {
        loop {
            let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
            match listener.accept().await {
                Ok((socket, _)) => {
                    let error = error.clone();
                    tokio::spawn(async move {
                        let _ = tokio::time::timeout(HELLO_TIME, answer(socket, error)).await;
                        drop(slot);
                    });
                }
                Err(error) => {
                    tracing::error!(%error, "cannot accept connections");
                    tokio::time::sleep(super::connection::ACCEPT_PAUSE).await;
                }
            }
        }
    };
    let _ = tokio::time::timeout(time, refusing).await;
}

/// Waits for the greeting, so that its sender is there to read the answer.
async fn answer(mut socket: UnixStream, error: WireError) {
    let own = rustix::process::geteuid().as_raw();
    if !socket.peer_cred().is_ok_and(|peer| peer.uid() == own) || socket.readable().await.is_err() {
        return;
    }
    let _ = socket.write_all(&json_frame(&tagged(ErrorMessage { id: None, error }))).await;
    let _ = socket.shutdown().await;
}
