//! A simulated disk and clock for tests: what a seed decides, it decides again.
//!
//! The [`Disk`] keeps apart what programs see (the page cache) and what a power loss leaves (the platter). A write
//! changes the first; [`File::sync_data`] and [`Disk::sync_dir`] carry it over; [`Disk::power_loss`] lets the generator
//! choose, 512 bytes by 512 bytes and name by name, what of the rest had reached the platter by itself. Faults are
//! planned by counting calls.
//!
//! This crate knows no system: who has a trait for disks or clocks writes an adapter in its tests. It uses no thread, no
//! clock and no file of the machine.
//!
//! ```
//! use abide_sim::Disk;
//! use std::path::Path;
//!
//! let disk = Disk::new(7);
//! let file = disk.create(Path::new("a")).unwrap();
//! file.write_at(0, &[b"kept"]).unwrap();
//! file.sync_data().unwrap();
//! disk.sync_dir(Path::new("")).unwrap();
//! file.write_at(0, &[b"lost"]).unwrap();
//! disk.power_loss();
//! let mut bytes = [0; 4];
//! disk.open(Path::new("a")).unwrap().read_at(0, &mut bytes).unwrap();
//! // Nothing is sure of a block that was being written: hence one never writes again where something was synced.
//! assert_eq!(disk.counts().units_kept + disk.counts().units_lost, 1);
//! ```

mod clock;
mod disk;
mod rng;

pub use clock::Clock;
pub use disk::{Counts, Disk, Fault, File};
pub use rng::Rng;
