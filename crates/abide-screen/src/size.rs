//! The size of a screen.

/// Columns and rows. A model never has fewer than 2 × 1 or more than 1,000 × 1,000, whatever it is asked for: the
/// engine cannot wrap a wide character into one column, and memory goes with the size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Columns.
    pub cols: u16,
    /// Rows.
    pub rows: u16,
}

impl Size {
    /// The nearest size that a model can have.
    #[must_use]
    pub fn clamped(self) -> Self {
        Self { cols: self.cols.clamp(2, 1_000), rows: self.rows.clamp(1, 1_000) }
    }
}
