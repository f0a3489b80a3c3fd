//! Threads, each with a runtime, that can say how much processor time they have used.

use std::future::Future;
use std::time::{Duration, Instant};

use rustix::thread::{CpuSet, Pid, gettid, sched_getaffinity, sched_setaffinity};
use rustix::time::{ClockId, clock_gettime};
use tokio::runtime::LocalRuntime;
use tokio::sync::{mpsc, oneshot};
use tokio::task::spawn_local;

use crate::table::Sample;

/// A thread, to be placed and asked for its processor time from outside.
#[derive(Debug)]
pub(crate) struct Meter {
    thread: Pid,
    asks: mpsc::UnboundedSender<oneshot::Sender<Duration>>,
}

impl Meter {
    /// What the thread has used so far.
    pub(crate) fn read(&self) -> Duration {
        let (reply, answer) = oneshot::channel();
        self.asks.send(reply).expect("the thread runs");
        answer.blocking_recv().expect("the thread runs")
    }

    /// What it uses while `work` is done.
    pub(crate) fn sample(&self, count: u64, work: impl FnOnce()) -> Sample {
        let (cpu, begun) = (self.read(), Instant::now());
        work();
        let took = begun.elapsed();
        Sample { count, took, cpu: self.read() - cpu }
    }
}

/// Runs a future on a thread of its own, as long as the process lives or until it ends.
pub(crate) fn spawn<F: Future<Output = ()> + 'static>(name: &str, make: impl FnOnce() -> F + Send + 'static) -> Meter {
    let (sender, mut asked) = mpsc::unbounded_channel::<oneshot::Sender<Duration>>();
    let (tell, told) = oneshot::channel();
    let run = move || {
        tell.send(gettid()).expect("the main thread waits");
        LocalRuntime::new().expect("a runtime").block_on(async move {
            spawn_local(async move {
                while let Some(reply) = asked.recv().await {
                    // Who asked has gone.
                    let _ = reply.send(used());
                }
            });
            // To wake what `block_on` itself polls takes a system call; to wake a task does not.
            spawn_local(make()).await.expect("the thread's work ends well");
        });
    };
    std::thread::Builder::new().name(name.to_owned()).spawn(run).expect("a thread");
    Meter { thread: told.blocking_recv().expect("the thread starts"), asks: sender }
}

/// Where two threads run that wait for each other in turn. Left to the system it changes from one moment to the next,
/// and to wake a thread on another core may cost more than all else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Placement {
    /// Where the system likes.
    Free,
    /// On one core.
    Together,
    /// On a core each, where there are two.
    Apart,
}

/// Places two threads.
pub(crate) fn place(threads: [&Meter; 2], placement: Placement) {
    let all = sched_getaffinity(None).expect("the main thread may run somewhere");
    let cores: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|core| all.is_set(*core)).collect();
    let (first, last) = (cores[0], cores[cores.len() - 1]);
    let chosen = match placement {
        Placement::Free => [None, None],
        Placement::Together => [Some(first), Some(first)],
        Placement::Apart => [Some(first), Some(last)],
    };
    for (thread, core) in threads.into_iter().zip(chosen) {
        let mut set = all;
        if let Some(core) = core {
            set.clear();
            set.set(core);
        }
        sched_setaffinity(Some(thread.thread), &set).expect("a thread may be placed");
    }
}

fn used() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).expect("it does not run backwards")
}

/// An order for a thread, answered when it has been carried out.
#[derive(Debug)]
pub(crate) struct Order<T> {
    pub(crate) what: T,
    pub(crate) count: u64,
    pub(crate) window: u64,
    pub(crate) done: oneshot::Sender<()>,
}

/// Where a thread takes its orders.
pub(crate) type Orders<T> = mpsc::UnboundedReceiver<Order<T>>;

/// Who gives them.
#[derive(Debug)]
pub(crate) struct Orderer<T>(mpsc::UnboundedSender<Order<T>>);

impl<T> Orderer<T> {
    /// Gives an order; the answer comes when it has been carried out.
    pub(crate) fn give(&self, what: T, count: u64, window: u64) -> oneshot::Receiver<()> {
        let (done, answer) = oneshot::channel();
        assert!(self.0.send(Order { what, count, window, done }).is_ok(), "the thread runs");
        answer
    }
}

pub(crate) fn orders<T>() -> (Orderer<T>, Orders<T>) {
    let (sender, receiver) = mpsc::unbounded_channel();
    (Orderer(sender), receiver)
}
