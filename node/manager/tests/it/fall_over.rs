//! Every pattern of denial among the nodes of a replica set, and a crash of each node involved at every step of a message's
//! way: the message is handled by the first replica that lives and will, once, or its origin is told in time why none did.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use prost_contract::{Event, Outcome as Ended};
use prost_kbr::{AppId, Config, Dispatch, Failure, Header, NodeId, Outcome, Refusal, Time};
use prost_manager::Input;
use prost_package::Package;

use crate::packages::{all_but, app_of, draft};
use crate::world::{Code, Seen, Step, World};

const NODES: usize = 16;
/// Where the message starts, one hop too far from the replicas to know them.
const ORIGIN: usize = 13;
/// The replicas of its key, in order.
const REPLICAS: [usize; 5] = [5, 6, 7, 8, 9];
/// Who has the code: enough for any replica to know one, whoever dies. Those who have not and are no replicas deny it.
const HAVE: [usize; 6] = [0, 1, 2, 3, 4, 11];
/// Time of a message from its start to its outcome.
const DEADLINE: Duration = Duration::from_secs(15);
/// How much longer is looked at what comes of it.
const AFTER: Duration = Duration::from_secs(3);
/// Bytes of the component: two chunks.
const COMPONENT: usize = 40_000;
/// Most bytes of all frames that fetch the code once: package, questions, heads of frames.
const FETCHED: usize = COMPONENT + 2_000;
/// Most hops that carry a message: a second attempt takes those of the first again, and a refused one goes to each replica.
const HOPS: usize = 2 * (NODES / 2 + REPLICAS.len());

/// Some patterns: nobody denies, everybody does, and in between.
pub(crate) const SOME: [u32; 5] = [0b00000, 0b00001, 0b00111, 0b01011, 0b11111];

/// What is to go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Case {
    /// A bit for each replica that denies.
    denies: u32,
    /// The node that dies, and after how many steps.
    crash: Option<(usize, usize)>,
}

/// What came of it.
struct Played {
    world: World,
    app: AppId,
    case: Case,
    sent: Time,
    died: Option<Time>,
}

/// A ring whose nodes may make an error.
fn config(bug: Option<Bug>) -> Config {
    let list = REPLICAS.len();
    let config = Config { successors: list, predecessors: list, fall_over: list, connections: 8, ..Config::default() };
    with_bug(config, bug)
}

#[cfg(feature = "planted")]
use prost_kbr::planted::Bug;
#[cfg(feature = "planted")]
fn with_bug(config: Config, planted: Option<Bug>) -> Config {
    Config { planted, ..config }
}

/// None can be planted.
#[cfg(not(feature = "planted"))]
#[derive(Debug, Clone, Copy)]
pub(crate) enum Bug {}
#[cfg(not(feature = "planted"))]
fn with_bug(config: Config, _: Option<Bug>) -> Config {
    config
}

/// A ring in which those who have the code run it.
fn ring(bug: Option<Bug>) -> World {
    let mut world = World::of(1, NODES, config(bug));
    let package = package();
    for at in HAVE {
        world.start_install(at, &package);
    }
    world.run_for(Duration::from_secs(1));
    assert!(HAVE.iter().all(|at| world.host(*at).runs(&app_of(&package))));
    world
}

fn package() -> Package {
    draft("echo").component(&[("init", "put boot")], COMPONENT).sign()
}

/// The message sets out in a ring whose nodes deny it or not.
fn send(mut world: World, case: Case) -> Played {
    for at in (0..NODES).filter(|at| case.denies(*at)) {
        world.set_policy(at, all_but("echo"));
    }
    world.steps.clear();
    let (app, sent) = (app_of(&package()), world.now);
    let header = Header { app: app.clone(), locator: String::new() };
    let (key, payload) = (world.key_of(REPLICAS[0]), Bytes::from_static(b"put x"));
    world.give(ORIGIN, Input::Route { request: 1, header, key, dispatch: Dispatch::EndNode, payload });
    Played { world, app, case, sent, died: None }
}

impl Case {
    fn denies(self, at: usize) -> bool {
        match REPLICAS.iter().position(|replica| *replica == at) {
            Some(bit) => self.denies & 1 << bit != 0,
            None => !HAVE.contains(&at),
        }
    }
}

impl Played {
    fn fork(&self) -> Played {
        Played { world: self.world.fork(), app: self.app.clone(), ..*self }
    }

    /// Goes on until so many steps have been taken; says whether there are as many.
    fn reach(&mut self, steps: usize) -> bool {
        let rest = (self.sent + DEADLINE).since(self.world.now);
        self.world.run_until(rest, |world| world.steps.len() >= steps || is_told(world));
        !is_told(&self.world)
    }

    /// Goes on until the message has ended, and for a while after that.
    fn finish(&mut self) {
        let rest = (self.sent + DEADLINE).since(self.world.now);
        self.world.run_until(rest, is_told);
        self.world.run_for(AFTER);
    }

    fn crash(&mut self, victim: usize, step: usize) {
        self.case.crash = Some((victim, step));
        self.died = Some(self.world.now);
        self.world.crash(self.world.id(victim));
    }

    fn place(&self, node: NodeId) -> usize {
        (0..NODES).find(|at| self.world.id(*at) == node).expect("a node of the ring")
    }

    fn lives(&self, at: usize) -> bool {
        self.world.host(at).is_alive()
    }

    /// Whether a node was dead at this time.
    fn was_dead(&self, at: usize, when: Time) -> bool {
        !self.lives(at) && self.died.is_some_and(|died| died <= when)
    }

    /// Where the message was handled, and when.
    fn handled(&self) -> Vec<(usize, Time)> {
        let mut handled = Vec::new();
        for at in 0..NODES {
            let each = self.world.host(at).journal.iter().filter(|(_, seen)| {
                matches!(seen, Seen::Ran(_, Event::Deliver(message), Ended::Done) if message.payload == "put x")
            });
            handled.extend(each.map(|(when, _)| (at, *when)));
        }
        handled
    }

    fn outcomes(&self) -> Vec<(Time, &Outcome)> {
        let journal = self.world.host(ORIGIN).journal.iter();
        let each = journal.filter_map(|(when, seen)| match seen {
            Seen::Routed(1, outcome) => Some((*when, outcome)),
            _ => None,
        });
        each.collect()
    }

    /// What is wrong, if anything is.
    fn judge(&self) -> Result<(), String> {
        self.who_denies_is_untouched()?;
        self.handled_by_the_first_willing()?;
        self.handled_once()?;
        self.one_outcome_in_time()?;
        self.bounded()
    }

    fn who_denies_is_untouched(&self) -> Result<(), String> {
        let touched = |at: &usize| {
            let host = self.world.host(*at);
            let saved = host.seen(|seen| matches!(seen, Seen::Saved(_) | Seen::Ran(..)));
            host.asked() + host.compiled() + saved > 0 || host.status(&self.app).is_some()
        };
        let denying = (0..NODES).filter(|at| self.case.denies(*at)).find(touched);
        denying.map_or(Ok(()), |at| Err(format!("node {at} denies it, and has asked for its code or kept it")))
    }

    /// Nobody before who handled it lived and would have.
    fn handled_by_the_first_willing(&self) -> Result<(), String> {
        for (at, when) in self.handled() {
            let Some(rank) = REPLICAS.iter().position(|replica| *replica == at) else {
                return Err(format!("node {at} is no replica, and handled it"));
            };
            let skipped =
                REPLICAS[..rank].iter().find(|first| !self.case.denies(**first) && !self.was_dead(**first, when));
            if let Some(skipped) = skipped {
                return Err(format!("node {at} handled it, and node {skipped} lived and would have"));
            }
        }
        Ok(())
    }

    /// Who dies takes along what it has done: then it may be done again.
    fn handled_once(&self) -> Result<(), String> {
        let handled = self.handled();
        let mut nodes: Vec<usize> = handled.iter().map(|(at, _)| *at).collect();
        nodes.dedup();
        let alive = nodes.iter().filter(|at| self.lives(**at)).count();
        if nodes.len() != handled.len() || alive > 1 {
            return Err(format!("handled more than once: {handled:?}"));
        }
        Ok(())
    }

    fn one_outcome_in_time(&self) -> Result<(), String> {
        let outcomes = self.outcomes();
        if !self.lives(ORIGIN) {
            return if outcomes.len() <= 1 { Ok(()) } else { Err(format!("{outcomes:?}")) };
        }
        let [(when, outcome)] = &outcomes[..] else { return Err(format!("not one outcome: {outcomes:?}")) };
        if when.since(self.sent) >= DEADLINE {
            return Err(format!("too late: {outcome:?}"));
        }
        match &outcome.result {
            Ok(by) if self.handled().iter().any(|(at, _)| *at == self.place(by.id)) => Ok(()),
            Ok(by) => Err(format!("node {} is said to have handled it", self.place(by.id))),
            Err(Failure::NoWillingNode(reasons)) => self.nobody_would(reasons),
            Err(failure) => Err(failure.to_string()),
        }
    }

    /// All replicas that live have denied it, each once.
    fn nobody_would(&self, reasons: &[(NodeId, Refusal)]) -> Result<(), String> {
        let wrong = |what: &str| Err(format!("{what}: {reasons:?}"));
        let said: Vec<usize> = reasons.iter().map(|(node, _)| self.place(*node)).collect();
        if said.len() > REPLICAS.len() || said.iter().collect::<BTreeSet<_>>().len() != said.len() {
            return wrong("too many were asked, or one twice");
        }
        if !said.is_sorted() {
            return wrong("not in the order of the replica set");
        }
        if reasons.iter().any(|(_, refusal)| *refusal != Refusal::Denied)
            || said.iter().any(|at| !self.case.denies(*at))
        {
            return wrong("that is not why");
        }
        let missing = REPLICAS.iter().find(|at| self.lives(**at) && !said.contains(at));
        missing.map_or(Ok(()), |at| wrong(&format!("node {at} was not asked")))
    }

    /// Each node fetches the code once at a time, at most as many as there are replicas do, and the message goes round for
    /// no longer than it must.
    fn bounded(&self) -> Result<(), String> {
        for at in 0..NODES {
            let mut asked = BTreeSet::new();
            let twice = self.world.host(at).journal.iter().find(|(_, seen)| match seen {
                Seen::Asked(to, Code::GetChunk { offset, .. }) => !asked.insert((*to, *offset)),
                Seen::Asked(to, Code::GetManifest { .. }) => !asked.insert((*to, u64::MAX)),
                _ => false,
            });
            if let Some((_, twice)) = twice {
                return Err(format!("node {at} has asked twice: {twice:?}"));
            }
        }
        let fetched = REPLICAS.iter().filter(|at| self.world.host(**at).asked() > 0).count();
        let bytes: usize = self
            .world
            .steps
            .iter()
            .filter_map(|(_, step)| if let Step::Code(bytes) = step { Some(bytes) } else { None })
            .sum();
        if bytes > fetched * FETCHED * 2 {
            return Err(format!("{fetched} nodes have fetched it, with {bytes} bytes"));
        }
        let hops = self.world.steps.iter().filter(|(_, step)| *step == Step::Message).count();
        if hops > HOPS { Err(format!("it took {hops} hops")) } else { Ok(()) }
    }
}

fn is_told(world: &World) -> bool {
    world.host(ORIGIN).journal.iter().any(|(_, seen)| matches!(seen, Seen::Routed(1, _)))
}

/// The course of a pattern without a crash, and with a crash of each node involved after each of its steps. Gives how many
/// that are, or the first that goes wrong.
fn explore(ring: &World, denies: u32) -> Result<usize, (Case, String)> {
    let judge = |mut played: Played| {
        played.finish();
        played.judge().map_err(|what| (played.case, what)).map(|()| played)
    };
    let mut course = send(ring.fork(), Case { denies, crash: None });
    let calm = judge(course.fork())?;
    let mut involved: BTreeSet<usize> = calm.world.steps.iter().map(|(node, _)| calm.place(*node)).collect();
    involved.extend(REPLICAS);
    involved.insert(ORIGIN);
    let (mut count, mut step) = (1, 0);
    while course.reach(step) {
        for victim in &involved {
            let mut crashed = course.fork();
            crashed.crash(*victim, step);
            judge(crashed)?;
            count += 1;
        }
        step = course.world.steps.len() + 1;
    }
    Ok(count)
}

/// Explores patterns over all cores until a case goes wrong; gives how many went well, and the wrong one.
pub(crate) fn search(patterns: &[u32], bug: Option<Bug>) -> (usize, Option<(Case, String)>) {
    let (next, count, found) = (AtomicUsize::new(0), AtomicUsize::new(0), Mutex::new(None));
    let worker = || {
        let ring = ring(bug);
        while let Some(denies) = patterns.get(next.fetch_add(1, Ordering::Relaxed)) {
            match explore(&ring, *denies) {
                Ok(cases) => _ = count.fetch_add(cases, Ordering::Relaxed),
                Err(wrong) => {
                    *found.lock().expect("no worker panics") = Some(wrong);
                    next.store(patterns.len(), Ordering::Relaxed);
                }
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(worker);
        }
    });
    (count.into_inner(), found.into_inner().expect("no worker panics"))
}

#[test]
fn every_pattern_of_denial_with_a_crash_at_every_step() {
    let all: Vec<u32> = (0..1 << REPLICAS.len()).collect();
    // Without optimisation all take more than a minute.
    let patterns = if cfg!(debug_assertions) { &SOME[..] } else { &all[..] };
    let (count, found) = search(patterns, None);
    assert!(found.is_none(), "{found:?}");
    assert!(count > 100 * patterns.len(), "{count} cases");
}
