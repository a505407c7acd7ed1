//! `rusqlite` with SQLite's own C code: a connection to the same file a goroutine, which sleep in libc
//! where another holds the file's lock.

use crate::harness::{each, nothing, on_procs};
use crate::servers::Dir;
use rusqlite::{Connection, ErrorCode, TransactionBehavior, params};
use std::path::Path;
use std::time::{Duration, Instant};

const CLIENTS: usize = 8;
const ROUNDS: usize = 25;

fn open(path: &Path, busy_timeout: Duration) -> Connection {
    let connection = Connection::open(path).unwrap();
    connection.busy_timeout(busy_timeout).unwrap();
    connection.execute_batch("PRAGMA synchronous = OFF").unwrap();
    connection
}

/// Each counts up what it reads, in transactions that exclude each other; every fifth rolls back.
fn transactions(journal: &str) {
    let dir = Dir::new("sqlite");
    let path = dir.join("db");
    let patience = Duration::from_secs(40);
    let connection = open(&path, patience);
    let mode: String = connection
        .query_row(&format!("PRAGMA journal_mode = {journal}"), [], |row| row.get(0))
        .unwrap();
    assert_eq!(mode, journal);
    let create = "CREATE TABLE counter (n INTEGER); INSERT INTO counter VALUES (0);
                  CREATE TABLE log (client INTEGER, n INTEGER UNIQUE, data BLOB);";
    connection.execute_batch(create).unwrap();
    each(CLIENTS, |i| {
        let mut connection = open(&path, patience);
        for round in 0..ROUNDS {
            let behavior = TransactionBehavior::Immediate;
            let transaction = connection.transaction_with_behavior(behavior).unwrap();
            let n: i64 =
                transaction.query_row("SELECT n FROM counter", [], |row| row.get(0)).unwrap();
            transaction.execute("UPDATE counter SET n = ?1", [n + 1]).unwrap();
            let insert = "INSERT INTO log VALUES (?1, ?2, zeroblob(2000))";
            transaction.execute(insert, params![i as i64, n + 1]).unwrap();
            if round % 5 == 4 {
                transaction.rollback().unwrap();
            } else {
                transaction.commit().unwrap();
            }
        }
    });
    let expected = (CLIENTS * ROUNDS * 4 / 5) as i64;
    let n: i64 = connection.query_row("SELECT n FROM counter", [], |row| row.get(0)).unwrap();
    assert_eq!(n, expected, "the counter");
    let select = "SELECT count(*), max(n), sum(length(data)) FROM log";
    let log: (i64, i64, i64) = connection
        .query_row(select, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .unwrap();
    assert_eq!(log, (expected, expected, 2000 * expected), "the log");
    let check: String =
        connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(check, "ok");
}

#[test]
fn sqlite_transactions_exclude_with_a_rollback_journal() {
    on_procs("sqlite_with_a_rollback_journal", nothing, |(), _| transactions("delete"));
}

#[test]
fn sqlite_transactions_exclude_with_a_write_ahead_log() {
    on_procs("sqlite_with_a_write_ahead_log", nothing, |(), _| transactions("wal"));
}

/// SQLite's busy handler sleeps about as long as it was told to, and then gives up.
#[test]
fn sqlite_gives_up_after_its_busy_timeout() {
    on_procs("sqlite_gives_up", nothing, |(), _| {
        let dir = Dir::new("sqlite");
        let path = dir.join("db");
        let timeout = Duration::from_millis(300);
        let holder = open(&path, timeout);
        holder.execute_batch("CREATE TABLE t (n); BEGIN EXCLUSIVE").unwrap();
        each(CLIENTS, |_| {
            let connection = Connection::open(&path).unwrap();
            connection.busy_timeout(timeout).unwrap();
            let start = Instant::now();
            let error = connection.execute("INSERT INTO t VALUES (1)", []).unwrap_err();
            let took = start.elapsed();
            assert_eq!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy), "{error}");
            assert!(took >= timeout * 9 / 10, "it took only {took:?}");
            assert!(took < timeout * 10, "it took {took:?}");
        });
        holder.execute_batch("COMMIT").unwrap();
    });
}

#[cfg(feature = "intercept")]
#[test]
fn a_busy_sqlite_needs_few_threads() {
    const WAITING: usize = 32;
    on_procs("a_busy_sqlite_needs_few_threads", nothing, |(), _| {
        let dir = Dir::new("sqlite");
        let path = dir.join("db");
        let patience = Duration::from_secs(40);
        let holder = open(&path, patience);
        holder.execute_batch("CREATE TABLE t (n); BEGIN EXCLUSIVE").unwrap();
        let wait = |_| {
            open(&path, patience).execute("INSERT INTO t VALUES (1)", []).unwrap();
        };
        crate::harness::expect_few_threads(WAITING, wait, || {
            holder.execute_batch("COMMIT").unwrap();
        });
        let n: i64 = holder.query_row("SELECT count(*) FROM t", [], |row| row.get(0)).unwrap();
        assert_eq!(n, WAITING as i64);
    });
}
