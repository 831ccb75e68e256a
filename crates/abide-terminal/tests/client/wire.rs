//! A connection between a link and a model daemon: two queues of bytes, delivered a few at a time, lost when it is cut.

use std::collections::VecDeque;

use abide_terminal::DaemonEpoch;
use abide_terminal::protocol::{Decoder, Frame, HelloOk, Limits};
use abide_wire::RequestId;

use abide_sim::Rng;

#[derive(Default)]
pub(crate) struct Wire {
    pub(crate) to_daemon: VecDeque<u8>,
    pub(crate) to_client: VecDeque<u8>,
    daemon: Decoder,
    client: Decoder,
}

impl Wire {
    /// Delivers some bytes to the daemon; the frames that became whole.
    pub(crate) fn at_daemon(&mut self, random: &mut Rng) -> Vec<Frame> {
        deliver(&mut self.to_daemon, &mut self.daemon, random)
    }

    /// Delivers some bytes to the client; the frames that became whole.
    pub(crate) fn at_client(&mut self, random: &mut Rng) -> Vec<Frame> {
        deliver(&mut self.to_client, &mut self.client, random)
    }

    pub(crate) fn is_quiet(&self) -> bool {
        self.to_daemon.is_empty() && self.to_client.is_empty()
    }
}

fn deliver(queue: &mut VecDeque<u8>, decoder: &mut Decoder, random: &mut Rng) -> Vec<Frame> {
    let some = match random.below(3) {
        0 => queue.len() as u64,
        1 => random.below(40),
        _ => random.below(1_500),
    };
    let count = queue.len().min(usize::try_from(some).unwrap());
    let bytes: Vec<u8> = queue.drain(..count).collect();
    decoder.extend(&bytes);
    std::iter::from_fn(|| decoder.next_frame().unwrap()).collect()
}

pub(crate) fn hello_ok() -> HelloOk {
    HelloOk {
        id: RequestId::from_number(0),
        version: 1,
        daemon_id: "model".to_owned(),
        daemon_epoch: DaemonEpoch(1),
        boot_id: "boot".to_owned(),
        daemon_version: "0".to_owned(),
        limits: Limits::new(64),
        owned: Vec::new(),
    }
}
