//! A command line without arguments, environment or terminal, whose output goes to the log.

use prost_contract::TrapKind;
use wasmtime::component::Resource;
use wasmtime_wasi::p2::bindings::cli::terminal_input::{self, TerminalInput};
use wasmtime_wasi::p2::bindings::cli::terminal_output::{self, TerminalOutput};
use wasmtime_wasi::p2::bindings::cli::{
    environment, exit, stderr, stdin, stdout, terminal_stderr, terminal_stdin, terminal_stdout,
};
use wasmtime_wasi::p2::pipe::{ClosedInputStream, SinkOutputStream};
use wasmtime_wasi::p2::{DynInputStream, DynOutputStream};

use crate::state::{State, Stop};

impl environment::Host for State {
    fn get_environment(&mut self) -> wasmtime::Result<Vec<(String, String)>> {
        self.charge(0, 0)?;
        Ok(Vec::new())
    }

    fn get_arguments(&mut self) -> wasmtime::Result<Vec<String>> {
        self.charge(0, 0)?;
        Ok(Vec::new())
    }

    fn initial_cwd(&mut self) -> wasmtime::Result<Option<String>> {
        self.charge(0, 0)?;
        Ok(None)
    }
}

impl exit::Host for State {
    fn exit(&mut self, _: Result<(), ()>) -> wasmtime::Result<()> {
        Err(Stop::error(TrapKind::Fault, "the peerlet ended itself with exit"))
    }

    fn exit_with_code(&mut self, _: u8) -> wasmtime::Result<()> {
        exit::Host::exit(self, Err(()))
    }
}

impl State {
    /// A stream that stands for both outputs: what is written to it is taken before it gets there.
    fn output_stream(&mut self) -> wasmtime::Result<Resource<DynOutputStream>> {
        self.charge(0, 0)?;
        let sink: DynOutputStream = Box::new(SinkOutputStream);
        Ok(self.table.push(sink)?)
    }
}

impl stdin::Host for State {
    fn get_stdin(&mut self) -> wasmtime::Result<Resource<DynInputStream>> {
        self.charge(0, 0)?;
        let closed: DynInputStream = Box::new(ClosedInputStream);
        Ok(self.table.push(closed)?)
    }
}

impl stdout::Host for State {
    fn get_stdout(&mut self) -> wasmtime::Result<Resource<DynOutputStream>> {
        self.output_stream()
    }
}

impl stderr::Host for State {
    fn get_stderr(&mut self) -> wasmtime::Result<Resource<DynOutputStream>> {
        self.output_stream()
    }
}

impl terminal_input::Host for State {}

impl terminal_input::HostTerminalInput for State {
    fn drop(&mut self, terminal: Resource<TerminalInput>) -> wasmtime::Result<()> {
        self.table.delete(terminal)?;
        Ok(())
    }
}

impl terminal_output::Host for State {}

impl terminal_output::HostTerminalOutput for State {
    fn drop(&mut self, terminal: Resource<TerminalOutput>) -> wasmtime::Result<()> {
        self.table.delete(terminal)?;
        Ok(())
    }
}

impl terminal_stdin::Host for State {
    fn get_terminal_stdin(&mut self) -> wasmtime::Result<Option<Resource<TerminalInput>>> {
        self.charge(0, 0)?;
        Ok(None)
    }
}

impl terminal_stdout::Host for State {
    fn get_terminal_stdout(&mut self) -> wasmtime::Result<Option<Resource<TerminalOutput>>> {
        self.charge(0, 0)?;
        Ok(None)
    }
}

impl terminal_stderr::Host for State {
    fn get_terminal_stderr(&mut self) -> wasmtime::Result<Option<Resource<TerminalOutput>>> {
        self.charge(0, 0)?;
        Ok(None)
    }
}
