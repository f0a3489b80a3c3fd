//! Streams and pollables. All that exist are standard input, which is closed, and the two outputs, which always take
//! what is written.

use prost_contract::TrapKind;
use wasmtime::component::Resource;
use wasmtime_wasi::p2::bindings::sync::io::streams::{self, HostInputStream, HostOutputStream};
use wasmtime_wasi::p2::bindings::sync::io::{poll, streams::StreamError as Reported};
use wasmtime_wasi::p2::{DynInputStream, DynOutputStream, DynPollable, StreamError, StreamResult, subscribe};

use crate::state::{State, Stop};

/// Bytes that an output stream says it takes; the least that WASI's blocking writes need.
const PERMIT: u64 = 4_096;

impl State {
    fn write_to(&mut self, stream: &Resource<DynOutputStream>, bytes: &[u8]) -> StreamResult<()> {
        self.charge(0, bytes.len()).map_err(StreamError::Trap)?;
        self.table.get(stream)?;
        self.print(bytes);
        Ok(())
    }

    fn check_output(&mut self, stream: &Resource<DynOutputStream>) -> StreamResult<()> {
        self.charge(0, 0).map_err(StreamError::Trap)?;
        self.table.get(stream)?;
        Ok(())
    }

    /// Standard input has ended before it began.
    fn read_from<T>(&mut self, stream: &Resource<DynInputStream>) -> StreamResult<T> {
        self.charge(0, 0).map_err(StreamError::Trap)?;
        self.table.get(stream)?;
        Err(StreamError::Closed)
    }

    fn zeroes(&mut self, stream: &Resource<DynOutputStream>, length: u64) -> StreamResult<()> {
        if length > PERMIT {
            return Err(StreamError::trap("more zeroes than the stream takes"));
        }
        self.write_to(stream, &[0; PERMIT as usize][..length as usize])
    }
}

impl poll::Host for State {
    fn poll(&mut self, pollables: Vec<Resource<DynPollable>>) -> wasmtime::Result<Vec<u32>> {
        self.charge(0, pollables.len() * size_of::<u32>())?;
        if pollables.is_empty() {
            return Err(Stop::error(TrapKind::Fault, "the peerlet polls nothing"));
        }
        for pollable in &pollables {
            self.table.get(pollable)?;
        }
        Ok((0..).zip(&pollables).map(|(index, _)| index).collect())
    }
}

impl poll::HostPollable for State {
    fn ready(&mut self, pollable: Resource<DynPollable>) -> wasmtime::Result<bool> {
        self.charge(0, 0)?;
        self.table.get(&pollable)?;
        Ok(true)
    }

    fn block(&mut self, pollable: Resource<DynPollable>) -> wasmtime::Result<()> {
        self.charge(0, 0)?;
        self.table.get(&pollable)?;
        Ok(())
    }

    fn drop(&mut self, pollable: Resource<DynPollable>) -> wasmtime::Result<()> {
        poll::HostPollable::drop(&mut self.table, pollable)
    }
}

impl streams::Host for State {
    fn convert_stream_error(&mut self, error: StreamError) -> wasmtime::Result<Reported> {
        streams::Host::convert_stream_error(&mut self.table, error)
    }
}

impl HostInputStream for State {
    fn read(&mut self, stream: Resource<DynInputStream>, _: u64) -> StreamResult<Vec<u8>> {
        self.read_from(&stream)
    }

    fn blocking_read(&mut self, stream: Resource<DynInputStream>, _: u64) -> StreamResult<Vec<u8>> {
        self.read_from(&stream)
    }

    fn skip(&mut self, stream: Resource<DynInputStream>, _: u64) -> StreamResult<u64> {
        self.read_from(&stream)
    }

    fn blocking_skip(&mut self, stream: Resource<DynInputStream>, _: u64) -> StreamResult<u64> {
        self.read_from(&stream)
    }

    fn subscribe(&mut self, stream: Resource<DynInputStream>) -> wasmtime::Result<Resource<DynPollable>> {
        self.charge(0, 0)?;
        subscribe(&mut self.table, stream)
    }

    fn drop(&mut self, stream: Resource<DynInputStream>) -> wasmtime::Result<()> {
        self.table.delete(stream)?;
        Ok(())
    }
}

impl HostOutputStream for State {
    fn check_write(&mut self, stream: Resource<DynOutputStream>) -> StreamResult<u64> {
        self.check_output(&stream)?;
        Ok(PERMIT)
    }

    fn write(&mut self, stream: Resource<DynOutputStream>, bytes: Vec<u8>) -> StreamResult<()> {
        self.write_to(&stream, &bytes)
    }

    fn blocking_write_and_flush(&mut self, stream: Resource<DynOutputStream>, bytes: Vec<u8>) -> StreamResult<()> {
        self.write_to(&stream, &bytes)
    }

    fn flush(&mut self, stream: Resource<DynOutputStream>) -> StreamResult<()> {
        self.check_output(&stream)
    }

    fn blocking_flush(&mut self, stream: Resource<DynOutputStream>) -> StreamResult<()> {
        self.check_output(&stream)
    }

    fn subscribe(&mut self, stream: Resource<DynOutputStream>) -> wasmtime::Result<Resource<DynPollable>> {
        self.charge(0, 0)?;
        subscribe(&mut self.table, stream)
    }

    fn write_zeroes(&mut self, stream: Resource<DynOutputStream>, length: u64) -> StreamResult<()> {
        self.zeroes(&stream, length)
    }

    fn blocking_write_zeroes_and_flush(&mut self, stream: Resource<DynOutputStream>, length: u64) -> StreamResult<()> {
        self.zeroes(&stream, length)
    }

    fn splice(
        &mut self,
        stream: Resource<DynOutputStream>,
        from: Resource<DynInputStream>,
        _: u64,
    ) -> StreamResult<u64> {
        self.check_output(&stream)?;
        self.read_from(&from)
    }

    fn blocking_splice(
        &mut self,
        stream: Resource<DynOutputStream>,
        from: Resource<DynInputStream>,
        length: u64,
    ) -> StreamResult<u64> {
        self.splice(stream, from, length)
    }

    fn drop(&mut self, stream: Resource<DynOutputStream>) -> wasmtime::Result<()> {
        self.table.delete(stream)?;
        Ok(())
    }
}
