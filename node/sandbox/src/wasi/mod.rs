//! Inert WASI: enough for the standard libraries of guest languages to start and to print, and nothing that a peerlet
//! does not have anyway.
//!
//! The interfaces are linked one by one, never as a whole, so that sockets do not exist here. Nothing waits: streams
//! and the pollables made of them are always ready, and asking for a time to come is a trap. The implementations are
//! our own where wasmtime-wasi's would read a clock, the system's randomness, or start a tokio runtime.

mod cli;
mod clocks;
mod io;
mod random;

use wasmtime::component::{HasData, HasSelf, Linker, ResourceTable};
use wasmtime_wasi::filesystem::{WasiFilesystem, WasiFilesystemCtxView};
use wasmtime_wasi::p2::bindings::{cli as commands, clocks as times, filesystem, random as numbers, sync};

use crate::state::State;

/// Links every inert interface.
pub(crate) fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    link_io(linker)?;
    link_cli(linker)?;
    link_files(linker)?;
    times::wall_clock::add_to_linker::<_, HasSelf<State>>(linker, |state| state)?;
    times::monotonic_clock::add_to_linker::<_, HasSelf<State>>(linker, |state| state)?;
    numbers::random::add_to_linker::<_, HasSelf<State>>(linker, |state| state)?;
    numbers::insecure::add_to_linker::<_, HasSelf<State>>(linker, |state| state)?;
    numbers::insecure_seed::add_to_linker::<_, HasSelf<State>>(linker, |state| state)
}

/// The table alone, which is all that errors need.
struct HasTable;

impl HasData for HasTable {
    type Data<'a> = &'a mut ResourceTable;
}

fn link_io(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    sync::io::error::add_to_linker::<_, HasTable>(linker, |state: &mut State| &mut state.table)?;
    sync::io::poll::add_to_linker::<_, HasSelf<State>>(linker, |state| state)?;
    sync::io::streams::add_to_linker::<_, HasSelf<State>>(linker, |state| state)
}

fn link_cli(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    commands::environment::add_to_linker::<_, HasSelf<State>>(linker, |state| state)?;
    commands::exit::add_to_linker::<_, HasSelf<State>>(linker, |state| state)?;
    commands::stdin::add_to_linker::<_, HasSelf<State>>(linker, |state| state)?;
    commands::stdout::add_to_linker::<_, HasSelf<State>>(linker, |state| state)?;
    commands::stderr::add_to_linker::<_, HasSelf<State>>(linker, |state| state)?;
    commands::terminal_input::add_to_linker::<_, HasSelf<State>>(linker, |state| state)?;
    commands::terminal_output::add_to_linker::<_, HasSelf<State>>(linker, |state| state)?;
    commands::terminal_stdin::add_to_linker::<_, HasSelf<State>>(linker, |state| state)?;
    commands::terminal_stdout::add_to_linker::<_, HasSelf<State>>(linker, |state| state)?;
    commands::terminal_stderr::add_to_linker::<_, HasSelf<State>>(linker, |state| state)
}

/// No directory is ever opened, so that no descriptor exists and no function that takes one can be called.
fn link_files(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    fn files(state: &mut State) -> WasiFilesystemCtxView<'_> {
        WasiFilesystemCtxView { ctx: &mut state.files, table: &mut state.table }
    }
    sync::filesystem::types::add_to_linker::<_, WasiFilesystem>(linker, files)?;
    filesystem::preopens::add_to_linker::<_, WasiFilesystem>(linker, files)
}
