//! Many things at once, in order or not.

use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// Does `work` for 0, 1, … below `count`, as many as `window` ahead of what `take` has been given; `take` gets the results
/// in order.
///
/// # Errors
///
/// The first error of either.
pub(crate) fn ordered<T: Send, E: Send>(
    window: usize,
    count: usize,
    work: impl Fn(usize) -> Result<T, E> + Sync,
    mut take: impl FnMut(usize, T) -> Result<(), E>,
) -> Result<(), E> {
    let window = window.clamp(1, count.max(1));
    if window == 1 {
        return (0..count).try_for_each(|number| take(number, work(number)?));
    }
    let work = &work;
    thread::scope(|scope| {
        // Lane k does k, k + window, and so on, each one ahead of what has been taken.
        let start = |lane: usize| {
            let (sender, receiver) = sync_channel(0);
            scope.spawn(move || {
                for number in (lane..count).step_by(window) {
                    let done = work(number);
                    let failed = done.is_err();
                    if sender.send(done).is_err() || failed {
                        break;
                    }
                }
            });
            receiver
        };
        let lanes: Vec<_> = (0..window).map(start).collect();
        for number in 0..count {
            let done = lanes[number % window].recv().expect("a lane ends after its last result or an error");
            take(number, done?)?;
        }
        Ok(())
    })
}

/// Does `work` for everything that `feed` sends, on so many threads.
///
/// # Errors
///
/// The first error of either. Nothing new is begun after one; where the workers fail, `feed` finds nobody to send to.
pub(crate) fn pool<J: Send, E: Send, T>(
    threads: usize,
    work: impl Fn(J) -> Result<(), E> + Sync,
    feed: impl FnOnce(&SyncSender<J>) -> Result<T, E>,
) -> Result<T, E> {
    let (sender, receiver) = sync_channel(threads);
    let receiver = Arc::new(Mutex::new(receiver));
    let failure = Mutex::new(None);
    let (work, failed) = (&work, &failure);
    let fed = thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            let receiver = receiver.clone();
            scope.spawn(move || {
                loop {
                    let job = receiver.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    let Ok(job) = job else { break };
                    if let Err(error) = work(job) {
                        failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                    }
                    if failed.lock().unwrap_or_else(PoisonError::into_inner).is_some() {
                        break;
                    }
                }
            });
        }
        // Only the workers are left to receive: once they are gone, sending fails.
        drop(receiver);
        let fed = feed(&sender);
        drop(sender);
        fed
    });
    match failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Some(error) => Err(error),
        None => fed,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn results_come_in_order_and_the_first_error_ends_it() {
        let mut taken = Vec::new();
        let done = ordered(
            5,
            100,
            |number| Ok::<_, ()>(number * 2),
            |number, double| {
                taken.push((number, double));
                Ok(())
            },
        );
        assert_eq!((done, taken), (Ok(()), (0..100).map(|number| (number, number * 2)).collect()));
        let done = ordered(5, 100, |number| if number == 50 { Err(number) } else { Ok(()) }, |_, ()| Ok(()));
        assert_eq!(done, Err(50));
        assert_eq!(ordered(5, 0, |_| Err::<(), _>(1), |_, ()| Ok(())), Ok(()));
    }

    #[test]
    fn a_pool_does_everything_or_stops_at_an_error() {
        let sum = AtomicUsize::new(0);
        let add = |number: usize| {
            sum.fetch_add(number, Ordering::Relaxed);
            if number == 77 { Err("bad") } else { Ok(()) }
        };
        let feed = |upto: usize| {
            move |sender: &SyncSender<usize>| (1..=upto).try_for_each(|n| sender.send(n).map_err(|_| "gone"))
        };
        assert_eq!(pool(4, add, feed(50)), Ok(()));
        assert_eq!(sum.load(Ordering::Relaxed), 50 * 51 / 2);
        assert_eq!(pool(4, add, feed(1_000_000)), Err("bad"));
    }
}
