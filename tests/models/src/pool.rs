//! Models of pools (`sync/pool.rs`): a value is in one place, and seen as it was left. All who take part are
//! ordinary threads, which share one place of the pool, as those do who look into each other's.

use crate::base::atomic::{AtomicU32, Ordering, Weak};
use crate::check::{holds, refuted, refuted_without};
use crate::sync::pool::Pool;
use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::thread::{self, JoinHandle};

loom::lazy_static! {
    static ref MADE: AtomicU32 = AtomicU32::new(0);
    static ref DROPPED: AtomicU32 = AtomicU32::new(0);
}

/// Of who has it, which loom sees to.
struct Value(UnsafeCell<u32>);

impl Value {
    fn make() -> Self {
        MADE.fetch_add(1, Ordering::Relaxed);
        Self(UnsafeCell::new(0))
    }

    fn touch(&self) {
        // SAFETY: of who has the value, or loom finds it.
        self.0.with_mut(|at| unsafe { *at += 1 });
    }
}

impl Drop for Value {
    fn drop(&mut self) {
        self.touch();
        DROPPED.fetch_add(1, Ordering::Relaxed);
    }
}

type Values = Pool<Value>;

fn in_thread(pool: &Arc<Values>, f: impl FnOnce(&Values) + 'static) -> JoinHandle<()> {
    let pool = pool.clone();
    thread::spawn(move || f(&pool))
}

fn use_one(pool: &Values) {
    let one = pool.get();
    one.touch();
}

fn use_two(pool: &Values) {
    let both = [pool.get(), pool.get()];
    both.iter().for_each(|one| one.touch());
}

/// Three do something with a pool that has `n` values; at the end each is dropped, once.
fn all_at_once(
    n: usize,
    [first, second, third]: [fn(&Values); 3],
) -> impl Fn() + Send + Sync + 'static {
    move || {
        let pool = Arc::new(Pool::new(Value::make as fn() -> Value));
        (0..n).for_each(|_| pool.put(Value::make()));
        let threads = [in_thread(&pool, first), in_thread(&pool, second)];
        third(&pool);
        for thread in threads {
            thread.join().unwrap();
        }
        drop(pool);
        let (made, dropped) = (MADE.load(Ordering::Relaxed), DROPPED.load(Ordering::Relaxed));
        assert_eq!(made, dropped, "made and dropped");
    }
}

/// Who finds nothing makes one; one at a time needs one.
fn used_again() {
    let pool = Arc::new(Pool::new(Value::make as fn() -> Value));
    use_two(&pool);
    in_thread(&pool, use_two).join().unwrap();
    drop(pool);
    assert_eq!(MADE.load(Ordering::Relaxed), 2, "a value was not found");
}

#[test]
fn pool_gets() {
    holds(all_at_once(1, [use_one, use_one, use_one]));
}

#[test]
fn pool_gets_two() {
    holds(all_at_once(2, [use_two, use_one, use_one]));
}

#[test]
fn pool_clear() {
    holds(all_at_once(2, [use_two, |_| {}, Pool::clear]));
}

#[test]
fn pool_used_again() {
    holds(used_again);
}

#[test]
fn pool_gets_without_the_swap_is_refuted() {
    refuted_without("the swap", "", all_at_once(1, [use_one, use_one, use_one]));
}

#[test]
fn pool_gets_relaxed_is_refuted() {
    let model = all_at_once(1, [use_one, use_one, use_one]);
    refuted(Weak::Orderings, "Causality violation", model);
}
