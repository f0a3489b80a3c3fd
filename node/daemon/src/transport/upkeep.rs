//! Looks after the connections once a second.

use std::rc::Rc;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};

use super::code::CloseCode;
use super::inbox::Arrival;
use super::links::{Link, Shared};
use super::live::Live;
use super::stats::Refused;

/// Reports round-trip times, closes what is idle or stalled, and forgets peers that nothing is known of.
pub(super) async fn look_after(shared: Rc<Shared>) {
    let mut ticks = interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let now = Instant::now();
        let links = &mut *shared.links.borrow_mut();
        links.retain(|_, link| !link.is_spent(now));
        for (id, link) in links.iter_mut() {
            let Some(live) = &link.live else { continue };
            if !shared.inbox.is_full() {
                shared.inbox.push(Arrival::RoundTrip { id: *id, rtt: live.connection.rtt() }, 0);
            }
            check(&shared, link, now);
        }
        shared.inbox.wake();
    }
}

fn check(shared: &Shared, link: &mut Link, now: Instant) {
    let (wanted, sent) = (link.wanted, link.outbox.frames());
    let Some(live) = &mut link.live else { return };
    let said = sent + live.received();
    live.released = live.released.filter(|(_, then)| *then == said);
    let released = live.released.is_some_and(|(since, _)| now - since >= shared.limits.released);
    if live.is_stalled(now, shared) {
        shared.stats.refuse(Refused::Stalled);
        CloseCode::Timeout.close(&live.connection);
    } else if (live.quiet_for(now, said) >= shared.limits.idle || released) && !wanted {
        CloseCode::Idle.close(&live.connection);
    }
}

/// What was last seen of a connection, and when it was other.
#[derive(Debug)]
pub(super) struct Watch {
    said: (u64, Instant),
    streams: [StreamWatch; 3],
}

/// What was last seen of a stream.
#[derive(Debug, Clone, Copy)]
struct StreamWatch {
    reads: u64,
    read_at: Instant,
    frames: u64,
    frame_at: Instant,
}

impl Default for Watch {
    fn default() -> Watch {
        let now = Instant::now();
        let stream = StreamWatch { reads: 0, read_at: now, frames: 0, frame_at: now };
        Watch { said: (0, now), streams: [stream; 3] }
    }
}

impl Live {
    /// How long neither side has sent a frame.
    fn quiet_for(&mut self, now: Instant, said: u64) -> Duration {
        if self.watch.said.0 != said {
            self.watch.said = (said, now);
        }
        now - self.watch.said.1
    }

    /// Frames that have arrived.
    pub(super) fn received(&self) -> u64 {
        self.progress.streams.iter().map(|stream| stream.frames.get()).sum()
    }

    /// Whether the peer has begun a frame and does not get on with it.
    fn is_stalled(&mut self, now: Instant, shared: &Shared) -> bool {
        let mut stalled = false;
        for (stream, seen) in self.progress.streams.iter().zip(&mut self.watch.streams) {
            let waits = stream.partial.get();
            if seen.reads != stream.reads.get() || !waits {
                (seen.reads, seen.read_at) = (stream.reads.get(), now);
            }
            if seen.frames != stream.frames.get() || !waits {
                (seen.frames, seen.frame_at) = (stream.frames.get(), now);
            }
            stalled |= now - seen.read_at >= shared.limits.stall || now - seen.frame_at >= shared.limits.frame;
        }
        stalled
    }
}

const PERIOD: Duration = Duration::from_secs(1);
