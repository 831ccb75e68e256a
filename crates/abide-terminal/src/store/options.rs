//! The options that the logs of this store are made with, for good; what is kept may change with the configuration.

use abide_journal::{Durability, LogOptions, OnDamage, Retention};

/// Screens that the log of a session keeps.
const SCREENS_MAX: u32 = 12;

/// The options of the registry log, which is cut behind a table.
pub fn registry_options(retention: Retention) -> LogOptions {
    LogOptions {
        durability: Durability::Os,
        retention,
        on_damage: OnDamage::Serve,
        essential: true,
        ..LogOptions::default()
    }
}

/// The options of a session's log, which is cut behind a screen.
pub fn session_options(retention: Retention) -> LogOptions {
    LogOptions {
        durability: Durability::Os,
        retention,
        checkpoints_max: SCREENS_MAX,
        on_damage: OnDamage::Serve,
        essential: false,
        self_contained: true,
    }
}
