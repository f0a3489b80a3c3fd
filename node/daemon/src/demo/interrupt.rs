//! SIGINT and SIGTERM of the demo itself.

use core::time::Duration;
use std::io;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;

use tokio::runtime;
use tokio::signal::unix::{SignalKind, signal};

use super::error::DemoError;

/// How often the demo was told to end.
#[derive(Debug, Clone, Default)]
pub(super) struct Interrupt(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    told: Mutex<u32>,
    changed: Condvar,
}

impl Interrupt {
    /// Listens from now on, and as long as the process lives.
    pub(super) fn listen() -> Result<Interrupt, DemoError> {
        let interrupt = Interrupt::default();
        let theirs = interrupt.clone();
        let runtime = runtime::Builder::new_current_thread().enable_all().build().map_err(cannot)?;
        let (mut int, mut term) = {
            let _guard = runtime.enter();
            let listen = |kind| signal(kind).map_err(cannot);
            (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?)
        };
        let watch = async move {
            loop {
                tokio::select! {
                    _ = int.recv() => theirs.tell(),
                    _ = term.recv() => theirs.tell(),
                }
            }
        };
        thread::Builder::new().name("signals".to_owned()).spawn(move || runtime.block_on(watch)).map_err(cannot)?;
        Ok(interrupt)
    }

    /// How often the demo was told to end: who says it twice does not want to wait.
    pub(super) fn times(&self) -> u32 {
        *self.0.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An error once the demo was told to end.
    pub(super) fn check(&self) -> Result<(), DemoError> {
        if self.times() == 0 { Ok(()) } else { Err(DemoError::Interrupted) }
    }

    /// Sleeps, but not on when the demo is told to end.
    pub(super) fn sleep(&self, time: Duration) -> Result<(), DemoError> {
        let told = self.0.told.lock().unwrap_or_else(PoisonError::into_inner);
        // Whether it was told is asked next.
        drop(self.0.changed.wait_timeout_while(told, time, |told| *told == 0));
        self.check()
    }

    fn tell(&self) {
        *self.0.told.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.0.changed.notify_all();
    }
}

fn cannot(error: io::Error) -> DemoError {
    DemoError::System { what: "listen to signals", error }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn a_sleeper_is_woken_by_the_first_signal_and_never_sleeps_again() {
        let interrupt = Interrupt::default();
        assert!(interrupt.sleep(Duration::from_millis(1)).is_ok());
        let theirs = interrupt.clone();

        let start = Instant::now();
        let teller = thread::spawn(move || theirs.tell());
        assert!(matches!(interrupt.sleep(Duration::from_secs(60)), Err(DemoError::Interrupted)));
        assert!(matches!(interrupt.sleep(Duration::from_secs(60)), Err(DemoError::Interrupted)));

        assert!(start.elapsed() < Duration::from_secs(30));
        teller.join().expect("the teller ends");
        assert_eq!(interrupt.times(), 1);
    }
}
