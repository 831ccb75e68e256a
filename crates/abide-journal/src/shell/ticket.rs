//! Answers that come later.

use super::shared::Inner;
use super::sync::thread::{self, Thread};
use crate::core::Done;
use crate::entry::Durability;
use crate::error::Error;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use tokio::sync::oneshot;

/// An answer that comes when its level is reached. What was asked for takes effect whether the ticket is awaited or
/// dropped.
pub struct Ticket<T> {
    answer: Result<oneshot::Receiver<Result<Done, Error>>, Option<Error>>,
    /// The level that was asked for.
    level: Durability,
    convert: fn(&Arc<Inner>, Done) -> Result<T, Error>,
    inner: Arc<Inner>,
}

impl<T> fmt::Debug for Ticket<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticket").finish_non_exhaustive()
    }
}

impl<T> Ticket<T> {
    pub(crate) fn new(
        inner: Arc<Inner>,
        answer: oneshot::Receiver<Result<Done, Error>>,
        level: Durability,
        convert: fn(&Arc<Inner>, Done) -> Result<T, Error>,
    ) -> Self {
        Self { answer: Ok(answer), level, convert, inner }
    }

    /// A ticket that is answered already.
    pub(crate) fn refused(inner: Arc<Inner>, error: Error, convert: fn(&Arc<Inner>, Done) -> Result<T, Error>) -> Self {
        Self { answer: Err(Some(error)), level: Durability::Os, convert, inner }
    }

    /// Blocks the thread until the answer is there. Not for threads of an async runtime. In a store without threads it
    /// carries out the I/O itself; if there is none left and still no answer, the answer is [`Error::Busy`]: time must
    /// pass first.
    pub fn wait(mut self) -> Result<T, Error> {
        let parked = Arc::new(Parked(thread::current()));
        let waker = Waker::from(parked);
        let mut context = Context::from_waker(&waker);
        loop {
            if let Poll::Ready(answer) = Pin::new(&mut self).poll(&mut context) {
                return answer;
            }
            if self.inner.shared.threads {
                // Who waits for a sync carries it out itself, rather than wait for a thread that does.
                if self.level < Durability::Always || !self.inner.shared.sync_here() {
                    thread::park();
                }
            } else if !self.inner.shared.turn() {
                return match Pin::new(&mut self).poll(&mut context) {
                    Poll::Ready(answer) => answer,
                    Poll::Pending => Err(Error::Busy),
                };
            }
        }
    }
}

impl<T> Future for Ticket<T> {
    type Output = Result<T, Error>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let ticket = self.get_mut();
        let answer = match &mut ticket.answer {
            Err(refused) => return Poll::Ready(Err(refused.take().unwrap_or(Error::Closed))),
            Ok(receiver) => match Pin::new(receiver).poll(context) {
                Poll::Pending => return Poll::Pending,
                // The owner went away without an answer: only when the process of closing was cut short.
                Poll::Ready(Err(_)) => Err(Error::Unknown { position: None }),
                Poll::Ready(Ok(answer)) => answer,
            },
        };
        ticket.answer = Err(None);
        Poll::Ready(answer.and_then(|done| (ticket.convert)(&ticket.inner, done)))
    }
}

struct Parked(Thread);

impl Wake for Parked {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}
