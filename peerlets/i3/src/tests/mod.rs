//! The paper's tests on a few nodes. Those that need a ring are in the folder `tests` of the crate.

mod forgery;
mod forwarding;
mod soft_state;
mod world;
