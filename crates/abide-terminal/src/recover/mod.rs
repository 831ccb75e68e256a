//! What a starting daemon makes of the sessions and holders that it finds.

pub mod decide;
