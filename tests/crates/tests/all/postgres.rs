//! The blocking `postgres` client, a tokio runtime of one thread inside, with a real server: a connection
//! a goroutine.

use crate::harness::{each, on_procs_where};
use crate::servers::Postgres;
use goroutines::thread;
use postgres::error::SqlState;
use postgres::fallible_iterator::FallibleIterator;
use std::time::{Duration, Instant};

const CLIENTS: usize = 16;
const ROWS: i32 = 20;

/// Each client inserts in transactions, half of which it rolls back.
#[test]
fn postgres_transactions_commit_and_roll_back() {
    on_procs_where("postgres_transactions", Postgres::start, |server, procs| {
        let table = format!("rows{procs}");
        let create =
            format!("CREATE TABLE {table} (client int, n int, t text, UNIQUE (client, n))");
        server.connect(0).batch_execute(&create).unwrap();
        each(CLIENTS, |i| {
            let mut client = server.connect(i);
            let insert =
                client.prepare(&format!("INSERT INTO {table} VALUES ($1, $2, $3)")).unwrap();
            for n in 0..ROWS {
                let text = format!("{i} {n}");
                let mut transaction = client.transaction().unwrap();
                transaction.execute(&insert, &[&(i as i32), &n, &text]).unwrap();
                if n % 2 == 0 {
                    let again = transaction.execute(&insert, &[&(i as i32), &n, &text]);
                    assert_eq!(again.unwrap_err().code(), Some(&SqlState::UNIQUE_VIOLATION));
                    transaction.rollback().unwrap();
                } else {
                    transaction.commit().unwrap();
                }
            }
        });
        let select = format!("SELECT client, n, t FROM {table} ORDER BY client, n");
        let rows = server.connect(0).query(&select, &[]).unwrap();
        let got: Vec<(i32, i32, String)> =
            rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect();
        let odd = |i| (1..ROWS).step_by(2).map(move |n| (i, n, format!("{i} {n}")));
        let expected: Vec<_> = (0..CLIENTS as i32).flat_map(odd).collect();
        assert_eq!(got, expected);
    });
}

/// Clients that wait for each other's row locks keep the sum.
#[test]
fn postgres_row_locks_exclude() {
    const ACCOUNTS: i32 = 4;
    on_procs_where("postgres_row_locks_exclude", Postgres::start, |server, procs| {
        let mut client = server.connect(0);
        let table = format!("accounts{procs}");
        let create = format!("CREATE TABLE {table} AS SELECT i, 100 AS sum, 0 AS moves");
        let create = format!("{create} FROM generate_series(0, {}) i", ACCOUNTS - 1);
        client.batch_execute(&create).unwrap();
        each(CLIENTS, |i| {
            let mut client = server.connect(i);
            for n in 0..10 {
                let from = (i as i32 + n) % ACCOUNTS;
                let both = [from, (from + 1) % ACCOUNTS];
                move_one(&mut client, &table, both);
            }
        });
        let select = format!("SELECT sum(sum)::int, sum(moves)::int FROM {table}");
        let row = client.query_one(&select, &[]).unwrap();
        let got: (i32, i32) = (row.get(0), row.get(1));
        assert_eq!(got, (100 * ACCOUNTS, 2 * 10 * CLIENTS as i32), "sum, moves");
    });
}

/// Reads under locks and writes what it read, plus or minus one: without the locks updates were lost.
fn move_one(client: &mut postgres::Client, table: &str, [from, to]: [i32; 2]) {
    let mut transaction = client.transaction().unwrap();
    let select =
        format!("SELECT i, sum, moves FROM {table} WHERE i IN ($1, $2) ORDER BY i FOR UPDATE");
    let rows = transaction.query(&select, &[&from, &to]).unwrap();
    assert_eq!(rows.len(), 2);
    for row in rows {
        let (i, sum, moves): (i32, i32, i32) = (row.get(0), row.get(1), row.get(2));
        let sum = if i == from { sum - 1 } else { sum + 1 };
        let update = format!("UPDATE {table} SET sum = $2, moves = $3 WHERE i = $1");
        assert_eq!(transaction.execute(&update, &[&i, &sum, &(moves + 1)]).unwrap(), 1);
    }
    transaction.commit().unwrap();
}

#[test]
fn postgres_notifies_all_listeners_in_order() {
    const LISTENERS: usize = 8;
    on_procs_where("postgres_notifies", Postgres::start, |server, _| {
        let listening = std::sync::Barrier::new(LISTENERS + 1);
        thread::scope(|scope| {
            for i in 0..LISTENERS {
                let listening = &listening;
                scope.spawn(move || {
                    let mut client = server.connect(i);
                    client.batch_execute("LISTEN news").unwrap();
                    listening.wait();
                    let mut notifications = client.notifications();
                    let mut news = notifications.blocking_iter();
                    for n in 0..ROWS {
                        let notification = news.next().unwrap().expect("no end");
                        assert_eq!(notification.channel(), "news");
                        assert_eq!(notification.payload(), n.to_string(), "listener {i}");
                    }
                });
            }
            listening.wait();
            let mut client = server.connect(0);
            for n in 0..ROWS {
                client.execute("SELECT pg_notify('news', $1)", &[&n.to_string()]).unwrap();
            }
        });
    });
}

/// All sleep at once, also on one processor. Nobody returns early, nor with another's answer.
#[test]
fn postgres_queries_wait_side_by_side() {
    const SLEEP: Duration = Duration::from_millis(500);
    on_procs_where("postgres_queries_wait_side_by_side", Postgres::start, |server, _| {
        let start = Instant::now();
        each(CLIENTS, |i| {
            let mut client = server.connect(i);
            let start = Instant::now();
            let select = "SELECT $1::int, pg_sleep($2)";
            let row = client.query_one(select, &[&(i as i32), &SLEEP.as_secs_f64()]).unwrap();
            assert_eq!(row.get::<_, i32>(0), i as i32);
            assert!(start.elapsed() >= SLEEP, "it took only {:?}", start.elapsed());
        });
        let took = start.elapsed();
        let after_another = SLEEP * CLIENTS as u32;
        assert!(took < after_another / 2, "{took:?}; one after another took {after_another:?}");
    });
}

#[cfg(feature = "intercept")]
#[test]
fn postgres_queries_need_few_threads() {
    const WAITING: usize = 64;
    on_procs_where("postgres_queries_need_few_threads", Postgres::start, |server, _| {
        let mut holder = server.connect(0);
        holder.batch_execute("SELECT pg_advisory_lock(1)").unwrap();
        let wait = |i| {
            let wait = "SELECT pg_advisory_lock_shared(1)";
            server.connect(i).batch_execute(wait).unwrap();
        };
        crate::harness::expect_few_threads(WAITING, wait, || {
            holder.batch_execute("SELECT pg_advisory_unlock(1)").unwrap();
        });
    });
}
