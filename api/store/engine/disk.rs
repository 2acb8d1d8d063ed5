//! The state on disk: one SQLite database, the only file of gcluster that names it.
//!
//! Every change is one row of an append-ordered table, so that a group of transactions is one sequential
//! write and one sync. Rows that a newer one supersedes are removed in the background. `format.md` has the
//! bytes; `replay.rs` what the rows mean.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::{Connection, ErrorCode, OpenFlags, params};

use super::files::{self, Mark};
use super::replay::{self, Head, Replay, Row};
use super::{Engine, EngineError, Loaded};
use crate::{Batch, OpenError};

/// The newest format that this version reads and the one that it writes.
pub const FORMAT: u32 = 1;

/// In the header of the database: a file of gcluster.
const APPLICATION: i64 = 0x6763_6c73;

/// Step N leads from format N to format N + 1; an empty file has format 0. A step must not depend on later
/// code, and is never changed once it was released.
const MIGRATIONS: [&str; FORMAT as usize] = ["
    CREATE TABLE format (version INTEGER NOT NULL) STRICT;
    INSERT INTO format VALUES (1);
    CREATE TABLE head (
        id INTEGER PRIMARY KEY CHECK (id = 1),
        revision INTEGER NOT NULL, rows INTEGER NOT NULL, sum INTEGER NOT NULL, crc INTEGER NOT NULL
    ) STRICT;
    INSERT INTO head VALUES (1, 0, 0, 0, 2747386400);
    CREATE TABLE changes (
        position INTEGER PRIMARY KEY,
        revision INTEGER NOT NULL,
        resource TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL,
        value BLOB, crc INTEGER NOT NULL
    ) STRICT;
    PRAGMA application_id = 0x67636c73;
    PRAGMA user_version = 1;
"];

/// Rows removed in one step, so that no writer waits long behind it.
const FOLD_STEP: usize = 512;

/// Fewer superseded rows than this are left alone.
const FOLD_MIN: usize = 1_000;

/// State that could not be read and was put aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damaged {
    /// Where the old files are kept.
    pub preserved: PathBuf,
    /// What was wrong with them.
    pub reason: String,
}

/// An opened state directory.
#[derive(Debug)]
pub struct Opened {
    /// Takes the writes.
    pub engine: Disk,
    /// What was there.
    pub loaded: Loaded,
    /// Set when the old state was unreadable and a fresh one was started: to be logged and written as an
    /// Event.
    pub damaged: Option<Damaged>,
}

/// Opens the state below a data directory, or makes it: `state/` with the database, `state.lock`. Both are
/// for the owner only. State that cannot be read is put aside as `state.damaged-<time>/`, nothing of it is
/// changed, and a fresh one is started.
///
/// # Errors
/// See [`OpenError`]. Damage is no error.
pub fn open(data_dir: &Path) -> Result<Opened, OpenError> {
    files::private_dir(data_dir)?;
    let lock = files::lock(data_dir)?;
    let state = data_dir.join("state");
    let (disk, replay, damaged) = match open_state(&state) {
        Ok((disk, replay)) => (disk, replay, None),
        Err(Failure::Open(error)) => return Err(error),
        Err(Failure::Damaged(reason)) => {
            let preserved = files::preserve(&state)?;
            let (disk, replay) = open_state(&state).map_err(|failure| failure.into_open_error(&state))?;
            (disk, replay, Some(Damaged { preserved, reason }))
        }
    };
    let (loaded, replay) = replay.into_loaded();
    let (connection, mark, path) = disk;
    let durable = loaded.revision;
    mark.set(durable);
    let engine =
        Disk { connection: Some(connection), path, mark, durable, replay, folding: false, _lock: lock };
    Ok(Opened { engine, loaded, damaged })
}

/// The engine on disk.
#[derive(Debug)]
pub struct Disk {
    /// `None` between a failure and the recovery from it.
    connection: Option<Connection>,
    path: PathBuf,
    mark: Mark,
    /// The newest revision that [`Engine::commit`] or [`Engine::recover`] vouched for.
    durable: u64,
    replay: Replay,
    folding: bool,
    _lock: std::fs::File,
}

impl Engine for Disk {
    fn commit(&mut self, batches: &[Arc<Batch>]) -> Result<(), EngineError> {
        let events = batches.iter().flat_map(|batch| &batch.events);
        let rows: Vec<Row> =
            events.zip(self.replay.head.position + 1..).map(|(event, n)| Row::new(n, event)).collect();
        let Some(revision) = batches.last().map(|batch| batch.revision) else { return Ok(()) };
        let head = self.replay.head.with(revision, &rows);
        self.transact(|connection| {
            let mut insert = connection.prepare_cached(
                "INSERT INTO changes (position, revision, resource, namespace, name, value, crc)
                 VALUES (?, ?, ?, ?, ?, ?, ?)",
            )?;
            for row in &rows {
                insert.execute(params![
                    row.position,
                    row.revision.cast_signed(),
                    &*row.key.resource,
                    &*row.key.namespace,
                    &*row.key.name,
                    row.value.as_deref(),
                    row.crc,
                ])?;
            }
            write_head(connection, &head)
        })?;
        self.mark.set(revision);
        self.durable = revision;
        self.replay.head = head;
        rows.iter().for_each(|row| self.replay.place(row));
        Ok(())
    }

    fn recover(&mut self) -> Result<u64, EngineError> {
        // Closing forgets what the connection believes; opening reads the log as it is after a crash.
        self.connection = None;
        let failed = |failure: Failure| EngineError(failure.to_string());
        let connection = connect(&self.path).map_err(failed)?;
        let replay = read(&connection).map_err(failed)?;
        let revision = replay.head.revision;
        if revision < self.durable {
            let durable = self.durable;
            return Err(EngineError(format!("the state on disk went back from {durable} to {revision}")));
        }
        if revision > self.durable {
            // It is in the file; that it survives a loss of power is known once it was written and synced anew.
            let busy = connection
                .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, i64>(0))
                .map_err(|error| EngineError(error.to_string()))?;
            if busy != 0 {
                return Err(EngineError("the log could not be moved into the database".to_owned()));
            }
        }
        self.connection = Some(connection);
        self.replay = replay.without_entries();
        self.durable = revision;
        self.mark.set(revision);
        Ok(revision)
    }

    fn probe(&mut self) -> Result<(), EngineError> {
        let head = self.replay.head.clone();
        self.transact(|connection| write_head(connection, &head))
    }

    fn tidy(&mut self, idle: bool) -> Result<bool, EngineError> {
        let worth = FOLD_MIN.max(self.replay.objects());
        let stale = self.replay.stale.len();
        self.folding = stale > worth || (self.folding && stale > 0);
        // With no idle moment in sight the file still must not grow without end.
        if !self.folding || !(idle || stale > 4 * worth) {
            return Ok(false);
        }
        let step: Vec<(i64, u32)> = self.replay.stale.iter().take(FOLD_STEP).copied().collect();
        let head = self.replay.head.without(&step);
        self.transact(|connection| {
            let mut delete = connection.prepare_cached("DELETE FROM changes WHERE position = ?")?;
            for (position, _) in &step {
                delete.execute([position])?;
            }
            write_head(connection, &head)
        })?;
        self.replay.head = head;
        self.replay.stale.drain(..step.len());
        Ok(!self.replay.stale.is_empty())
    }
}

impl Disk {
    fn transact(
        &self,
        work: impl FnOnce(&Connection) -> Result<(), rusqlite::Error>,
    ) -> Result<(), EngineError> {
        let Some(connection) = &self.connection else {
            return Err(EngineError("the state is not open".to_owned()));
        };
        let done = connection.unchecked_transaction().and_then(|transaction| {
            work(&transaction)?;
            transaction.commit()
        });
        done.map_err(|error| EngineError(format!("{}: {error}", self.path.display())))
    }

    /// Lets the database grow by so many pages only: plays a full disk.
    #[cfg(any(test, feature = "faults"))]
    pub fn limit_growth(&self, pages: Option<u32>) {
        let Some(connection) = &self.connection else { return };
        let now: u32 = connection.query_row("PRAGMA page_count", [], |row| row.get(0)).unwrap_or(0);
        let limit = pages.map_or(u32::MAX - 1, |pages| now + pages);
        let _set =
            connection.query_row(&format!("PRAGMA max_page_count = {limit}"), [], |row| row.get::<_, i64>(0));
    }

    /// Rows on disk, superseded ones included.
    #[cfg(test)]
    pub(crate) fn rows(&self) -> u64 {
        self.replay.head.rows
    }
}

/// Gives the state another format, as a later version would.
#[cfg(test)]
pub(crate) fn set_format(data_dir: &Path, format: u32) {
    let connection = Connection::open(data_dir.join("state/state.db")).unwrap();
    connection
        .execute_batch(&format!("UPDATE format SET version = {format}; PRAGMA user_version = {format};"))
        .unwrap();
}

/// Why a state directory could not be read.
#[derive(Debug)]
enum Failure {
    Open(OpenError),
    Damaged(String),
}

impl Failure {
    fn into_open_error(self, path: &Path) -> OpenError {
        match self {
            Self::Open(error) => error,
            Self::Damaged(reason) => files::io_error("read", path, &reason),
        }
    }

    /// Trouble of the machine is an error; anything else that keeps the database from being read is damage.
    fn of(path: &Path, error: &rusqlite::Error) -> Self {
        use ErrorCode::{
            CannotOpen, DatabaseBusy, DatabaseLocked, DiskFull, FileLockingProtocolFailed, OutOfMemory,
            PermissionDenied, ReadOnly, SystemIoFailure,
        };
        const SHORT_READ: i32 = rusqlite::ffi::SQLITE_IOERR_SHORT_READ;
        let code =
            error.sqlite_error().filter(|error| error.extended_code != SHORT_READ).map(|error| error.code);
        match code {
            Some(
                CannotOpen
                | DatabaseBusy
                | DatabaseLocked
                | DiskFull
                | FileLockingProtocolFailed
                | OutOfMemory
                | PermissionDenied
                | ReadOnly
                | SystemIoFailure,
            ) => Self::Open(files::io_error("open", path, error)),
            _ => Self::Damaged(error.to_string()),
        }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Open(error) => error.fmt(f),
            Self::Damaged(reason) => f.write_str(reason),
        }
    }
}

type Open = (Connection, Mark, PathBuf);

fn open_state(dir: &Path) -> Result<(Open, Replay), Failure> {
    if dir.exists() && !dir.is_dir() {
        return Err(Failure::Damaged("it is no directory".to_owned()));
    }
    files::private_dir(dir).map_err(Failure::Open)?;
    let path = dir.join("state.db");
    let io = |error: std::io::Error| Failure::Open(files::io_error("open", &path, &error));
    drop(files::private_file(&path).map_err(io)?);
    let (mark, marked) = Mark::open(&dir.join("newest")).map_err(io)?;
    let connection = connect(&path)?;
    let replay = read(&connection)?;
    match (replay.head.revision, marked) {
        (0, None) => Err(Failure::Damaged("the database is empty, and so is the mark beside it".to_owned())),
        (found, Some(marked)) if found < marked => Err(Failure::Damaged(format!(
            "the database ends with revision {found}, although revision {marked} had been written"
        ))),
        _ => Ok(((connection, mark, path), replay)),
    }
}

/// Opens the database, makes or migrates its tables, and checks its structure.
fn connect(path: &Path) -> Result<Connection, Failure> {
    let of = |error: rusqlite::Error| Failure::of(path, &error);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(of)?;
    // Exclusive before the first read: the index of the log is then in memory and is always made anew from
    // the log, and no second process can write.
    connection
        .execute_batch(
            "PRAGMA locking_mode = EXCLUSIVE; PRAGMA cell_size_check = ON; PRAGMA trusted_schema = OFF;
             PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA temp_store = MEMORY;",
        )
        .map_err(of)?;
    let pragma = |name: &str| connection.query_row(&format!("PRAGMA {name}"), [], |row| row.get::<_, i64>(0));
    let application = pragma("application_id").map_err(of)?;
    let format = u32::try_from(pragma("user_version").map_err(of)?).unwrap_or(0);
    if format > 0 && application != APPLICATION {
        return Err(Failure::Damaged("it is no database of gcluster".to_owned()));
    }
    if format > 0 {
        // Stable through all formats, so that a flipped bit in the header is not taken for a newer format.
        let said: u32 =
            connection.query_row("SELECT version FROM format", [], |row| row.get(0)).map_err(of)?;
        if said != format {
            return Err(Failure::Damaged(format!(
                "its format is {format} in one place and {said} in another"
            )));
        }
    }
    if format > FORMAT {
        let path = path.parent().unwrap_or(path).to_owned();
        return Err(Failure::Open(OpenError::Newer { path, found: format, known: FORMAT }));
    }
    for step in MIGRATIONS.iter().skip(format as usize) {
        connection.execute_batch(&format!("BEGIN IMMEDIATE; {step} COMMIT;")).map_err(of)?;
    }
    Ok(connection)
}

/// Reads and checks every row.
fn read(connection: &Connection) -> Result<Replay, Failure> {
    let of = |error: rusqlite::Error| Failure::of(Path::new("the database"), &error);
    let check: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(of)?;
    if check != "ok" {
        return Err(Failure::Damaged(check));
    }
    let head = connection.query_row("SELECT revision, rows, sum, crc FROM head", [], |row| {
        let number = |n| row.get::<_, i64>(n).map(i64::cast_unsigned);
        Ok((number(0)?, number(1)?, number(2)?, row.get::<_, i64>(3)?))
    });
    let (revision, rows, sum, crc) = head.map_err(of)?;
    let mut reading = replay::Reading::new(revision, rows, sum, crc).map_err(Failure::Damaged)?;
    let mut statement = connection
        .prepare(
            "SELECT position, revision, resource, namespace, name, value, crc FROM changes ORDER BY position",
        )
        .map_err(of)?;
    let mut found = statement.query([]).map_err(of)?;
    while let Some(row) = found.next().map_err(of)? {
        let text = |n| row.get_ref(n).and_then(|value| Ok(value.as_str()?));
        let key = text(2).and_then(|resource| Ok([resource, text(3)?, text(4)?])).map_err(of)?;
        let value = row.get_ref(5).and_then(|value| Ok(value.as_blob_or_null()?)).map_err(of)?;
        let (position, revision) = (row.get(0).map_err(of)?, row.get::<_, i64>(1).map_err(of)?);
        let crc = row.get(6).map_err(of)?;
        reading.row(position, revision.cast_unsigned(), key, value, crc).map_err(Failure::Damaged)?;
    }
    reading.finish().map_err(Failure::Damaged)
}

fn write_head(connection: &Connection, head: &Head) -> Result<(), rusqlite::Error> {
    let mut update =
        connection.prepare_cached("UPDATE head SET revision = ?, rows = ?, sum = ?, crc = ? WHERE id = 1")?;
    let (revision, rows, sum) =
        (head.revision.cast_signed(), head.rows.cast_signed(), head.sum.cast_signed());
    update.execute(params![revision, rows, sum, head.crc()]).map(drop)
}
