//! One run, from an empty world to a ring that has got over everything.

use core::time::Duration;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};

use prost_kbr::Time;

use super::schedule::rage;
use super::stage::Stage;
use super::{FaultId, Options, Phase, Verdict};
use crate::Index;
use crate::rule::{Broken, SETTLED};
use crate::world::Act;

/// How often the driver looks whether the ring has become ideal.
const LOOK: Duration = Duration::from_millis(500);
/// By when a ring that grows without faults is ideal after the last join: once the last newcomer has found its place, word
/// of it goes from one predecessor list to the next, one round of stabilisation each.
const FORM_WITHIN: Duration = Duration::from_secs(60);
const ROUND: Duration = Duration::from_secs(10);
/// How long connections without another end go on to do harm. Such a one ends 60 s after the first frame that was sent on it
/// since something was heard (RFC 9000, section 10.1), and that may be sent nearly as long after it was heard; some take until
/// a ping has failed. One that is half open swallows all that is told to its other end, for longer than a lookup may take;
/// one to a clone that has died makes others take its id for dead.
const FORGOTTEN: Duration = Duration::from_secs(130);
/// Lookups by each node at the end.
const LAST_LOOKUPS: usize = 2;
/// How long the ring has to stay ideal to have got over the faults: what was lost or late at their end still comes in for
/// seconds, and has nodes taken for dead.
const CALM: Duration = Duration::from_secs(20);

/// Does the run of a seed.
pub fn run(seed: u64) -> Verdict {
    run_with(Options::from_seed(seed), None)
}

/// Does the run of these options, and writes a line for each input of each node where a trace is asked for. A panic in
/// it is a violation like others.
pub fn run_with(options: Options, trace: Option<Box<dyn Write + Send>>) -> Verdict {
    let routing = options.routing();
    play(Stage::new(options, routing), trace)
}

/// The same with nodes that make an error, if any. More events than `most_events` are a violation: an error can have
/// messages multiply without end.
#[cfg(feature = "planted")]
pub fn run_planted(options: Options, bug: Option<prost_kbr::planted::Bug>, most_events: u64) -> Verdict {
    let routing = prost_kbr::Config { planted: bug, ..options.routing() };
    let mut stage = Stage::new(options, routing);
    stage.most_events = most_events;
    play(stage, None)
}

fn play(mut stage: Stage, trace: Option<Box<dyn Write + Send>>) -> Verdict {
    if let Some(trace) = trace {
        stage.world.trace_to(trace);
    }
    let mut course = Course::default();
    let panic = catch_unwind(AssertUnwindSafe(|| course.play(&mut stage))).err();
    course.end(&stage);
    let mut violations = stage.judge.broken().to_vec();
    violations.extend(panic.map(|panic| panicked(&stage, panic.as_ref())));
    let hash = stage.world.trace_hash();
    Verdict {
        phases: course.phases,
        violations,
        tally: stage.judge.tally(),
        healed_ms: course.healed.map(|time| time.as_millis() as u64),
        virtual_s: stage.now().since(course.begun).as_secs_f64(),
        events: stage.world.events(),
        hash: hash.iter().map(|byte| format!("{byte:02x}")).collect(),
        strikes: stage.strikes,
        options: stage.options,
    }
}

fn panicked(stage: &Stage, panic: &(dyn core::any::Any + Send)) -> Broken {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    let text = format!("panic: {}", text.unwrap_or("without a message"));
    Broken { rule: "H1 no panic".to_owned(), ..Broken::somewhere(stage.now(), text) }
}

type Part = fn(&mut Course, &mut Stage);

/// How far a run has come.
#[derive(Debug, Default)]
struct Course {
    begun: Time,
    phases: Vec<Phase>,
    healed: Option<Duration>,
}

impl Course {
    fn play(&mut self, stage: &mut Stage) {
        self.begun = stage.now();
        let parts: [(&str, Part); 5] = [
            ("warm-up", Course::warm_up),
            ("faults", Course::faults),
            ("heal", Course::heal),
            ("liveness", Course::liveness),
            ("lookups", Course::lookups),
        ];
        for (name, part) in parts {
            if stage.is_broken() {
                return;
            }
            self.end(stage);
            let now = stage.now().as_micros();
            self.phases.push(Phase { name: name.to_owned(), from_us: now, to_us: now });
            part(self, stage);
        }
    }

    /// The part under way lasts until now.
    fn end(&mut self, stage: &Stage) {
        if let Some(phase) = self.phases.last_mut() {
            phase.to_us = stage.now().as_micros();
        }
    }

    /// The ring grows from one node.
    fn warm_up(&mut self, stage: &mut Stage) {
        stage.judge.calm(true);
        let mean = Duration::from_millis(stage.options.join_every_ms);
        for _ in 0..stage.options.nodes {
            stage.start();
            let wait = stage.random.exponential(mean);
            stage.advance(stage.now() + wait);
        }
        await_ideal(stage, FORM_WITHIN + ROUND * stage.options.predecessors as u32);
        stage.advance(stage.now() + SETTLED + LOOK);
    }

    fn faults(&mut self, stage: &mut Stage) {
        stage.judge.calm(false);
        stage.lookups(true);
        rage(stage, stage.now() + stage.options.faults());
    }

    /// Everything that is wrong is put right. Who is dead stays so, or starts again.
    fn heal(&mut self, stage: &mut Stage) {
        stage.lookups(false);
        stage.calm();
        stage.end_clones();
        if [FaultId::HalfOpen, FaultId::Clone].into_iter().any(|id| stage.options.fault(id).is_some()) {
            stage.advance(stage.now() + FORGOTTEN);
        }
        for node in std::mem::take(&mut stage.slow) {
            stage.act(Act::Slow { node, each: Duration::ZERO });
        }
        for node in std::mem::take(&mut stage.drifting) {
            stage.act(Act::Clock { node, jump: 0, drift: 0 });
        }
        while let Some(paused) = stage.live().into_iter().find(|node| stage.world.is_paused(*node)) {
            let later = stage.now() + LOOK;
            stage.advance(later);
            if stage.is_broken() {
                return;
            }
            stage.judge.excuse(paused, later);
        }
        self.bring_back(stage);
    }

    fn bring_back(&mut self, stage: &mut Stage) {
        stage.returning.clear();
        // Pieces of the ring that know nobody of each other have no way together, whatever they do; nor has a process
        // that knows no live member. Whoever runs them gives those outside of the largest piece a better list; where no
        // ring is left at all, someone founds one.
        let members = stage.members();
        let mut pieces = stage.pieces();
        let rank = |piece: &Vec<Index>| (piece.iter().filter(|node| members.contains(node)).count(), piece.len());
        pieces.sort_by_key(|piece| std::cmp::Reverse(rank(piece)));
        for node in pieces.iter().skip(usize::from(!members.is_empty())).flatten() {
            stage.act(Act::Crash { node: *node });
        }
        if let Some(node) = pieces.first().and_then(|piece| piece.first()).filter(|_| members.is_empty()) {
            stage.act(Act::Restart { node: *node, known: Vec::new() });
            stage.advance(stage.now() + LOOK);
        }
        for node in pieces.into_iter().skip(1).flatten() {
            stage.restart(node);
        }
        if stage.options.restart_dead {
            for node in stage.dead.clone() {
                stage.restart(node);
            }
        }
    }

    fn liveness(&mut self, stage: &mut Stage) {
        let begun = stage.now();
        let by = begun + Duration::from_secs(stage.options.heal_within_s);
        loop {
            await_ideal(stage, by.since(stage.now()));
            let healed = stage.now();
            while !stage.is_broken() && stage.judge.is_ideal() && stage.now() < healed + CALM {
                stage.advance(stage.now() + LOOK);
            }
            if stage.is_broken() {
                return;
            }
            if stage.judge.is_ideal() {
                self.healed = Some(healed.since(begun));
                break;
            }
        }
        // From now on it has to stay so.
        stage.judge.calm(true);
        stage.judge.demand_ideal(Some(stage.now()));
    }

    /// Every node asks, and all answers are right: the ring is whole, and no one dies any more.
    fn lookups(&mut self, stage: &mut Stage) {
        // A node whose clock stands still keeps what it asked while the faults struck for as long as that takes.
        while stage.judge.open_lookups() > 0 && !stage.is_broken() {
            stage.advance(stage.now() + LOOK);
        }
        let before = stage.judge.tally();
        for node in stage.live() {
            for _ in 0..LAST_LOOKUPS {
                let key = stage.key();
                stage.ask(node, key);
            }
            // Where one range ends and the next begins: keys that random ones never meet.
            let end = stage.some_id();
            stage.ask(node, end);
            stage.ask(node, end.plus_power(0));
        }
        let end = stage.now() + stage.options.routing().deadline + Duration::from_secs(5);
        while stage.judge.open_lookups() > 0 && stage.now() < end && !stage.is_broken() {
            stage.advance(stage.now() + LOOK);
        }
        let after = stage.judge.tally();
        if after.correct - before.correct != after.asked - before.asked {
            let text = format!("lookups in an ideal ring went wrong: {before:?}, then {after:?}");
            stage.judge.report("R7 right owner", Broken::somewhere(stage.now(), text));
        }
    }
}

/// Lets time pass until the ring is ideal, and demands that this is soon enough.
fn await_ideal(stage: &mut Stage, within: Duration) {
    let by = stage.now() + within;
    stage.judge.demand_ideal(Some(by));
    stage.advance(stage.now() + LOOK);
    while !stage.is_broken() && !stage.judge.is_ideal() {
        stage.advance(stage.now() + LOOK);
    }
    stage.judge.demand_ideal(None);
}
