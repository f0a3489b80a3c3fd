//! Comparing the keyed records of a range with one peer, and copying what differs: one question at a time, down a tree
//! of ranges whose digests differ (as the Merkle trees of DHash's maintenance, Cates 2003), to lists of records.
//!
//! It is all on one side: the peer answers questions and keeps nothing in mind.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use prost_contract::{Change, Entry, Point, Sum};
use prost_kbr::{AppId, Interval, Peer};

use super::frame::{Ask, MAX_ENTRIES, MAX_RECORDS, NotStored, Record, Tell};
use super::look::{Found, Look, is_after};
use crate::content::is_live;

/// How often a question is asked again where no answer comes.
const MAX_REPEATS: u32 = 2;
/// How often a peer that is still installing the application is asked again.
const MAX_PAUSES: u32 = 60;
/// How long after it has said so.
const PAUSE: Duration = Duration::from_millis(400);

/// What a session does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mode {
    /// What it takes of what is newer at the peer.
    pub(crate) pull: Pull,
    /// Gives it what is newer here.
    pub(crate) push: bool,
}

/// What is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pull {
    Nothing,
    /// The records of applications, for which messages wait: code can come later.
    Records,
    /// Pieces of code, where no application keeps records.
    Code,
    All,
}

impl Mode {
    pub(crate) const PULL: Mode = Mode { pull: Pull::Records, push: false };
    pub(crate) const PUSH: Mode = Mode { pull: Pull::Nothing, push: true };
    pub(crate) const BOTH: Mode = Mode { pull: Pull::All, push: true };
    pub(crate) const CODE: Mode = Mode { pull: Pull::Code, push: true };

    fn pulls(self, app: &AppId) -> bool {
        match self.pull {
            Pull::Nothing => false,
            Pull::Records => !app.name.is_reserved(),
            Pull::Code => app.name.is_reserved(),
            Pull::All => true,
        }
    }
}

/// What a session wants done next. There is always one such thing under way until it is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Do {
    /// Ask the peer.
    Ask(Ask),
    /// Ask the store.
    Look(Look),
    /// Have the application installed here, if policy lets it.
    Need(AppId),
    /// Make these durable.
    Keep { app: AppId, changes: Vec<Change> },
    /// Come back after this long.
    Pause(Duration),
    /// It is over; whether all that was to be compared is equal now.
    End(bool),
}

/// What has come of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Got {
    /// The peer's answer.
    Tell(Tell),
    /// The peer has not answered.
    Silence,
    /// The store's answer.
    Found(Found),
    /// Whether the application can keep records here.
    Ready(bool),
    /// Whether they are durable.
    Kept(bool),
    /// The pause is over.
    Woken,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Task {
    Compare { app: AppId, range: Interval, most: u64 },
    List { app: AppId, range: Interval, after: Option<Point> },
    Fetch { app: AppId, points: Vec<Point> },
    Give { app: AppId, points: Vec<Point> },
}

impl Task {
    fn app(&self) -> &AppId {
        match self {
            Task::Compare { app, .. } | Task::List { app, .. } | Task::Fetch { app, .. } | Task::Give { app, .. } => {
                app
            }
        }
    }
}

/// What is waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Stage {
    TheirSummary,
    OurSummary(Vec<(AppId, Sum)>),
    Ready(Task),
    TheirParts { app: AppId, range: Interval },
    OurSums { app: AppId, parts: Vec<(Interval, Sum)> },
    TheirEntries { app: AppId, range: Interval, after: Option<Point> },
    OurEntries { app: AppId, range: Interval, theirs: Vec<Entry>, more: bool },
    TheirRecords { app: AppId, points: Vec<Point> },
    Keeping,
    OurRecords { app: AppId, points: Vec<Point> },
    Storing { app: AppId },
}

/// One comparison.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    pub(crate) peer: Peer,
    pub(crate) range: Interval,
    mode: Mode,
    /// The applications to give, or where it only takes, to take; none for all.
    apps: Option<BTreeSet<AppId>>,
    now_ms: u64,
    todo: VecDeque<Task>,
    stage: Stage,
    /// The question under way.
    asked: Ask,
    repeats: u32,
    pauses: u32,
    /// Applications that are ready here.
    ready: BTreeSet<AppId>,
    /// Those of which nothing is taken here although some is given.
    unwanted: BTreeSet<AppId>,
    /// Why the peer does not keep the records of these.
    pub(crate) refused: BTreeMap<AppId, NotStored>,
    /// Something could not be done that should have been.
    incomplete: bool,
    pub(crate) given: u64,
}

impl Session {
    /// Compares all records of a range; of those it gives, or where it only takes, of those it takes, only these
    /// applications'.
    pub(crate) fn new(peer: Peer, range: Interval, mode: Mode, apps: Option<BTreeSet<AppId>>) -> (Session, Do) {
        let asked = Ask::Summary { range: range.into() };
        let session = Session {
            peer,
            range,
            mode,
            apps,
            now_ms: 0,
            todo: VecDeque::new(),
            stage: Stage::TheirSummary,
            asked: asked.clone(),
            repeats: 0,
            pauses: 0,
            ready: BTreeSet::new(),
            unwanted: BTreeSet::new(),
            refused: BTreeMap::new(),
            incomplete: false,
            given: 0,
        };
        (session, Do::Ask(asked))
    }

    /// Something has come of what was under way; what to do next.
    pub(crate) fn on(&mut self, got: Got, now_ms: u64) -> Do {
        self.now_ms = now_ms;
        match got {
            Got::Silence => self.again(),
            Got::Woken => self.ask_again(),
            Got::Tell(tell) => {
                self.repeats = 0;
                self.on_tell(tell)
            }
            Got::Found(found) => self.on_found(found),
            Got::Ready(ready) => self.on_ready(ready),
            Got::Kept(durable) => {
                self.incomplete |= !durable;
                if durable { self.next() } else { Do::End(false) }
            }
        }
    }

    fn again(&mut self) -> Do {
        self.repeats += 1;
        if self.repeats > MAX_REPEATS { Do::End(false) } else { self.ask_again() }
    }

    fn ask_again(&self) -> Do {
        Do::Ask(self.asked.clone())
    }

    fn pause(&mut self) -> Do {
        self.pauses += 1;
        if self.pauses > MAX_PAUSES { Do::End(false) } else { Do::Pause(PAUSE) }
    }

    fn ask(&mut self, ask: Ask, stage: Stage) -> Do {
        self.asked = ask.clone();
        self.stage = stage;
        self.repeats = 0;
        Do::Ask(ask)
    }

    fn look(&mut self, look: Look, stage: Stage) -> Do {
        self.stage = stage;
        Do::Look(look)
    }

    /// Begins with the next task.
    fn next(&mut self) -> Do {
        while let Some(task) = self.todo.pop_front() {
            let app = task.app();
            if self.refused.contains_key(app) {
                continue;
            }
            if self.mode.pulls(app) && !self.ready.contains(app) {
                let need = Do::Need(app.clone());
                self.stage = Stage::Ready(task);
                return need;
            }
            return self.begin(task);
        }
        Do::End(!self.incomplete && self.refused.is_empty())
    }

    fn begin(&mut self, task: Task) -> Do {
        match task {
            Task::Compare { app, range, most } if most <= MAX_ENTRIES as u64 => {
                self.begin(Task::List { app, range, after: None })
            }
            Task::Compare { app, range, .. } => {
                self.ask(Ask::Split { app: app.clone(), range: range.into() }, Stage::TheirParts { app, range })
            }
            Task::List { app, range, after } => {
                let ask = Ask::Entries { app: app.clone(), range: range.into(), after: after.clone() };
                self.ask(ask, Stage::TheirEntries { app, range, after })
            }
            Task::Fetch { app, points } => {
                let ask = Ask::Records { app: app.clone(), points: points.clone() };
                self.ask(ask, Stage::TheirRecords { app, points })
            }
            Task::Give { app, points } => {
                let look = Look::Records { app: app.clone(), points: points.clone() };
                self.look(look, Stage::OurRecords { app, points })
            }
        }
    }

    fn on_tell(&mut self, tell: Tell) -> Do {
        let stage = self.stage.clone();
        match (stage, tell) {
            (_, Tell::Busy) => self.pause(),
            (Stage::TheirSummary, Tell::Summary(theirs)) => {
                self.look(Look::Summary(self.range), Stage::OurSummary(theirs))
            }
            (Stage::TheirParts { app, range }, Tell::Parts(parts)) => self.on_parts(app, range, parts),
            (Stage::TheirEntries { app, range, after }, Tell::Entries { entries, more }) => {
                let upto = entries.last().filter(|_| more).map(|entry| entry.point.clone());
                let look = Look::Entries { app: app.clone(), range, after, upto, max: usize::MAX - 1 };
                self.look(look, Stage::OurEntries { app, range, theirs: entries, more })
            }
            (Stage::TheirRecords { app, points }, Tell::Records(records)) => self.on_records(app, points, records),
            (Stage::Storing { .. }, Tell::Stored(Ok(()))) => self.next(),
            (Stage::Storing { .. }, Tell::Stored(Err(NotStored::NotYet | NotStored::NotDurable))) => self.pause(),
            (
                Stage::Storing { app } | Stage::TheirParts { app, .. } | Stage::TheirEntries { app, .. },
                Tell::Stored(Err(why)),
            ) => {
                self.refused.insert(app, why);
                self.next()
            }
            // An answer to an earlier question, or one that makes no sense: the right one may still come.
            _ => self.again(),
        }
    }

    fn on_found(&mut self, found: Found) -> Do {
        let stage = self.stage.clone();
        match (stage, found) {
            (Stage::OurSummary(theirs), Found::Summary(ours)) => self.on_summaries(theirs, ours),
            (Stage::OurSums { app, parts }, Found::Sums(ours)) => {
                for ((range, theirs), ours) in parts.into_iter().zip(ours) {
                    if theirs != ours {
                        let most = theirs.count.max(ours.count);
                        self.todo.push_front(Task::Compare { app: app.clone(), range, most });
                    }
                }
                self.next()
            }
            (Stage::OurEntries { app, range, theirs, more }, Found::Entries { entries, .. }) => {
                self.on_entries(app, range, theirs, more, entries);
                self.next()
            }
            (Stage::OurRecords { app, points }, Found::Records(records)) => self.on_our_records(app, points, records),
            _ => Do::End(false),
        }
    }

    fn on_ready(&mut self, ready: bool) -> Do {
        let Stage::Ready(task) = self.stage.clone() else { return Do::End(false) };
        let app = task.app().clone();
        // A store of code that is full takes nothing more, and gives what it has.
        let gives =
            app.name.is_reserved() && self.mode.push && self.apps.as_ref().is_some_and(|apps| apps.contains(&app));
        if !ready && gives {
            self.unwanted.insert(app.clone());
        }
        if ready || gives {
            self.ready.insert(app);
            return self.begin(task);
        }
        // What this node will not run it does not keep.
        self.todo.retain(|other| *other.app() != app);
        self.next()
    }

    fn on_summaries(&mut self, theirs: Vec<(AppId, Sum)>, ours: Vec<(AppId, Sum)>) -> Do {
        let mut sums: BTreeMap<AppId, (Sum, Sum)> = BTreeMap::new();
        theirs.into_iter().for_each(|(app, sum)| sums.entry(app).or_default().0 = sum);
        ours.into_iter().for_each(|(app, sum)| sums.entry(app).or_default().1 = sum);
        for (app, (theirs, ours)) in sums {
            let wanted = self.apps.as_ref().is_none_or(|apps| apps.contains(&app));
            let pulls = self.mode.pulls(&app) && theirs.count > 0 && (self.mode.push || wanted);
            let pushes = self.mode.push && ours.count > 0 && wanted;
            if theirs != ours && (pulls || pushes) {
                let most = theirs.count.max(ours.count);
                self.todo.push_back(Task::Compare { app, range: self.range, most });
            }
        }
        self.next()
    }

    fn on_parts(&mut self, app: AppId, range: Interval, parts: Vec<(prost_kbr::Key, Sum)>) -> Do {
        let mut after = range.after();
        let mut ranges = Vec::new();
        for (upto, sum) in parts {
            if !range.contains(upto) || (upto == after && !ranges.is_empty()) {
                return Do::End(false);
            }
            ranges.push((Interval::open_closed(after, upto), sum));
            after = upto;
        }
        if after != range.upto() {
            return Do::End(false);
        }
        if ranges.len() < 2 {
            // All at one ring key: there is nothing left to split.
            return self.begin(Task::List { app, range, after: None });
        }
        let look = Look::Sums { app: app.clone(), ranges: ranges.iter().map(|(range, _)| *range).collect() };
        self.look(look, Stage::OurSums { app, parts: ranges })
    }

    fn on_entries(&mut self, app: AppId, range: Interval, theirs: Vec<Entry>, more: bool, ours: Vec<Entry>) {
        let in_order = theirs.is_sorted_by(|a, b| is_after(range, &b.point, &a.point));
        if !in_order || theirs.iter().any(|entry| !range.contains(entry.point.key)) {
            self.incomplete = true;
            return;
        }
        if let Some(last) = theirs.last().filter(|_| more) {
            let after = Some(last.point.clone());
            self.todo.push_front(Task::List { app: app.clone(), range, after });
        }
        // Of code that is as good as forgotten nothing moves any more.
        let (theirs, ours) = if app.name.is_reserved() {
            let live = |entries: Vec<Entry>| -> Vec<Entry> {
                entries.into_iter().filter(|entry| is_live(entry.version, self.now_ms)).collect()
            };
            (live(theirs), live(ours))
        } else {
            (theirs, ours)
        };
        let versions = |entries: &[Entry]| -> BTreeMap<Point, prost_contract::Version> {
            entries.iter().map(|entry| (entry.point.clone(), entry.version)).collect()
        };
        let (there, here) = (versions(&theirs), versions(&ours));
        let newer = |entries: Vec<Entry>, than: &BTreeMap<Point, prost_contract::Version>| -> Vec<Point> {
            let lacking =
                entries.into_iter().filter(|entry| than.get(&entry.point).is_none_or(|at| *at < entry.version));
            lacking.map(|entry| entry.point).collect()
        };
        if self.mode.pulls(&app) && !self.unwanted.contains(&app) {
            for points in newer(theirs, &here).chunks(MAX_RECORDS) {
                self.todo.push_front(Task::Fetch { app: app.clone(), points: points.to_vec() });
            }
        }
        if self.mode.push && self.apps.as_ref().is_none_or(|apps| apps.contains(&app)) {
            for points in newer(ours, &there).chunks(MAX_RECORDS) {
                self.todo.push_front(Task::Give { app: app.clone(), points: points.to_vec() });
            }
        }
    }

    fn on_records(&mut self, app: AppId, mut points: Vec<Point>, records: Vec<Record>) -> Do {
        let asked: BTreeSet<Point> = points.iter().cloned().collect();
        let got: BTreeSet<Point> = records.iter().map(|record| record.point.clone()).collect();
        let now_ms = self.now_ms;
        let mut changes = Vec::with_capacity(records.len());
        for record in records {
            match record.into_kept(&app, now_ms) {
                Some((point, kept)) if asked.contains(&point) => changes.push(Change::Keep(point, kept)),
                _ => return Do::End(false),
            }
        }
        // The peer gives the first of what was asked for; a record that it has no more ends the list too soon.
        points.retain(|point| !got.contains(point));
        if changes.is_empty() {
            return self.next();
        }
        if !points.is_empty() {
            self.todo.push_front(Task::Fetch { app: app.clone(), points });
        }
        self.stage = Stage::Keeping;
        Do::Keep { app, changes }
    }

    fn on_our_records(
        &mut self,
        app: AppId,
        points: Vec<Point>,
        records: Vec<(Point, Option<prost_contract::Kept>)>,
    ) -> Do {
        let rest: Vec<Point> = points[records.len().min(points.len())..].to_vec();
        if !rest.is_empty() && !records.is_empty() {
            self.todo.push_front(Task::Give { app: app.clone(), points: rest });
        }
        let records: Vec<Record> =
            records.into_iter().filter_map(|(point, kept)| Some(Record::new(point, &kept?))).collect();
        if records.is_empty() {
            return self.next();
        }
        self.given += records.len() as u64;
        self.ask(Ask::Store { app: app.clone(), records }, Stage::Storing { app })
    }
}

#[cfg(test)]
mod tests;
