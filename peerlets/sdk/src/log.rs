//! Capability `log`: bounded lines in the node's log, marked with the application.

use crate::host::log as host;

pub use host::Level;

/// Writes a line.
pub fn write(level: Level, line: &str) {
    host::write(level, line);
}

/// A line for the peerlet's author.
pub fn debug(line: &str) {
    write(Level::Debug, line);
}

/// A line worth knowing.
pub fn info(line: &str) {
    write(Level::Info, line);
}

/// A line worth a look.
pub fn warn(line: &str) {
    write(Level::Warn, line);
}

/// A line that says that something failed.
pub fn error(line: &str) {
    write(Level::Error, line);
}
