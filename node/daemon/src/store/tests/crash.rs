//! Every point at which a crash can cut a run short: what the disk has been told so far is replayed, with what it was not
//! made to keep lost or torn in part, and the store that opens there must be the one of some moment between the last
//! acknowledgement and the cut.

use std::collections::BTreeMap;

use bytes::Bytes;
use prost_contract::{Place, Write, record_bytes};
use prost_kbr::AppId;
use redb::{Builder, ReadableDatabase, ReadableTable};

use super::super::layout;
use super::T0;
use super::disk::{Disk, Op};
use super::support::{Harness, app, at, delete, put, put_until};

/// Ways in which what was not synced is lost, that are tried at each cut besides all of it and nothing of it.
const SUBSETS: u64 = 5;
/// What a disk writes as a whole.
const SECTOR: usize = 512;

/// What applications have, and their packages.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Model {
    records: BTreeMap<(AppId, Place, Vec<u8>), Vec<u8>>,
    packages: BTreeMap<AppId, Bytes>,
}

impl Model {
    fn write(&mut self, app: &AppId, writes: &[Write]) {
        for Write { place, name, value } in writes {
            let record = (app.clone(), *place, name.clone());
            match value {
                Some((value, _)) => self.records.insert(record, value.to_vec()),
                None => self.records.remove(&record),
            };
        }
    }

    fn used(&self, app: &AppId) -> u64 {
        let own = self.records.iter().filter(|((of, ..), _)| of == app);
        own.map(|((_, _, name), value)| record_bytes(name.len(), value.len())).sum()
    }
}

/// A run: what the disk was told, and what the store must say after each step.
struct Run {
    /// The disk of an empty store, which gets its name when it is whole.
    base: Vec<u8>,
    trace: Vec<Op>,
    models: Vec<Model>,
}

/// Does the steps of a run, and notes what they come to.
struct Script {
    store: Harness,
    model: Model,
    models: Vec<Model>,
}

impl Script {
    fn new() -> Script {
        let disk = Disk::new();
        drop(Harness::on(disk.clone()));
        disk.trace();
        let store = Harness::on(disk);
        Script { store, model: Model::default(), models: vec![Model::default()] }
    }

    fn step(&mut self, change: impl FnOnce(&mut Model), act: impl FnOnce(&Harness)) {
        change(&mut self.model);
        self.store.disk().mark(Op::Submitted(self.models.len()));
        self.models.push(self.model.clone());
        act(&self.store);
    }

    fn write(&mut self, app: &AppId, writes: Vec<Write>) {
        let step = self.models.len();
        let done = writes.clone();
        self.step(|model| model.write(app, &done), |store| store.submit_step(app, writes, step));
    }

    fn wait(&mut self) {
        self.store.wait_for_all();
    }
}

/// Commits of several applications, alone and in groups; packages; a removal with more records than one transaction
/// takes; and a sweep.
fn run() -> Run {
    let mut script = Script::new();
    let (dht, chat, old) = (app("dht"), app("chat"), app("old"));
    for number in 0..4 {
        script.write(&dht, vec![put(at(number), b"a", &[number; 200]), put(Place::Node, b"count", &[number])]);
        script.wait();
    }
    let many = (0..700_u16).map(|number| put(at(number as u8), &number.to_be_bytes(), b"x")).collect();
    script.write(&old, many);
    script.write(&chat, vec![put(at(9), b"long", &[7; 9000]), put_until(at(8), b"short", b"soon gone", T0 + 10)]);
    script.wait();
    let package = Bytes::from_static(b"a package");
    let saved = package.clone();
    let of = chat.clone();
    script.step(|model| drop(model.packages.insert(of, saved)), |store| store.save_package(&app("chat"), b"a package"));
    // Several that come while the disk is busy go into one transaction.
    let stall = script.store.disk().stall();
    for number in 0..6 {
        script.write(&dht, vec![put(at(number), b"b", &[number; 50]), delete(at(number), b"a")]);
        script.write(&chat, vec![put(Place::Node, &[number], b"line")]);
    }
    drop(stall);
    script.wait();
    script.step(
        |model| model.records.retain(|(of, ..), _| of.name.as_str() != "old"),
        |store| store.remove_app(&app("old")),
    );
    script.write(&dht, vec![put(at(1), b"after", b"the removal")]);
    script.wait();
    script.step(
        |model| model.records.retain(|(_, _, name), _| name != b"short"),
        |store| {
            store.clock.store(T0 + 11, std::sync::atomic::Ordering::SeqCst);
            store.wait_until(|store| store.get(&app("chat"), at(8), b"short").is_none());
        },
    );
    script.write(&chat, vec![put(at(7), b"last", b"word")]);
    script.wait();
    let of = chat.clone();
    script.step(|model| drop(model.packages.remove(&of)), |store| store.remove_package(&app("chat")));
    script.write(&dht, vec![delete(at(1), b"after")]);
    script.wait();
    let Script { store, models, .. } = script;
    let disk = store.disk().clone();
    drop(store);
    let (base, trace) = disk.traced();
    Run { base, trace, models }
}

/// SplitMix64.
fn mix(seed: &mut u64) -> u64 {
    *seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *seed;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn apply(image: &mut Vec<u8>, op: &Op) {
    match op {
        Op::Write { offset, data } => {
            // Where the growth of the file was lost, so is what was written beyond its end.
            let end = image.len().min(offset + data.len());
            if let Some(room) = image.get_mut(*offset..end) {
                room.copy_from_slice(&data[..room.len()]);
            }
        }
        Op::SetLen(len) => image.resize(*len, 0),
        Op::Sync | Op::Submitted(_) | Op::Acknowledged(_) => {}
    }
}

/// Some of the operations, some of these in part, in their order.
fn lose_some(image: &mut Vec<u8>, pending: &[&Op], seed: &mut u64) {
    let odds = [2, 4, 8][(mix(seed) % 3) as usize];
    for op in pending {
        match (mix(seed) % odds, op) {
            (0, _) => {}
            (1, Op::Write { offset, data }) => {
                let sectors = (data.len() / SECTOR) as u64;
                let torn = (mix(seed) % (sectors + 1)) as usize * SECTOR;
                apply(image, &Op::Write { offset: *offset, data: data[..torn].to_vec() });
            }
            _ => apply(image, op),
        }
    }
}

/// Whether the books are right in the database itself, before the store puts them right.
pub(super) fn check_books(disk: &Disk) -> Result<(), String> {
    let db = Builder::new().create_with_backend(disk.clone()).map_err(|error| error.to_string())?;
    let read = db.begin_read().map_err(|error| error.to_string())?;
    let Ok(apps) = read.open_table(layout::APPS) else { return Ok(()) };
    let records = read.open_table(layout::RECORDS).map_err(|error| error.to_string())?;
    let mut counted: BTreeMap<u32, u64> = BTreeMap::new();
    for row in records.iter().map_err(|error| error.to_string())? {
        let (key, stored) = row.map_err(|error| error.to_string())?;
        let app = layout::app_of(key.value()).ok_or("a record of no application")?;
        *counted.entry(app).or_default() += layout::charge(key.value(), stored.value().len()).ok_or("malformed")?;
    }
    for row in apps.iter().map_err(|error| error.to_string())? {
        let (app, row) = row.map_err(|error| error.to_string())?;
        let (name, booked) = row.value();
        let counted = counted.remove(&app.value()).unwrap_or(0);
        if !name.is_empty() && booked != counted {
            return Err(format!("{name} is charged {booked} bytes and has {counted}"));
        }
    }
    if counted.is_empty() { Ok(()) } else { Err(format!("records of no application: {counted:?}")) }
}

/// Whether the store on this disk is one of these models.
fn check(disk: Disk, models: &[Model]) -> Result<(), String> {
    check_books(&disk)?;
    let store = Harness::try_on(disk).map_err(|error| error.to_string())?;
    let last = models.last().ok_or("there is always one")?;
    let mut found = Model { packages: store.packages().into_iter().collect(), ..Model::default() };
    let all: std::collections::BTreeSet<_> = models.iter().flat_map(|model| model.records.keys().cloned()).collect();
    for (app, place, name) in all {
        let value = store.try_get(&app, place, &name).map_err(|_| format!("{name:?} cannot be read"))?;
        if let Some(value) = value {
            found.records.insert((app, place, name), value);
        }
    }
    let Some(model) = models.iter().find(|model| **model == found) else {
        return Err(format!("{} records and {} packages are of no moment", found.records.len(), found.packages.len()));
    };
    let apps: std::collections::BTreeSet<&AppId> = last.records.keys().map(|(app, ..)| app).collect();
    for app in apps {
        let (used, least) = (store.used(app), model.used(app));
        // What is remembered of a record that has expired counts too.
        if used < least || used > least + record_bytes(5, 9) {
            return Err(format!("{app} uses {used} bytes, and its records take {least}"));
        }
    }
    Ok(())
}

/// Opens the store at every cut. Gives how many stores were opened, and what was wrong with the first that was.
fn try_all(run: &Run, mut is_sync: impl FnMut(&Op) -> bool) -> (usize, usize, Result<(), String>) {
    let (mut durable, mut pending): (Vec<u8>, Vec<&Op>) = (run.base.clone(), Vec::new());
    let (mut submitted, mut acknowledged) = (0, 0);
    let (mut cuts, mut opened, mut seed) = (0, 0, 1);
    for (position, op) in run.trace.iter().enumerate() {
        match op {
            Op::Submitted(step) => submitted = *step,
            Op::Acknowledged(step) => acknowledged = *step,
            _ => {}
        }
        let syncs = is_sync(op);
        if !syncs && matches!(op, Op::Write { .. } | Op::SetLen(_)) {
            pending.push(op);
        }
        let mut images = Vec::new();
        if syncs {
            images.push(durable.clone());
        }
        let mut all = durable.clone();
        pending.iter().for_each(|op| apply(&mut all, op));
        for _ in 0..SUBSETS {
            let mut some = durable.clone();
            lose_some(&mut some, &pending, &mut seed);
            images.push(some);
        }
        if syncs {
            durable.clone_from(&all);
            pending.clear();
        }
        images.push(all);
        images.dedup();
        cuts += 1;
        for (way, image) in images.into_iter().enumerate() {
            opened += 1;
            let disk = Disk::new();
            disk.overwrite(&image);
            if let Err(wrong) = check(disk, &run.models[acknowledged..=submitted]) {
                return (cuts, opened, Err(format!("cut {position} after {op:?}, way {way}: {wrong}")));
            }
        }
    }
    (cuts, opened, Ok(()))
}

#[test]
fn a_crash_at_any_point_leaves_what_was_acknowledged_and_nothing_that_was_not_written() {
    let run = run();
    let (cuts, opened, outcome) = try_all(&run, |op| matches!(op, Op::Sync));
    println!("{cuts} cuts, {opened} stores opened");
    assert_eq!(outcome, Ok(()));
    assert!(cuts > 120, "{cuts}");
}

#[test]
fn a_disk_that_only_says_that_it_has_synced_is_found_out() {
    let run = run();
    let mut syncs = 0;
    let honest = run.trace.iter().filter(|op| matches!(op, Op::Sync)).count();
    // From the middle on it keeps nothing.
    let (_, _, outcome) = try_all(&run, |op| matches!(op, Op::Sync) && syncs_less(&mut syncs, honest / 2));
    assert!(outcome.is_err(), "an acknowledged write was lost, and nobody noticed");
}

fn syncs_less(seen: &mut usize, most: usize) -> bool {
    *seen += 1;
    *seen <= most
}
