//! What could not be compiled.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::CompilerError;

/// Components that are remembered; the oldest is forgotten first.
const MAX: usize = 256;
/// How long one is. Not for ever: a limit of time or memory may have been hit because the machine was busy.
const REMEMBERED: Duration = Duration::from_secs(600);

/// Components whose compiler failed, by their digests.
#[derive(Debug, Default)]
pub(super) struct Refused {
    entries: VecDeque<([u8; 32], CompilerError, Instant)>,
}

impl Refused {
    pub(super) fn get(&self, digest: &[u8; 32], now: Instant) -> Option<CompilerError> {
        let entry = self.entries.iter().find(|(refused, _, since)| refused == digest && now < *since + REMEMBERED);
        entry.map(|(_, error, _)| error.clone())
    }

    pub(super) fn put(&mut self, digest: [u8; 32], error: CompilerError, now: Instant) {
        self.entries.retain(|(refused, ..)| *refused != digest);
        if self.entries.len() >= MAX {
            self.entries.pop_front();
        }
        self.entries.push_back((digest, error, now));
    }
}

#[cfg(test)]
mod tests {
    use super::super::Stopped;
    use super::*;

    #[test]
    fn a_refusal_is_remembered_for_a_while_and_not_more_than_so_many() {
        let (mut refused, now) = (Refused::default(), Instant::now());
        let error = CompilerError::from(Stopped::Killed);
        for number in 0..=MAX {
            let mut digest = [0; 32];
            digest[..8].copy_from_slice(&(number as u64).to_le_bytes());
            refused.put(digest, error.clone(), now);
        }
        assert_eq!(refused.entries.len(), MAX);
        assert_eq!(refused.get(&[0; 32], now), None, "the oldest is forgotten");
        let mut second = [0; 32];
        second[0] = 1;
        assert_eq!(refused.get(&second, now), Some(error));
        assert_eq!(refused.get(&second, now + REMEMBERED), None);
    }
}
