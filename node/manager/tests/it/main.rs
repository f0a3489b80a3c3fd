//! Whole nodes in virtual time: applications travel, run, fail and end.

mod admission;
mod budgets;
mod calls;
mod content;
mod download;
mod fair;
mod fall_over;
mod fetch;
mod guest;
mod install;
mod ledger;
mod operator;
mod packages;
mod records;
mod refusal;
mod removal;
mod replay;
mod saving;
mod transaction;
mod upgrade;
mod world;
