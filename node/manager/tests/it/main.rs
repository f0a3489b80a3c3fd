//! Whole nodes in virtual time: applications travel, run, fail and end.

mod budgets;
mod calls;
mod fall_over;
mod fetch;
mod guest;
mod install;
mod operator;
mod packages;
mod refusal;
mod replay;
mod transaction;
mod upgrade;
mod world;
