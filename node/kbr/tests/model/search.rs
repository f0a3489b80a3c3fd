//! The search: every schedule of so many joins, failures and delays.
//!
//! Schedules are bounded by their delays (Emmi, Qadeer and Rakamaric, "Delay-bounded scheduling", POPL 2011): things
//! take their own course but for a few events that come later than they would. A delay counts against its node, so
//! that interleavings no node can tell from each other are searched once.

use std::collections::BTreeSet;
use std::fmt;

use crate::invariant;
use crate::schedule::{Move, Schedule, Start, finish, step};
use crate::signature;
use crate::world::World;

/// What a schedule may still do.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) joins: u32,
    pub(crate) fails: u32,
    pub(crate) delays: u32,
    /// The next move comes within this many events.
    pub(crate) lead: u32,
    /// What `lead` becomes with each join and each failure.
    pub(crate) window: u32,
}

impl Bounds {
    /// All moves that a state and these bounds allow, each with the bounds that remain after it and `taken` events.
    fn moves(self, world: &mut World, taken: u32, begun: bool) -> Vec<(Move, Bounds)> {
        let mut moves = Vec::new();
        let renewed = Bounds { lead: self.window, ..self };
        if self.joins > 0 {
            let after = Bounds { joins: self.joins - 1, ..renewed };
            moves.extend(Move::joins(world).map(|one| (one, after)));
        }
        if self.fails > 0 {
            let after = Bounds { fails: self.fails - 1, ..renewed };
            moves.extend(Move::fails(world).map(|one| (one, after)));
        }
        // Before anything has happened a delay only shifts the rounds of a ring that does not change.
        if self.delays > 0 && begun {
            let after = Bounds { delays: self.delays - 1, lead: self.lead - taken, ..self };
            moves.extend(Move::delays(world).map(|one| (one, after)));
        }
        moves
    }

    fn is_spent(self) -> bool {
        self.joins + self.fails + self.delays == 0
    }

    fn hash(self) -> u64 {
        let actions = signature::mix(u64::from(self.joins), u64::from(self.fails));
        signature::mix(actions, signature::mix(u64::from(self.delays), u64::from(self.lead)))
    }
}

/// How much has been searched.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Tally {
    /// Schedules run to their end.
    pub(crate) schedules: u64,
    /// Schedules that had led to a state that was searched already.
    pub(crate) repeated: u64,
    /// Different states, counted anew by each search.
    pub(crate) states: u64,
    pub(crate) transitions: u64,
    pub(crate) joins: u64,
    pub(crate) fails: u64,
    pub(crate) delays: u64,
}

impl Tally {
    pub(crate) fn add(&mut self, other: Tally) {
        self.schedules += other.schedules;
        self.repeated += other.repeated;
        self.states += other.states;
        self.transitions += other.transitions;
        self.joins += other.joins;
        self.fails += other.fails;
        self.delays += other.delays;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tally { schedules, repeated, states, transitions, joins, fails, delays } = self;
        write!(f, "{schedules} schedules ({repeated} more led to searched states), {states} states, ")?;
        write!(f, "{transitions} transitions, {joins} joins, {fails} failures, {delays} delays")
    }
}

struct Search {
    tally: Tally,
    moves: Vec<(u32, Move)>,
    /// States with what may still happen in them.
    searched: BTreeSet<u64>,
    states: BTreeSet<u64>,
}

/// Searches all schedules from a start. A violation is a schedule and what it breaks.
pub(crate) fn search(start: &Start, bounds: Bounds) -> (Tally, Result<(), (Schedule, String)>) {
    let mut search =
        Search { tally: Tally::default(), moves: Vec::new(), searched: BTreeSet::new(), states: BTreeSet::new() };
    let result = search.explore(start.world(), bounds, false);
    search.tally.states = search.states.len() as u64;
    let schedule = Schedule { start: start.clone(), moves: search.moves };
    (search.tally, result.map_err(|what| (schedule, what)))
}

impl Search {
    /// Where it fails, the moves that led there remain.
    fn explore(&mut self, mut world: World, bounds: Bounds, begun: bool) -> Result<(), String> {
        if !self.searched.insert(signature::mix(signature::of(&world), bounds.hash())) {
            self.tally.repeated += 1;
            return Ok(());
        }
        let steps = if bounds.is_spent() { 0 } else { bounds.lead };
        for taken in 0..steps {
            for (one, after) in bounds.moves(&mut world, taken, begun) {
                self.moves.push((taken, one));
                self.explore_move(world.clone(), one, after)?;
                self.moves.pop();
            }
            step(&mut world)?;
            self.count(&world);
        }
        self.tally.schedules += 1;
        finish(&mut world, |world| self.count(world))
    }

    fn explore_move(&mut self, mut world: World, one: Move, after: Bounds) -> Result<(), String> {
        match one {
            Move::Join(_) => self.tally.joins += 1,
            Move::Fail(..) => self.tally.fails += 1,
            Move::Hold | Move::Linger => self.tally.delays += 1,
        }
        one.apply(&mut world);
        invariant::check(&mut world)?;
        self.explore(world, after, true)
    }

    fn count(&mut self, world: &World) {
        self.tally.transitions += 1;
        self.states.insert(signature::of(world));
    }
}
