//! A disk in memory that can fail in every way that a disk can.

use std::io::{Error, ErrorKind};
use std::sync::{Arc, Condvar, Mutex};

use redb::{Builder, StorageBackend};

use super::super::layout;

#[derive(Debug, Default)]
struct Platter {
    /// As the process sees it.
    bytes: Vec<u8>,
    /// As it is after a crash.
    durable: Vec<u8>,
    failing: bool,
    unreadable: bool,
    /// Changes that it takes until it is full; none while it has room.
    room: Option<usize>,
    not_syncing: bool,
    stalled: bool,
    /// All that it was told, where that is kept.
    trace: Option<Vec<Op>>,
    /// What stood there before.
    base: Vec<u8>,
}

impl Platter {
    fn take_room(&mut self) -> Result<(), Error> {
        match &mut self.room {
            None => Ok(()),
            Some(0) => Err(ErrorKind::StorageFull.into()),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
        }
    }
}

/// What a disk is told, and what is known about it meanwhile.
#[derive(Debug, Clone)]
pub(super) enum Op {
    Write {
        offset: usize,
        data: Vec<u8>,
    },
    SetLen(usize),
    Sync,
    /// A step of a script is about to be given to the store.
    Submitted(usize),
    /// The store has said that this step and all before it are durable.
    Acknowledged(usize),
}

/// A disk that forgets what was not synced.
#[derive(Debug, Clone, Default)]
pub(super) struct Disk(Arc<(Mutex<Platter>, Condvar)>);

/// Lets a stalled disk go on when it is dropped.
pub(super) struct Stall(Disk);

impl Drop for Stall {
    fn drop(&mut self) {
        self.0.with(|platter| platter.stalled = false);
        self.0.0.1.notify_all();
    }
}

impl Disk {
    pub(super) fn new() -> Disk {
        Disk::default()
    }

    /// Keeps all that the disk is told from now on.
    pub(super) fn trace(&self) {
        self.with(|platter| {
            platter.base.clone_from(&platter.bytes);
            platter.trace = Some(Vec::new());
        });
    }

    pub(super) fn mark(&self, op: Op) {
        self.with(|platter| platter.trace.iter_mut().for_each(|trace| trace.push(op.clone())));
    }

    /// What stood there before, and all that it was told.
    pub(super) fn traced(&self) -> (Vec<u8>, Vec<Op>) {
        self.with(|platter| (std::mem::take(&mut platter.base), platter.trace.take().unwrap_or_default()))
    }

    fn with<T>(&self, act: impl FnOnce(&mut Platter) -> T) -> T {
        act(&mut self.0.0.lock().expect("no test panics here"))
    }

    /// A disk with what was durable on this one.
    pub(super) fn as_after_a_crash(&self) -> Disk {
        let durable = self.with(|platter| platter.durable.clone());
        let disk = Disk::new();
        disk.overwrite(&durable);
        disk
    }

    pub(super) fn overwrite(&self, bytes: &[u8]) {
        self.with(|platter| {
            platter.bytes = bytes.to_vec();
            platter.durable = bytes.to_vec();
        });
    }

    pub(super) fn fail_syncs(&self) {
        self.with(|platter| platter.failing = true);
    }

    pub(super) fn fail_reads(&self) {
        self.with(|platter| platter.unreadable = true);
    }

    /// It takes so many changes, and then says that it is full.
    pub(super) fn fill_after(&self, changes: usize) {
        self.with(|platter| platter.room = Some(changes));
    }

    /// Whether it has said that it is full.
    pub(super) fn is_full(&self) -> bool {
        self.with(|platter| platter.room == Some(0))
    }

    pub(super) fn heal(&self) {
        self.with(|platter| {
            platter.failing = false;
            platter.room = None;
        });
    }

    pub(super) fn stop_syncing(&self) {
        self.with(|platter| platter.not_syncing = true);
    }

    pub(super) fn stall(&self) -> Stall {
        self.with(|platter| platter.stalled = true);
        Stall(self.clone())
    }

    /// Flips a bit wherever these bytes stand, and says in how many places.
    pub(super) fn flip_a_bit_in(&self, bytes: &[u8]) -> usize {
        self.with(|platter| {
            let places: Vec<usize> =
                platter.bytes.windows(bytes.len()).enumerate().filter(|(_, w)| *w == bytes).map(|(at, _)| at).collect();
            places.iter().for_each(|at| platter.bytes[at + bytes.len() / 2] ^= 1);
            places.len()
        })
    }

    /// Flips a bit so many bytes after the first of these bytes, wherever they stand, and says in how many places.
    pub(super) fn flip_a_bit_near(&self, bytes: &[u8], after: isize) -> usize {
        self.with(|platter| {
            let places: Vec<usize> =
                platter.bytes.windows(bytes.len()).enumerate().filter(|(_, w)| *w == bytes).map(|(at, _)| at).collect();
            places.iter().for_each(|at| platter.bytes[at.strict_add_signed(after)] ^= 1);
            platter.durable = platter.bytes.clone();
            places.len()
        })
    }

    pub(super) fn set_format(&self, format: u32) {
        let db = Builder::new().create_with_backend(self.clone()).expect("a store");
        let transaction = db.begin_write().expect("a transaction");
        let mut meta = transaction.open_table(layout::META).expect("its table");
        meta.insert(layout::META_FORMAT, format.to_be_bytes().as_slice()).expect("an insertion");
        drop(meta);
        transaction.commit().expect("a commit");
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> Result<u64, Error> {
        Ok(self.with(|platter| platter.bytes.len() as u64))
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), Error> {
        let start = offset as usize;
        self.with(|platter| match platter.bytes.get(start..start + out.len()) {
            _ if platter.unreadable => Err(Error::other("the disk is broken")),
            Some(bytes) => {
                out.copy_from_slice(bytes);
                Ok(())
            }
            None => Err(ErrorKind::UnexpectedEof.into()),
        })
    }

    fn set_len(&self, len: u64) -> Result<(), Error> {
        self.with(|platter| {
            platter.take_room()?;
            platter.bytes.resize(len as usize, 0);
            Ok::<(), Error>(())
        })?;
        self.mark(Op::SetLen(len as usize));
        Ok(())
    }

    fn sync_data(&self) -> Result<(), Error> {
        let platter = self.0.0.lock().expect("no test panics here");
        let mut platter = self.0.1.wait_while(platter, |platter| platter.stalled).expect("no test panics here");
        if platter.failing {
            return Err(Error::other("the disk is broken"));
        }
        if !platter.not_syncing {
            platter.durable = platter.bytes.clone();
        }
        platter.trace.iter_mut().for_each(|trace| trace.push(Op::Sync));
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), Error> {
        let start = offset as usize;
        self.with(|platter| {
            platter.take_room()?;
            platter.bytes[start..start + data.len()].copy_from_slice(data);
            Ok::<(), Error>(())
        })?;
        self.mark(Op::Write { offset: start, data: data.to_vec() });
        Ok(())
    }
}
