//! What comes from strangers and from the operator's file, good and bad.

mod address;
mod chunks;
mod envelope;
mod hostile;
mod hosts;
mod locator;
mod manifest;
mod package;
mod pages;
mod policy;
mod policy_file;
mod support;
