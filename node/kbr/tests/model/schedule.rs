//! Schedules: a ring, and what happens to it beyond its own course. A schedule is text that can be run again.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::bug::Bug;
use crate::events::Delay;
use crate::invariant;
use crate::world::{Place, World};

/// Virtual time in which a ring must become ideal once it is left alone.
const SETTLES: Duration = Duration::from_secs(300);

/// When the transport of a peer notices that a node has failed. Until then frames to the node vanish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Notice {
    /// At the next occasion.
    Prompt,
    /// When the machines may have found out for themselves.
    Late,
    Never,
}

impl Notice {
    const ALL: [(Notice, &str); 3] = [(Notice::Prompt, "prompt"), (Notice::Late, "late"), (Notice::Never, "never")];

    fn after(self) -> Option<Duration> {
        match self {
            Notice::Prompt => Some(Duration::from_millis(10)),
            Notice::Late => Some(Duration::from_millis(1500)),
            Notice::Never => None,
        }
    }
}

/// What a schedule adds to the course that things take by themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Move {
    Join(Place),
    Fail(Place, Notice),
    /// The next event waits until something else has happened to its node.
    Hold,
    /// The next event takes as long as it may.
    Linger,
}

impl Move {
    pub(crate) fn apply(self, world: &mut World) {
        world.note(|world| format!("{} MOVE {self}", world.clock()));
        match self {
            Move::Join(place) => {
                let members: Vec<Place> = (0..world.members).collect();
                world.join(place, &members);
            }
            Move::Fail(place, notice) => world.fail(place, notice.after()),
            Move::Hold => world.delay(Delay::Next),
            Move::Linger => world.delay(Delay::Longest),
        }
    }

    /// The next node may join, where there is one.
    pub(crate) fn joins(world: &World) -> impl Iterator<Item = Move> + use<> {
        world.nodes.iter().position(|node| !node.started).map(Move::Join).into_iter()
    }

    /// All failures that the operating assumption allows.
    pub(crate) fn fails(world: &mut World) -> impl Iterator<Item = Move> + use<> {
        let places = invariant::allowed_to_fail(world).to_vec();
        places.into_iter().flat_map(|place| Notice::ALL.map(|(notice, _)| Move::Fail(place, notice)))
    }

    /// The next event may come later.
    pub(crate) fn delays(world: &World) -> impl Iterator<Item = Move> + use<> {
        let can_wait = world.due().is_some_and(|due| due.can_wait);
        [Move::Hold, Move::Linger].into_iter().filter(move |_| can_wait)
    }
}

impl fmt::Display for Move {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Move::Join(place) => write!(f, "join {place}"),
            Move::Fail(place, notice) => {
                let name = Notice::ALL.into_iter().find(|(other, _)| other == notice).map_or("", |(_, name)| name);
                write!(f, "fail {place} {name}")
            }
            Move::Hold => f.write_str("hold"),
            Move::Linger => f.write_str("linger"),
        }
    }
}

impl FromStr for Move {
    type Err = String;

    fn from_str(text: &str) -> Result<Move, String> {
        let place = |text: &str| text.parse().map_err(|_| format!("{text} is no place"));
        match text.split_whitespace().collect::<Vec<_>>()[..] {
            ["join", node] => Ok(Move::Join(place(node)?)),
            ["fail", node, notice] => {
                let notice = Notice::ALL.into_iter().find(|(_, name)| *name == notice);
                Ok(Move::Fail(place(node)?, notice.ok_or("no such notice")?.0))
            }
            ["hold"] => Ok(Move::Hold),
            ["linger"] => Ok(Move::Linger),
            _ => Err(format!("{text} is no move")),
        }
    }
}

/// The ring that schedules start from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Start {
    /// Length r of the lists.
    pub(crate) length: usize,
    pub(crate) members: usize,
    /// Where nodes will join, in hundredths of the way from member to member.
    pub(crate) joiners: Vec<u64>,
    /// The error that every machine makes, in tests of the search itself.
    pub(crate) bug: Option<Bug>,
}

impl Start {
    pub(crate) fn world(&self) -> World {
        World::ring(self.length, self.members, &self.joiners, self.bug)
    }
}

/// A start, and moves, each after so many events since the last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Schedule {
    pub(crate) start: Start,
    pub(crate) moves: Vec<(u32, Move)>,
}

impl Schedule {
    /// Runs it to its end, or to where something goes wrong. Gives what happened and what went wrong.
    pub(crate) fn replay(&self) -> (Vec<String>, Result<(), String>) {
        let mut world = self.start.world();
        world.log = Some(Vec::new());
        let result = self.run(&mut world);
        let mut log = world.log.take().unwrap_or_default();
        log.push(invariant::lists(&world));
        (log, result)
    }

    fn run(&self, world: &mut World) -> Result<(), String> {
        for (steps, one) in &self.moves {
            for _ in 0..*steps {
                step(world)?;
            }
            one.apply(world);
            invariant::check(world)?;
        }
        finish(world, |_| {})
    }
}

/// One event of the world's own course.
pub(crate) fn step(world: &mut World) -> Result<(), String> {
    world.step();
    invariant::check(world)
}

/// Leaves the world to its own course until its ring is ideal and nothing is under way that could change that.
/// `each` sees every state.
pub(crate) fn finish(world: &mut World, mut each: impl FnMut(&World)) -> Result<(), String> {
    let end = world.now + SETTLES;
    while !(world.is_quiet() && invariant::is_ideal(world)) {
        if world.now > end {
            return Err("the ring does not become ideal".to_owned());
        }
        step(world)?;
        each(world);
    }
    Ok(())
}

/// As `length/members/joiners: steps move, steps move`.
impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Start { length, members, joiners, .. } = &self.start;
        let joiners: Vec<String> = joiners.iter().map(u64::to_string).collect();
        let moves: Vec<String> = self.moves.iter().map(|(steps, one)| format!("{steps} {one}")).collect();
        write!(f, "{length}/{members}/{}: {}", joiners.join("+"), moves.join(", "))
    }
}

impl FromStr for Schedule {
    type Err = String;

    fn from_str(text: &str) -> Result<Schedule, String> {
        let (start, moves) = text.split_once(": ").ok_or("there is no colon")?;
        let [length, members, joiners] = start.split('/').collect::<Vec<_>>()[..] else {
            return Err(format!("{start} is no start"));
        };
        let number = |text: &str| text.parse::<u64>().map_err(|_| format!("{text} is no number"));
        let joiners = joiners.split('+').filter(|text| !text.is_empty()).map(number).collect::<Result<_, _>>()?;
        let start = Start { length: number(length)? as usize, members: number(members)? as usize, joiners, bug: None };
        let moves = moves.split(", ").filter(|text| !text.is_empty()).map(|text| {
            let (steps, one) = text.split_once(' ').ok_or("a move without steps")?;
            Ok::<_, String>((number(steps)? as u32, one.parse()?))
        });
        Ok(Schedule { start, moves: moves.collect::<Result<_, _>>()? })
    }
}
