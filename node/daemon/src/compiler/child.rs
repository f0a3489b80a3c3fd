//! The compiler in a process of its own, which may use so much and no more.
//!
//! It is this program again, without environment. It is given a key and the component as its standard input, a file that
//! has no name; its code comes through a pipe that nobody else has, under a seal by that key. The key serves once, so
//! that nothing which is not from this very process is taken for code.

use std::fs::File;
use std::io::{self, PipeReader, Read, Seek, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use prost_sandbox::{Code, CompileError, Engine, NotCode, SealKey};
use ring::rand::{SecureRandom, SystemRandom};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process_group};

use super::CompilerError;
use super::limits::ChildLimits;
use crate::exit;

/// The subcommand that [`run_inside`](super::run_inside) stands behind.
const COMMAND: &str = "compile";
/// Bytes that are read of what a compiler says when it fails.
const SAID_BYTES: u64 = 4 << 10;
/// Characters of it that an error repeats.
const LINE: usize = 400;
/// What Rust says before it gives up for want of memory.
const NO_MEMORY: &str = "memory allocation of ";
/// Between two looks at a process that is about to end.
const LOOK: Duration = Duration::from_millis(1);

/// How a compiler ended that did not end well.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Stopped {
    /// It took too long.
    #[error("its compiler was stopped after {} s", .0.as_secs_f32())]
    Wall(Duration),
    /// It took too much of a processor.
    #[error("its compiler was stopped after {0} s of processor time")]
    Cpu(u64),
    /// It needed too much memory.
    #[error("its compiler needs more than {} MiB of memory", .0 >> 20)]
    Memory(u64),
    /// There was too much code.
    #[error("its code has more than {0} bytes")]
    Output(u64),
    /// Another process, or the system, ended it.
    #[error("its compiler was killed")]
    Killed,
    /// It crashed.
    #[error("its compiler crashed with signal {0}")]
    Crashed(i32),
    /// It wrote what is no code.
    #[error("its compiler failed: {0}")]
    Garbage(NotCode),
}

/// Compiles each component in a process of its own.
#[derive(Debug, Clone)]
pub struct ChildCompiler {
    program: PathBuf,
    limits: ChildLimits,
}

impl ChildCompiler {
    /// The compiler is `program`, which is some `prost`.
    pub fn new(program: PathBuf, limits: ChildLimits) -> ChildCompiler {
        ChildCompiler { program, limits }
    }

    /// The compiler is the program of this process, also when its file has been replaced meanwhile.
    pub fn this_program() -> io::Result<ChildCompiler> {
        let program = if cfg!(target_os = "linux") { "/proc/self/exe".into() } else { std::env::current_exe()? };
        Ok(ChildCompiler::new(program, ChildLimits::default()))
    }

    /// Compiles a component for an engine. Takes as long as [`ChildLimits::wall`] and no longer, or for a large one what
    /// [`ChildLimits::for_bytes`] makes of it.
    pub fn compile(&self, engine: &Engine, component: &[u8], digest: &[u8; 32]) -> Result<Code, CompilerError> {
        let limits = self.limits.for_bytes(component.len());
        ChildCompiler { program: self.program.clone(), limits }.compile_within(engine, component, digest)
    }

    fn compile_within(&self, engine: &Engine, component: &[u8], digest: &[u8; 32]) -> Result<Code, CompilerError> {
        let key = once();
        let (mut process, mut pipe) = self.start(engine, &key, component).map_err(|error| no_process(&error))?;
        let read = Code::read(&key, engine, digest, self.limits.output_bytes, &mut pipe);
        // Whoever still writes is not waited for.
        drop(pipe);
        let stopped = match read {
            Ok(code) => return Ok(code),
            // Why it ended before its code did.
            Err(NotCode::Length) => match process.end().map_err(|error| no_process(&error))? {
                Some(status) => return Err(self.explain(status, &process.said())),
                None => Stopped::Wall(self.limits.wall),
            },
            Err(NotCode::Unreadable(io::ErrorKind::TimedOut)) => Stopped::Wall(self.limits.wall),
            Err(NotCode::TooLong(_)) => Stopped::Output(self.limits.output_bytes),
            Err(wrong) => Stopped::Garbage(wrong),
        };
        Err(stopped.into())
    }

    fn start(&self, engine: &Engine, key: &SealKey, component: &[u8]) -> io::Result<(Process, Timed)> {
        let mut input = nameless("component")?;
        input.write_all(key.as_bytes())?;
        input.write_all(component)?;
        input.rewind()?;
        let said = nameless("errors")?;
        let (code, output) = io::pipe()?;
        let mut command = Command::new(&self.program);
        command.arg0("prost").arg(COMMAND).args(self.limits.arguments());
        if engine.is_pooling() {
            command.arg("--pooling");
        }
        command.env_clear().current_dir("/").process_group(0);
        command.stdin(input).stdout(output).stderr(Stdio::from(said.try_clone()?));
        let deadline = Instant::now() + self.limits.wall;
        let child = command.spawn()?;
        Ok((Process { child: Some(child), deadline, said }, Timed { pipe: code, deadline }))
    }

    /// Why a compiler that has ended left no code.
    fn explain(&self, status: ExitStatus, said: &str) -> CompilerError {
        let line = said.trim().strip_prefix("error: ").unwrap_or(said);
        match status.code().map(u8::try_from) {
            Some(Ok(exit::DATA)) => return CompileError::rejected(line).into(),
            // It has not come as far as the component.
            Some(Ok(exit::INTERNAL | exit::USAGE)) => return CompilerError::NoProcess(one_line(line)),
            _ => {}
        }
        let stopped = match status.signal() {
            Some(signal) if signal == Signal::XCPU.as_raw() => Stopped::Cpu(self.limits.cpu_seconds),
            Some(signal) if signal == Signal::XFSZ.as_raw() => Stopped::Output(self.limits.output_bytes),
            Some(signal) if signal == Signal::KILL.as_raw() => Stopped::Killed,
            Some(signal) if signal == Signal::ABORT.as_raw() && said.contains(NO_MEMORY) => {
                Stopped::Memory(self.limits.memory_bytes)
            }
            Some(signal) => Stopped::Crashed(signal),
            None => Stopped::Garbage(NotCode::Length),
        };
        stopped.into()
    }
}

/// A compiler that runs. It ends with this value.
struct Process {
    child: Option<Child>,
    deadline: Instant,
    /// Its standard error.
    said: File,
}

impl Process {
    /// Waits until it has ended; none where it has to be killed for it.
    fn end(&mut self) -> io::Result<Option<ExitStatus>> {
        while Instant::now() < self.deadline {
            let Some(child) = &mut self.child else { return Ok(None) };
            if let Some(status) = child.try_wait()? {
                self.child = None;
                return Ok(Some(status));
            }
            thread::sleep(LOOK);
        }
        self.kill();
        Ok(None)
    }

    fn kill(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        // It may end by itself just now.
        let _ = kill_process_group(Pid::from_child(&child), Signal::KILL);
        let _ = child.wait();
    }

    fn said(&mut self) -> String {
        let mut said = Vec::new();
        let read = self.said.rewind().and_then(|()| (&self.said).take(SAID_BYTES).read_to_end(&mut said));
        // Without it the message is shorter.
        let _ = read;
        String::from_utf8_lossy(&said).into_owned()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A pipe that is read until a deadline.
struct Timed {
    pipe: PipeReader,
    deadline: Instant,
}

impl Read for Timed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let left = self.deadline.saturating_duration_since(Instant::now());
            let left = Timespec::try_from(left).map_err(|_| io::ErrorKind::InvalidInput)?;
            match poll(&mut [PollFd::new(&self.pipe, PollFlags::IN)], Some(&left)) {
                Ok(0) => return Err(io::ErrorKind::TimedOut.into()),
                Ok(_) => return self.pipe.read(buffer),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

fn once() -> SealKey {
    let mut bytes = [0; SealKey::LEN];
    SystemRandom::new().fill(&mut bytes).expect("the system has random numbers");
    SealKey::new(bytes)
}

/// A file that only this process and its children can open, and that goes with them.
#[cfg(target_os = "linux")]
fn nameless(name: &str) -> io::Result<File> {
    Ok(rustix::fs::memfd_create(name, rustix::fs::MemfdFlags::CLOEXEC)?.into())
}

#[cfg(not(target_os = "linux"))]
fn nameless(_: &str) -> io::Result<File> {
    tempfile::tempfile()
}

/// What the process said first. It has read what a stranger wrote.
fn one_line(said: &str) -> String {
    let line = said.lines().next().unwrap_or_default();
    line.chars().filter(|character| !character.is_control()).take(LINE).collect()
}

fn no_process(error: &io::Error) -> CompilerError {
    CompilerError::NoProcess(error.to_string())
}
