//! Exit codes of the command line: those of `sysexits.h`, where it has one.

/// All went well.
pub const OK: u8 = 0;
/// What was asked for was done or tried, and the answer is no.
pub const FAILED: u8 = 1;
/// The command line is wrong.
pub const USAGE: u8 = 64;
/// What was given to work on is malformed or damaged.
pub const DATA: u8 = 65;
/// A file that was named does not exist or cannot be read.
pub const NO_INPUT: u8 = 66;
/// The node, or who it needs, does not answer.
pub const UNAVAILABLE: u8 = 69;
/// The disk failed, or the program is wrong.
pub const INTERNAL: u8 = 70;
/// A file, a lock or a socket cannot be had.
pub const CANNOT_CREATE: u8 = 73;
/// Permission is missing.
pub const NO_PERMISSION: u8 = 77;
/// The configuration is wrong.
pub const CONFIG: u8 = 78;
