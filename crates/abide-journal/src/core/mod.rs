//! The rules of a store, without files, threads or clocks: events go in, effects come out.

mod apply;
mod batch;
mod checkpoints;
mod compaction;
mod damage;
mod epochs;
mod extents;
mod log;
mod number;
mod replay;
mod retention;
mod room;
mod roots;
mod space;
mod store;

pub use compaction::{Moving, Piece, Records};
pub use epochs::Epochs;
pub use extents::Extent;
pub(crate) use extents::Extents;
pub(crate) use log::LogState;
pub use log::LogView;
pub use replay::{Replayed, StreamEnd};
pub use room::{Ahead, Origin};
pub use space::{Space, SpaceState};
pub use store::{
    Done, Effect, Event, NewEntry, NewFile, Now, PlannedRecord, Request, Settings, Store, TicketId, WritePlan,
};
