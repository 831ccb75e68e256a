//! The options that the logs of this store are made with, for good.

use abide_journal::{Durability, LogOptions, OnDamage, Retention};

/// Screens that the log of a session keeps.
const SCREENS_MAX: u32 = 12;

/// The options of the registry log.
pub fn registry_options() -> LogOptions {
    LogOptions {
        durability: Durability::Os,
        retention: Retention { trim_at_checkpoint: true, ..Retention::default() },
        on_damage: OnDamage::Serve,
        essential: true,
        ..LogOptions::default()
    }
}

/// The options of a session's log.
pub fn session_options() -> LogOptions {
    LogOptions {
        durability: Durability::Os,
        retention: Retention { bytes_max: 0, age_ms_max: 0, trim_at_checkpoint: true },
        checkpoints_max: SCREENS_MAX,
        on_damage: OnDamage::Serve,
        essential: false,
        self_contained: true,
    }
}
