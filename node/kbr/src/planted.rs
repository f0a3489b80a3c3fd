//! Errors that a test can plant, here and in the layer above, to see that rules and searches find them. They can be
//! planted with the feature `planted` alone; without it [`Config::has`] is `false` at compile time, and nothing of them
//! remains.

use crate::config::Config;

/// An error, made in one place.
///
/// Those of the ring are errors of published Chord or of implementations of it. "Zave 2012" is "Using Lightweight
/// Modeling to Understand Chord" (ACM CCR 42(2)), "Zave 2017" is "Reasoning about Identifier Spaces" (IEEE TSE 43(12)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bug {
    /// Stabilise takes the successor's predecessor for its successor before that has answered (Stoica et al., SIGCOMM
    /// 2001, figure 7; Zave 2012).
    UnheardSuccessor,
    /// Stabilise does not copy the successor's list, so that lists shrink with each death (Zave 2012: reconcile and
    /// update as separate steps).
    ListNotCopied,
    /// A newcomer has the successor and no more of its list (Zave 2017: join must adopt the whole list).
    JoinsWithOne,
    /// A newcomer takes the successor of whoever it asks, wherever that is (Zave 2012: ordered merges).
    JoinsAnywhere,
    /// When its first successor dies, a node drops the others too and is its own successor (Stoica et al., SIGCOMM 2001:
    /// one successor).
    FallsBackToSelf,
    /// Rectify believes any notifier, also one that is farther than a predecessor that lives.
    AnyNotifier,
    /// A predecessor that is dead keeps its place: rectify without the liveness check and without flush (Zave 2012).
    DeadPredecessorStays,
    /// A notification of a node that has no predecessor is ignored (a defect of the Chord that comes with Verdi).
    FirstNotifierIgnored,
    /// A process that has been started again answers for its place before it has joined (Zave 2012: a node that joins
    /// again under its old id).
    OutsiderAnswers,
    /// A node answers for `[predecessor, self)`.
    ClosedOpenRange,
    /// A node that knows no predecessor answers for the whole ring (Stoica et al., SIGCOMM 2001: `nil`).
    OwnsAllWithoutPredecessor,
    /// Where the key lies between the previous hop and here, it is believed to be this node's (Stoica et al., SIGCOMM
    /// 2001: `find_successor` answers for the successor).
    PreviousHopsWord,
    /// The predecessor list is not cut.
    UncutPredecessors,
    /// A finger is used before it has answered.
    UnprovenFinger,
    /// Hops are not counted, so that nothing ends the way of a message that runs in circles.
    HopsNotCounted,
    /// The retransmission timeout is a quarter of a second for everybody (Rhea et al., USENIX 2004).
    FixedTimeout,
    /// A node that has missed one answer is dead (Rhea et al., USENIX 2004: without the second chance).
    NoSecondChance,
    /// A node that was suspect once is never trusted again.
    SuspectForEver,
    /// Messages are not acknowledged.
    NoAcknowledgement,
    /// A deadline passes in silence.
    NoDeadline,
    /// Dead nodes are not remembered, and nobody met before is asked either, so that parts of a ring that was cut do not find
    /// each other.
    ForgetsTheDead,
    /// A round of stabilisation with a question that stays unanswered is the last.
    RoundNotResumed,
    /// A message that was refused goes to the last node of the replica set next.
    LastReplicaNext,
    /// A message that was refused takes along no more than the last refusal.
    RefusalsNotCarried,
    /// A second attempt ends in silence at a node that has refused the first.
    SecondAttemptDropped,
    /// A message that comes once more is delivered once more.
    DeliversAgain,
    /// A keyed write counts as done as soon as the node that made it has it, and is copied with the next comparison.
    AcknowledgedAlone,
    /// A node answers for a range before it has the records of those that had it before.
    ServedBeforeHandOver,
    /// A node that leaves takes its records along.
    LeavesWithRecords,
    /// Ranges are not compared with successors, so that no copies are made after a death.
    NotRepaired,
    /// Copies that belong elsewhere stay.
    StraysKept,
    /// Records that the disk has damaged are not looked for.
    RotNotRepaired,
}

#[cfg(feature = "planted")]
impl Bug {
    /// Every one that a ring without applications shows.
    pub const ALL: [Bug; 22] = [
        Bug::UnheardSuccessor,
        Bug::ListNotCopied,
        Bug::JoinsWithOne,
        Bug::JoinsAnywhere,
        Bug::FallsBackToSelf,
        Bug::AnyNotifier,
        Bug::DeadPredecessorStays,
        Bug::FirstNotifierIgnored,
        Bug::OutsiderAnswers,
        Bug::ClosedOpenRange,
        Bug::OwnsAllWithoutPredecessor,
        Bug::PreviousHopsWord,
        Bug::UncutPredecessors,
        Bug::UnprovenFinger,
        Bug::HopsNotCounted,
        Bug::FixedTimeout,
        Bug::NoSecondChance,
        Bug::SuspectForEver,
        Bug::NoAcknowledgement,
        Bug::NoDeadline,
        Bug::ForgetsTheDead,
        Bug::RoundNotResumed,
    ];
    /// Those of messages that applications refuse.
    pub const OF_FALL_OVER: [Bug; 4] =
        [Bug::LastReplicaNext, Bug::RefusalsNotCarried, Bug::SecondAttemptDropped, Bug::DeliversAgain];
    /// Those of keyed records, which the layer above makes.
    pub const OF_RECORDS: [Bug; 6] = [
        Bug::AcknowledgedAlone,
        Bug::ServedBeforeHandOver,
        Bug::LeavesWithRecords,
        Bug::NotRepaired,
        Bug::StraysKept,
        Bug::RotNotRepaired,
    ];
}

impl Config {
    /// Whether this error is planted.
    #[cfg(feature = "planted")]
    pub fn has(&self, bug: Bug) -> bool {
        self.planted == Some(bug)
    }

    /// No error is planted.
    #[cfg(not(feature = "planted"))]
    pub const fn has(&self, _: Bug) -> bool {
        false
    }
}
