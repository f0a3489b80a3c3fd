//! Opening: whose store it is, of which format, and whether its books are right.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use prost_kbr::{AppId, Id, NodeId};
use redb::backends::FileBackend;
use redb::{Builder, Database, DatabaseError, ReadableDatabase, ReadableTable, StorageBackend};

use super::datadir::DataDir;
use super::error::StoreError;
use super::layout;
use super::pending::{State, Work};
use super::shared::Shared;
use super::writer::Writer;
use super::{OnCommit, Store};

const STORE_FILE: &str = "store.redb";
/// Bytes of database pages that are kept in memory.
const CACHE_BYTES: usize = 64 << 20;

impl Store {
    /// Opens the node's store in its data directory; makes it where there is none.
    pub fn open(data: &DataDir, node: NodeId, on_commit: OnCommit) -> Result<Store, StoreError> {
        let path = data.path().display().to_string();
        let cannot = |error: std::io::Error| StoreError::Directory {
            path: path.clone(),
            cause: format!("{STORE_FILE}: {error}"),
        };
        let file = data.file(STORE_FILE).map_err(cannot)?;
        data.sync().map_err(cannot)?;
        let backend = FileBackend::new(file.into_std()).map_err(|error| database_error(error, &path))?;
        Store::open_backend(backend, &path, node, on_commit, Box::new(wall_clock_ms))
    }

    pub(super) fn open_backend(
        backend: impl StorageBackend,
        path: &str,
        node: NodeId,
        on_commit: OnCommit,
        now_ms: Box<dyn Fn() -> u64 + Send>,
    ) -> Result<Store, StoreError> {
        let db = Builder::new().set_cache_size(CACHE_BYTES).create_with_backend(backend);
        let db = db.map_err(|error| database_error(error, path))?;
        check_owner(&db, path, node)?;
        prepare(&db, node)?;
        let state = read_state(&db)?;
        let shared = Arc::new(Shared::new(db, state));
        let writer = Writer::new(shared.clone(), on_commit, now_ms);
        let thread = std::thread::Builder::new().name("store".to_owned()).spawn(|| writer.run());
        let thread = thread.map_err(|error| StoreError::Disk(format!("cannot start the writer: {error}")))?;
        Ok(Store { shared, writer: Some(thread) })
    }
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
    let (counted, newest_version) = recount(db)?;
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
        }
    }
    transaction.commit()?;
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

/// The bytes that each application uses, from its records, and the newest version of a keyed one.
fn recount(db: &Database) -> Result<(BTreeMap<u32, u64>, u64), StoreError> {
    let records = db.begin_read()?.open_table(layout::RECORDS)?;
    let mut used = BTreeMap::new();
    let mut newest = 0;
    for entry in records.iter()? {
        let (key, stored) = entry?;
        let charge = layout::charge(key.value(), stored.value().len()).unwrap_or(0);
        if let Some(app) = layout::app_of(key.value()) {
            *used.entry(app).or_insert(0) += charge;
        }
        let version = layout::version(key.value(), stored.value())?;
        newest = newest.max(version.map_or(0, |version| version.at));
    }
    Ok((used, newest))
}

fn number(bytes: &[u8]) -> Result<u32, StoreError> {
    let bytes = bytes.try_into().map_err(|_| StoreError::Corrupt("a number of the wrong length".to_owned()))?;
    Ok(u32::from_be_bytes(bytes))
}
