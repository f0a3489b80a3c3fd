//! What a compiler may use.

use std::ffi::OsString;
use std::io;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What one compiler may use before it is stopped. A component that a toolchain made needs a tenth of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChildLimits {
    /// Address space, in bytes.
    pub memory_bytes: u64,
    /// Time of a processor, in seconds.
    pub cpu_seconds: u64,
    /// Files that are open at a time.
    pub files: u64,
    /// Bytes of code, and of any file.
    pub output_bytes: u64,
    /// Time that it may take by the clock, on a busy machine too.
    pub wall: Duration,
}

impl Default for ChildLimits {
    fn default() -> ChildLimits {
        ChildLimits {
            memory_bytes: 1 << 30,
            cpu_seconds: 15,
            files: 16,
            output_bytes: 256 << 20,
            wall: Duration::from_secs(20),
        }
    }
}

/// Bytes of a component for which the limits are meant. What is larger brings an interpreter along.
const USUAL_BYTES: usize = 4 << 20;

impl ChildLimits {
    /// The limits for a component of this size: each usual size more adds as much time again. Whoever wants a compiler
    /// for longer has to send as much more.
    #[must_use]
    pub fn for_bytes(&self, bytes: usize) -> ChildLimits {
        let times = u32::try_from(bytes.div_ceil(USUAL_BYTES)).unwrap_or(u32::MAX).max(1);
        ChildLimits {
            cpu_seconds: self.cpu_seconds.saturating_mul(times.into()),
            wall: self.wall.saturating_mul(times),
            ..self.clone()
        }
    }

    /// Puts this process under them, for good. The clock is for another one to watch.
    pub fn impose(&self) -> io::Result<()> {
        lower(Resource::As, self.memory_bytes, self.memory_bytes)?;
        // The first one ends with a signal that says why.
        lower(Resource::Cpu, self.cpu_seconds, self.cpu_seconds.saturating_add(1))?;
        lower(Resource::Nofile, self.files, self.files)?;
        lower(Resource::Core, 0, 0)?;
        lower(Resource::Fsize, self.output_bytes, self.output_bytes)
    }

    /// As arguments of `prost compile`.
    pub(super) fn arguments(&self) -> Vec<OsString> {
        let all = [
            ("--memory-bytes", self.memory_bytes),
            ("--cpu-seconds", self.cpu_seconds),
            ("--files", self.files),
            ("--output-bytes", self.output_bytes),
        ];
        all.into_iter().flat_map(|(name, value)| [name.into(), value.to_string().into()]).collect()
    }
}

/// What this process has been given from outside may be less already, and cannot be raised.
fn lower(resource: Resource, current: u64, maximum: u64) -> io::Result<()> {
    let given = getrlimit(resource).maximum.unwrap_or(u64::MAX);
    Ok(setrlimit(resource, Rlimit { current: Some(current.min(given)), maximum: Some(maximum.min(given)) })?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_component_has_more_time_and_nothing_else() {
        let usual = ChildLimits::default();
        assert_eq!(usual.for_bytes(0), usual);
        assert_eq!(usual.for_bytes(4 << 20), usual);
        let large = usual.for_bytes(18 << 20);
        assert_eq!((large.cpu_seconds, large.wall), (75, Duration::from_secs(100)));
        assert_eq!(ChildLimits { cpu_seconds: 15, wall: Duration::from_secs(20), ..large }, usual);
    }
}
