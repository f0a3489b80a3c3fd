//! Opening: whose store it is, of which format, and whether its books are right.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use prost_contract::Entry;
use prost_kbr::{AppId, Id, NodeId};
use prost_manager::RangeIndex;
use redb::backends::FileBackend;
use redb::{Builder, Database, DatabaseError, ReadableDatabase, ReadableTable, StorageBackend};

use super::datadir::DataDir;
use super::error::StoreError;
use super::layout;
use super::pending::{MAX_DAMAGED, State, Work};
use super::shared::Shared;
use super::space::{self, Gauge};
use super::sums::IndexBuilder;
use super::writer::Writer;
use super::{OnCommit, Store};

const STORE_FILE: &str = "store.redb";
/// A new store before it has its name: what a crash leaves of it is made anew.
const NEW_FILE: &str = "store.redb.new";
/// Bytes of database pages that are kept in memory.
const CACHE_BYTES: usize = 64 << 20;

/// What a store needs besides its file.
pub(super) struct Means {
    /// The wall clock, in milliseconds since 1970.
    pub(super) now_ms: Box<dyn Fn() -> u64 + Send>,
    pub(super) gauge: Gauge,
    /// Bytes of database pages that are kept in memory.
    pub(super) cache_bytes: usize,
}

impl Store {
    /// Opens the node's store in its data directory; makes it where there is none.
    pub fn open(data: &DataDir, node: NodeId, on_commit: OnCommit) -> Result<Store, StoreError> {
        let path = data.path().display().to_string();
        let cannot = |error: std::io::Error| StoreError::Directory {
            path: path.clone(),
            cause: format!("{STORE_FILE}: {error}"),
        };
        if !data.dir().try_exists(STORE_FILE).map_err(cannot)? {
            create(data, &path, node)?;
        }
        let file = data.file(STORE_FILE).map_err(cannot)?;
        data.sync().map_err(cannot)?;
        let file = file.into_std();
        let gauge = space::gauge(file.try_clone().map_err(cannot)?);
        let backend = FileBackend::new(file).map_err(|error| database_error(error, &path))?;
        let means = Means { now_ms: Box::new(wall_clock_ms), gauge, cache_bytes: CACHE_BYTES };
        Store::open_backend(backend, &path, node, on_commit, means)
    }

    pub(super) fn open_backend(
        backend: impl StorageBackend,
        path: &str,
        node: NodeId,
        on_commit: OnCommit,
        means: Means,
    ) -> Result<Store, StoreError> {
        let db = Builder::new().set_cache_size(means.cache_bytes).create_with_backend(backend);
        let db = db.map_err(|error| database_error(error, path))?;
        check_owner(&db, path, node)?;
        prepare(&db, node)?;
        let state = read_state(&db)?;
        let shared = Arc::new(Shared::new(db, state)?);
        shared.measure(&means.gauge);
        let writer = Writer::new(shared.clone(), on_commit, means.now_ms, means.gauge);
        let thread = std::thread::Builder::new().name("store".to_owned()).spawn(|| writer.run());
        let thread = thread.map_err(|error| StoreError::Disk(format!("cannot start the writer: {error}")))?;
        Ok(Store { shared, writer: Some(thread) })
    }
}

/// Makes an empty store, and gives it its name when it is whole and durable.
fn create(data: &DataDir, path: &str, node: NodeId) -> Result<(), StoreError> {
    let cannot =
        |error: std::io::Error| StoreError::Directory { path: path.to_owned(), cause: format!("{NEW_FILE}: {error}") };
    let file = data.file(NEW_FILE).map_err(cannot)?.into_std();
    file.set_len(0).map_err(cannot)?;
    let backend = FileBackend::new(file).map_err(|error| database_error(error, path))?;
    let db = Builder::new().create_with_backend(backend).map_err(|error| database_error(error, path))?;
    prepare(&db, node)?;
    drop(db);
    data.file(NEW_FILE).and_then(|file| file.sync_all()).map_err(cannot)?;
    data.dir().rename(NEW_FILE, data.dir(), STORE_FILE).map_err(cannot)?;
    data.sync().map_err(cannot)
}

fn wall_clock_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

fn database_error(error: DatabaseError, path: &str) -> StoreError {
    match error {
        DatabaseError::DatabaseAlreadyOpen | DatabaseError::LockProtocolMismatch => {
            StoreError::Locked { path: path.to_owned(), pid: None }
        }
        DatabaseError::Storage(redb::StorageError::Io(error)) if error.kind() == std::io::ErrorKind::InvalidData => {
            StoreError::Corrupt(error.to_string())
        }
        DatabaseError::Storage(error) => error.into(),
        other => StoreError::Corrupt(other.to_string()),
    }
}

/// Refuses a store of a newer program or of another node, without touching it.
fn check_owner(db: &Database, path: &str, node: NodeId) -> Result<(), StoreError> {
    let meta = match db.begin_read()?.open_table(layout::META) {
        Ok(meta) => meta,
        Err(redb::TableError::TableDoesNotExist(_)) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    let field = |name: &'static str| -> Result<Vec<u8>, StoreError> {
        let value = meta.get(name)?.ok_or_else(|| StoreError::Corrupt(format!("no {name}")))?;
        Ok(value.value().to_vec())
    };
    let found = number(&field(layout::META_FORMAT)?)?;
    if found > layout::FORMAT {
        return Err(StoreError::NewerFormat { found, known: layout::FORMAT });
    }
    if found < layout::FORMAT {
        return Err(StoreError::OlderFormat { found, known: layout::FORMAT });
    }
    let owner = field(layout::META_NODE)?;
    let owner = owner.as_slice().try_into().map_err(|_| StoreError::Corrupt("no node id".to_owned()))?;
    let theirs = Id::from_bytes(owner);
    if theirs == node { Ok(()) } else { Err(StoreError::OtherNode { path: path.to_owned(), theirs, ours: node }) }
}

/// Makes what a new store has.
fn prepare(db: &Database, node: NodeId) -> Result<(), StoreError> {
    let transaction = db.begin_write()?;
    {
        let mut meta = transaction.open_table(layout::META)?;
        let fresh = meta.get(layout::META_FORMAT)?.is_none();
        if fresh {
            meta.insert(layout::META_FORMAT, layout::FORMAT.to_be_bytes().as_slice())?;
            meta.insert(layout::META_NODE, node.as_bytes().as_slice())?;
            meta.insert(layout::META_NEXT_APP, 0_u32.to_be_bytes().as_slice())?;
        }
        transaction.open_table(layout::APPS)?;
        transaction.open_table(layout::RECORDS)?;
        transaction.open_table(layout::EXPIRIES)?;
        transaction.open_table(layout::PACKAGES)?;
    }
    Ok(transaction.commit()?)
}

/// What has to be known besides the database, with the bytes used counted afresh.
fn read_state(db: &Database) -> Result<State, StoreError> {
    let Recount { counted, newest_version, mut indexes, damaged } = recount(db)?;
    let transaction = db.begin_write()?;
    let mut state = State::default();
    state.newest_version = newest_version;
    {
        let meta = transaction.open_table(layout::META)?;
        let next = meta.get(layout::META_NEXT_APP)?.ok_or_else(|| StoreError::Corrupt("no next number".to_owned()))?;
        state.next_app = number(next.value())?;
        let mut apps = transaction.open_table(layout::APPS)?;
        for (app, id, booked) in app_rows(&apps)? {
            if id.is_empty() {
                state.push(None, Work::Purge(app));
                continue;
            }
            let name: AppId =
                id.parse().map_err(|_| StoreError::Corrupt("an application without a name".to_owned()))?;
            let used = counted.get(&app).copied().unwrap_or(0);
            if used != booked {
                tracing::error!(app = %name, booked, used, "the bytes an application uses were booked wrongly");
                apps.insert(app, (id.as_str(), used))?;
            }
            state.apps.insert(name, app);
            state.used.insert(app, used);
            state.indexes.insert(app, indexes.remove(&app).unwrap_or_default());
        }
    }
    transaction.commit()?;
    let in_use = |key: &Vec<u8>| layout::app_of(key).is_some_and(|app| state.used.contains_key(&app));
    for key in damaged.into_iter().filter(in_use).collect::<Vec<_>>() {
        state.note_damaged(&key);
    }
    Ok(state)
}

fn app_rows(table: &impl ReadableTable<u32, (&'static str, u64)>) -> Result<Vec<(u32, String, u64)>, StoreError> {
    let mut rows = Vec::new();
    for row in table.iter()? {
        let (app, row) = row?;
        let (id, booked) = row.value();
        rows.push((app.value(), id.to_owned(), booked));
    }
    Ok(rows)
}

/// What only the records themselves say.
#[derive(Default)]
struct Recount {
    /// The bytes that each application uses.
    counted: BTreeMap<u32, u64>,
    /// The newest version of a keyed record.
    newest_version: u64,
    indexes: BTreeMap<u32, RangeIndex>,
    /// The keys of damaged records, the first of them.
    damaged: Vec<Vec<u8>>,
}

fn recount(db: &Database) -> Result<Recount, StoreError> {
    let records = db.begin_read()?.open_table(layout::RECORDS)?;
    let mut recount = Recount::default();
    let mut builder = IndexBuilder::default();
    for entry in records.iter()? {
        let (key, stored) = entry?;
        let (key, stored) = (key.value(), stored.value());
        let Some(app) = layout::app_of(key) else { continue };
        *recount.counted.entry(app).or_insert(0) += layout::charge(key, stored.len()).unwrap_or(0);
        let Ok(version) = layout::version(key, stored) else {
            if recount.damaged.len() < MAX_DAMAGED {
                recount.damaged.push(key.to_vec());
            }
            continue;
        };
        if let (Some(version), Some(point)) = (version, layout::point_of(key)) {
            recount.newest_version = recount.newest_version.max(version.at);
            builder.add(recount.indexes.entry(app).or_default(), app, Entry { point, version });
        }
    }
    Ok(recount)
}

fn number(bytes: &[u8]) -> Result<u32, StoreError> {
    let bytes = bytes.try_into().map_err(|_| StoreError::Corrupt("a number of the wrong length".to_owned()))?;
    Ok(u32::from_be_bytes(bytes))
}
