//! The contract's imports, one file for each capability.

mod client;
mod identity;
mod log;
mod route;
mod storage;
mod timer;

use prost_contract::Capability;
use wasmtime::component::{HasSelf, Linker};

use crate::bindings::prost::peerlet;
use crate::state::State;

impl peerlet::types::Host for State {}

/// Links the interface of one capability.
pub(crate) fn link(linker: &mut Linker<State>, capability: Capability) -> wasmtime::Result<()> {
    match capability {
        Capability::Route => peerlet::route::add_to_linker::<_, HasSelf<State>>(linker, |state| state),
        Capability::Storage => peerlet::storage::add_to_linker::<_, HasSelf<State>>(linker, |state| state),
        Capability::Timer => peerlet::timer::add_to_linker::<_, HasSelf<State>>(linker, |state| state),
        Capability::Client => peerlet::client::add_to_linker::<_, HasSelf<State>>(linker, |state| state),
        Capability::Identity => peerlet::identity::add_to_linker::<_, HasSelf<State>>(linker, |state| state),
        Capability::Log => peerlet::log::add_to_linker::<_, HasSelf<State>>(linker, |state| state),
    }
}

/// Links the interface that only names types, which is no capability.
pub(crate) fn link_types(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    peerlet::types::add_to_linker::<_, HasSelf<State>>(linker, |state| state)
}
