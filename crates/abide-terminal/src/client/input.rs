//! Input that the client has accepted and the program's terminal has not: what makes a resend exact.

use bytes::{Buf, BytesMut};

use crate::ids::{Incarnation, InputOffset, OwnerEpoch};
use crate::protocol::Former;

/// The input of one owner epoch, from the first byte that is not known to be applied.
#[derive(Debug)]
pub(super) struct Window {
    pub(super) owner_epoch: OwnerEpoch,
    incarnation: Incarnation,
    /// Every byte below it reached the program's terminal.
    applied: u64,
    /// Bytes from `applied` on.
    bytes: BytesMut,
    /// Bytes below it were sent on this connection.
    sent: u64,
    bytes_max: u64,
}

impl Window {
    pub(super) fn new(owner_epoch: OwnerEpoch, incarnation: Incarnation, applied: InputOffset, bytes_max: u64) -> Self {
        Self { owner_epoch, incarnation, applied: applied.0, bytes: BytesMut::new(), sent: applied.0, bytes_max }
    }

    pub(super) fn end(&self) -> u64 {
        self.applied + self.bytes.len() as u64
    }

    /// Whether every byte accepted was applied.
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// How many bytes may be accepted.
    pub(super) fn room(&self) -> usize {
        usize::try_from(self.bytes_max).unwrap_or(usize::MAX).saturating_sub(self.bytes.len())
    }

    /// Accepts as many bytes as there is room for; tells how many.
    pub(super) fn accept(&mut self, bytes: &[u8]) -> usize {
        let (taken, _) = bytes.split_at(bytes.len().min(self.room()));
        self.bytes.extend_from_slice(taken);
        taken.len()
    }

    /// Everything below `offset` reached the program's terminal. Old news changes nothing.
    pub(super) fn applied_to(&mut self, offset: InputOffset) {
        let to = offset.0.clamp(self.applied, self.end());
        self.bytes.advance(usize::try_from(to - self.applied).unwrap_or(self.bytes.len()));
        self.applied = to;
        self.sent = self.sent.max(to);
    }

    /// What lies from `offset` on is to be sent (again).
    pub(super) fn rewind(&mut self, offset: InputOffset) {
        self.sent = offset.0.clamp(self.applied, self.end());
    }

    /// What is to be sent now, and where it begins. It counts as sent.
    pub(super) fn take_unsent(&mut self) -> Option<(InputOffset, &[u8])> {
        let (from, end) = (self.sent, self.end());
        self.sent = end;
        let skip = usize::try_from(from - self.applied).ok()?;
        self.bytes.get(skip..).filter(|rest| !rest.is_empty()).map(|rest| (InputOffset(from), rest))
    }

    /// How much of this epoch was applied, as an `attached` of epoch `present` tells it; `None`: it cannot be told, as long
    /// as no later epoch has begun either.
    pub(super) fn final_count(
        &self,
        incarnation: Incarnation,
        present: OwnerEpoch,
        former: Option<Former>,
    ) -> Option<InputOffset> {
        let over = incarnation == self.incarnation && present > self.owner_epoch;
        let former = former.filter(|_| over)?;
        match former.owner_epoch.cmp(&self.owner_epoch) {
            // The last epoch that wrote is an older one: this one wrote nothing.
            std::cmp::Ordering::Less => Some(InputOffset(self.applied)),
            std::cmp::Ordering::Equal => Some(former.input_applied),
            std::cmp::Ordering::Greater => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window() -> Window {
        Window::new(OwnerEpoch(3), Incarnation(1), InputOffset(10), 8)
    }

    #[test]
    fn what_is_not_applied_is_kept_and_sent_again_from_where_it_is_asked_for() {
        let mut window = window();
        assert_eq!(window.accept(b"abcdefghij"), 8);
        assert_eq!(window.take_unsent(), Some((InputOffset(10), &b"abcdefgh"[..])));
        assert_eq!(window.take_unsent(), None);
        window.applied_to(InputOffset(13));
        assert_eq!((window.room(), window.accept(b"ijkl")), (3, 3));
        assert_eq!(window.take_unsent(), Some((InputOffset(18), &b"ijk"[..])));
        window.rewind(InputOffset(15));
        assert_eq!(window.take_unsent(), Some((InputOffset(15), &b"fghijk"[..])));
        window.applied_to(InputOffset(12));
        window.rewind(InputOffset(0));
        assert_eq!(window.take_unsent(), Some((InputOffset(13), &b"defghijk"[..])), "never below what was applied");
        window.applied_to(InputOffset(u64::MAX));
        assert_eq!(window.end(), 21);
    }

    #[test]
    fn a_former_epoch_is_counted_where_it_can_be() {
        let told =
            |epoch, applied| Some(Former { owner_epoch: OwnerEpoch(epoch), input_applied: InputOffset(applied) });
        let window = window();
        let count =
            |incarnation, present, former| window.final_count(Incarnation(incarnation), OwnerEpoch(present), former);
        assert_eq!(count(1, 5, told(3, 12)), Some(InputOffset(12)));
        assert_eq!(count(1, 5, told(2, 99)), Some(InputOffset(10)), "it wrote nothing more");
        assert_eq!(count(1, 5, told(4, 1)), None, "a later owner has typed");
        assert_eq!(count(2, 5, told(3, 12)), None, "another program");
        assert_eq!(count(1, 5, None), None);
        assert_eq!(count(1, 3, told(2, 99)), None, "it is the present one, and has written since");
    }
}
