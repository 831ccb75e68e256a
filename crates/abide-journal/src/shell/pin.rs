//! Pins: whoever still needs old records says so.

use super::log::{Log, plain};
use super::shared::Inner;
use super::sync::Mutex;
use super::ticket::Ticket;
use crate::core::{Done, Extent, Request};
use crate::error::Error;
use crate::position::{Lsn, Place};
use std::sync::{Arc, PoisonError};

/// Keeps what comes behind a record from being trimmed, until it is dropped. It only moves forward.
#[derive(Debug)]
pub struct Pin {
    log: Log,
    id: u64,
    place: Mutex<Place>,
}

/// What a pin does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PinStatus {
    /// It keeps what the limits of the log would keep anyway.
    Reserved,
    /// It holds back trimming.
    Extended,
    /// It holds back more than `pin_bytes_max`: the next trim passes over it, unless it advances first.
    Unreserved,
    /// What it was to keep is gone; the log begins here.
    Lost {
        /// First record kept.
        base: Place,
    },
}

impl Pin {
    pub(super) fn take(log: &Log, lsn: Option<Lsn>, owner: &str) -> Ticket<Self> {
        let place = match Self::place(log, lsn) {
            Ok(place) => place,
            Err(Error::PositionTrimmed { base }) => {
                return Ticket::refused(Arc::clone(&log.inner), Error::PinBelowBase { base }, pinned);
            }
            Err(error) => return Ticket::refused(Arc::clone(&log.inner), error, pinned),
        };
        log.inner.ask(Request::Pin { log: log.shared.id, place, owner: owner.into() }, pinned)
    }

    /// The first place kept.
    fn place(log: &Log, lsn: Option<Lsn>) -> Result<Place, Error> {
        log.reader()?.place_of(lsn.map_or(Lsn::FIRST, Lsn::next))
    }

    /// What comes up to `lsn` is no longer needed. A place before the present one changes nothing but that the pin counts
    /// as in use. `pin_lost`, `position_ahead`.
    pub fn advance(&self, lsn: Lsn) -> Ticket<()> {
        let mine = *self.place.lock().unwrap_or_else(PoisonError::into_inner);
        let place = match Self::place(&self.log, Some(lsn)) {
            Ok(place) => place,
            Err(Error::PositionTrimmed { base }) if base.lsn > mine.lsn => {
                return Ticket::refused(Arc::clone(&self.log.inner), Error::PinLost { base }, plain);
            }
            Err(Error::PositionTrimmed { .. }) => mine,
            Err(error) => return Ticket::refused(Arc::clone(&self.log.inner), error, plain),
        };
        if place.lsn > mine.lsn {
            *self.place.lock().unwrap_or_else(PoisonError::into_inner) = place;
        }
        self.log.inner.ask(Request::AdvancePin { log: self.log.shared.id, pin: self.id, place }, plain)
    }

    /// What it does now. `log_gone`.
    pub fn status(&self) -> Result<PinStatus, Error> {
        let view = self.log.reader()?.view;
        let place = *self.place.lock().unwrap_or_else(PoisonError::into_inner);
        if view.base.lsn > place.lsn {
            return Ok(PinStatus::Lost { base: view.base });
        }
        let held = view.extents.iter().rev().take_while(|extent| extent.end_lsn() > place.lsn.get());
        let held: u64 = held.map(Extent::cost).sum();
        let limit = view.facts.options.retention.bytes_max;
        Ok(if limit == 0 || held <= limit {
            PinStatus::Reserved
        } else if held <= self.log.inner.shared.pin_bytes_max {
            PinStatus::Extended
        } else {
            PinStatus::Unreserved
        })
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        let request = Request::Unpin { log: self.log.shared.id, pin: self.id };
        drop(self.log.inner.ask(request, plain));
    }
}

#[expect(clippy::needless_pass_by_value, reason = "one signature for all answers")]
fn pinned(inner: &Arc<Inner>, done: Done) -> Result<Pin, Error> {
    match done {
        Done::Pinned { log, pin, place } => {
            let shared = inner.shared.log(log).ok_or(Error::LogGone)?;
            let log = Log { inner: Arc::clone(inner), shared };
            Ok(Pin { log, id: pin, place: Mutex::new(place) })
        }
        _ => Err(Error::Closed),
    }
}
