//! Many things at once, while somebody looks after the ring.

use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use core::time::Duration;
use std::io::{self, Read, Write};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::thread;
use std::time::Instant;

use super::error::DemoError;

/// Things that are done at once.
const AT_ONCE: usize = 8;
/// Between two looks at the ring.
const LOOK: Duration = Duration::from_millis(200);

/// Does the work for every item, several at a time, and gives the results in the items' order.
///
/// Meanwhile `watch` is called now and then with the number of items done. The first error of either is the outcome: it
/// sets `stop`, and no new item is begun.
pub(super) fn each<I: Sync, T: Send>(
    items: &[I],
    stop: &AtomicBool,
    work: impl Fn(&I) -> Result<T, DemoError> + Sync,
    mut watch: impl FnMut(usize) -> Result<(), DemoError>,
) -> Result<Vec<T>, DemoError> {
    let next = AtomicUsize::new(0);
    let mut results: Vec<Option<T>> = items.iter().map(|_| None).collect();
    let mut outcome = Ok(());
    thread::scope(|scope| {
        let (sender, receiver) = sync_channel(AT_ONCE);
        for _ in 0..items.len().min(AT_ONCE) {
            let (sender, next, work) = (sender.clone(), &next, &work);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let i = next.fetch_add(1, Ordering::Relaxed);
                    let Some(item) = items.get(i) else { break };
                    if sender.send((i, work(item))).is_err() {
                        break;
                    }
                }
            });
        }
        drop(sender);
        let (mut looked, mut done) = (Instant::now(), 0);
        loop {
            let seen = match receiver.recv_timeout(LOOK) {
                Ok((i, result)) => {
                    done += 1;
                    result.map(|result| results[i] = Some(result))
                }
                Err(RecvTimeoutError::Timeout) => Ok(()),
                Err(RecvTimeoutError::Disconnected) => break,
            };
            let seen = seen.and_then(|()| {
                if looked.elapsed() < LOOK {
                    return Ok(());
                }
                looked = Instant::now();
                watch(done)
            });
            if outcome.is_ok() && seen.is_err() {
                stop.store(true, Ordering::Relaxed);
                outcome = seen;
            }
        }
    });
    outcome?;
    // Without an error, only whoever set `stop` beforehand keeps an item from being done.
    results.into_iter().collect::<Option<Vec<T>>>().ok_or(DemoError::Interrupted)
}

/// Length and BLAKE3 digest of what went by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fingerprint {
    pub(super) size: u64,
    pub(super) digest: [u8; 32],
}

/// Passes bytes on to a reader, or takes them from a writer, and takes their fingerprint.
#[derive(Debug, Default)]
pub(super) struct Seen<R> {
    inner: R,
    size: u64,
    hasher: blake3::Hasher,
}

impl<R> Seen<R> {
    pub(super) fn new(inner: R) -> Seen<R> {
        Seen { inner, size: 0, hasher: blake3::Hasher::new() }
    }

    pub(super) fn fingerprint(&self) -> Fingerprint {
        Fingerprint { size: self.size, digest: *self.hasher.finalize().as_bytes() }
    }

    fn see(&mut self, bytes: &[u8]) {
        self.size += bytes.len() as u64;
        self.hasher.update(bytes);
    }
}

impl<R: Read> Read for Seen<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(buffer)?;
        self.see(&buffer[..length]);
        Ok(length)
    }
}

impl Write for Seen<io::Sink> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.see(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_the_order_of_the_items() {
        let items: Vec<usize> = (0..100).collect();

        let results = each(&items, &AtomicBool::new(false), |item| Ok(item * 2), |_| Ok(()));

        let doubled: Vec<usize> = (0..100).map(|item| item * 2).collect();
        assert_eq!(results.expect("nothing fails"), doubled);
        let none = each(&[] as &[usize], &AtomicBool::new(false), |item| Ok(*item), |_| Ok(()));
        assert!(none.expect("nothing fails").is_empty());
    }

    #[test]
    fn the_first_error_ends_the_work_whoever_makes_it() {
        let items: Vec<u64> = (0..10_000).collect();
        let failure = || Err(DemoError::NoRing { seconds: 1, right: 0, nodes: 2 });
        let begun = AtomicUsize::new(0);
        let count = || {
            begun.fetch_add(1, Ordering::Relaxed);
            thread::sleep(Duration::from_millis(10));
            Ok(())
        };

        let stop = AtomicBool::new(false);
        let watched = each(&items, &stop, |_| count(), |_| failure());
        assert!(matches!(watched, Err(DemoError::NoRing { .. })));
        assert!(stop.into_inner());

        let work = |item: &u64| {
            count()?;
            if *item == 3 { failure() } else { Ok(()) }
        };
        let worked = each(&items, &AtomicBool::new(false), work, |_| Ok(()));
        assert!(matches!(worked, Err(DemoError::NoRing { .. })));
        assert!(begun.into_inner() < items.len());
    }

    #[test]
    fn what_is_read_and_what_is_written_have_the_same_fingerprint() {
        let mut read = Seen::new(&b"some bytes"[..]);
        let mut written = Seen::new(io::sink());

        io::copy(&mut read, &mut written).expect("memory does not fail");

        assert_eq!(read.fingerprint(), written.fingerprint());
        assert_eq!(read.fingerprint().size, 10);
    }
}
