//! Thread-locals of Rust, keys of pthreads: own, initialised once, destroyed once, in order.

use goroutines_twin_tests::{Row, Trace, code, ms, rows, say};
use std::cell::{Cell, RefCell};
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicU32, Ordering};

pub(crate) fn rows() -> Vec<Row> {
    rows![
        are_each_flows_own,
        lazy_ones_are_made_once,
        destructors_run_at_the_end,
        destructors_make_others,
        destructors_may_wait,
        destructors_may_panic_in_order,
        borrowed_while_waiting,
        accessed_after_their_end,
        large_ones,
        keys_hold_values,
        keys_new_in_each_flow,
        keys_destructors,
        keys_destructors_again,
        keys_deleted,
        keys_many,
        keys_used_in_destructors,
        once_in_all_flows,
        pthread_once,
        panics_are_caught,
        panicking_is_each_flows_own,
        hooks_see_the_flow,
        poisoned_by_a_panic,
        unwinding_drops
    ]
}

/// What destructors note, from wherever they run.
static NOTES: std::sync::Mutex<Vec<String>> = std::sync::Mutex::new(Vec::new());

fn note(text: impl Into<String>) {
    NOTES.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(text.into());
}

fn notes() -> String {
    // What ends, ends a moment after it is joined.
    ms(50);
    std::mem::take(&mut *NOTES.lock().unwrap_or_else(std::sync::PoisonError::into_inner)).join(", ")
}

struct Noted(&'static str);

impl Drop for Noted {
    fn drop(&mut self) {
        note(self.0);
    }
}

thread_local! {
    static PLAIN: Cell<u32> = const { Cell::new(5) };
    static LAZY: Cell<u32> = Cell::new(MADE.fetch_add(1, Ordering::Relaxed));
    static TEXT: RefCell<String> = const { RefCell::new(String::new()) };
    static FIRST: Noted = const { Noted("first") };
    static SECOND: Noted = const { Noted("second") };
    static LARGE: RefCell<[u8; 40_000]> = const { RefCell::new([7; 40_000]) };
}

static MADE: AtomicU32 = AtomicU32::new(0);

fn are_each_flows_own(t: &Trace) {
    PLAIN.set(1);
    let all: Vec<_> = (10..16)
        .map(|i| {
            t.spawn(&format!("flow {i}"), move |t| {
                t.says("at first", PLAIN.get());
                PLAIN.set(i);
                ms(20);
                t.says("later", PLAIN.get());
            })
        })
        .collect();
    all.into_iter().for_each(goroutines_twin_tests::Flow::join);
    t.says("here", PLAIN.get());
}

fn lazy_ones_are_made_once(t: &Trace) {
    for i in 0..3 {
        t.spawn(&format!("flow {i}"), |t| {
            let first = LAZY.get();
            ms(10);
            t.says("the same", first == LAZY.get());
        })
        .join();
    }
    t.says("made", MADE.load(Ordering::Relaxed));
}

fn destructors_run_at_the_end(t: &Trace) {
    for i in 0..3 {
        t.spawn(&format!("flow {i}"), |_| {
            FIRST.with(|_| ());
            SECOND.with(|_| ());
            ms(10);
            note("body ends");
        })
        .join();
        t.says("notes", notes());
    }
}

struct Makes;

impl Drop for Makes {
    fn drop(&mut self) {
        note("makes");
        SECOND.with(|_| note("has made"));
    }
}

fn destructors_make_others(t: &Trace) {
    thread_local!(static MAKES: Makes = const { Makes });
    t.spawn("flow", |_| MAKES.with(|_| ())).join();
    t.says("notes", notes());
}

struct Waits;

impl Drop for Waits {
    fn drop(&mut self) {
        let (read, write) = goroutines_twin_tests::make::pipe();
        std::thread::spawn(move || {
            ms(20);
            unsafe { libc::write(write, c"x".as_ptr().cast(), 1) };
        });
        let n = unsafe { libc::read(read, [0u8; 1].as_mut_ptr().cast(), 1) };
        ms(5);
        note(format!("has read {n}"));
        goroutines_twin_tests::make::close([read, write]);
    }
}

fn destructors_may_wait(t: &Trace) {
    thread_local!(static WAITS: Waits = const { Waits });
    t.spawn("flow", |_| WAITS.with(|_| ())).join();
    ms(200);
    t.says("notes", notes());
}

fn destructors_may_panic_in_order(t: &Trace) {
    // A panic in the body first, then the destructors.
    let flow = t.spawn("flow", |_| {
        FIRST.with(|_| ());
        std::panic::set_hook(Box::new(|_| note("hook")));
        let result = std::panic::catch_unwind(|| panic!("x"));
        note(format!("caught {}", result.is_err()));
    });
    flow.join();
    t.says("notes", notes());
}

fn borrowed_while_waiting(t: &Trace) {
    let all: Vec<_> = (0..8)
        .map(|i| {
            t.spawn(&format!("flow {i}"), move |t| {
                TEXT.with(|text| {
                    let mut text = text.borrow_mut();
                    for _ in 0..5 {
                        text.push(char::from(b'a' + i));
                        ms(2);
                    }
                });
                t.says("text", TEXT.with(|text| text.borrow().clone()));
            })
        })
        .collect();
    all.into_iter().for_each(goroutines_twin_tests::Flow::join);
}

struct Looks;

impl Drop for Looks {
    fn drop(&mut self) {
        note(format!(
            "text {}",
            if TEXT.try_with(|_| ()).is_ok() { "is there" } else { "is gone" }
        ));
    }
}

fn accessed_after_their_end(t: &Trace) {
    thread_local!(static LOOKS: Looks = const { Looks });
    t.spawn("looks first", |_| {
        LOOKS.with(|_| ());
        TEXT.with(|text| text.borrow_mut().push('x'));
    })
    .join();
    t.says("notes", notes());
    t.spawn("looks last", |_| {
        TEXT.with(|text| text.borrow_mut().push('x'));
        LOOKS.with(|_| ());
    })
    .join();
    t.says("notes", notes());
}

fn large_ones(t: &Trace) {
    for i in 0..3 {
        t.spawn(&format!("flow {i}"), |t| {
            LARGE.with_borrow_mut(|large| {
                t.says("at first", large.iter().map(|b| u32::from(*b)).sum::<u32>());
                large.fill(1);
                ms(10);
                t.says("later", large.iter().map(|b| u32::from(*b)).sum::<u32>());
            });
        })
        .join();
    }
}

fn key(destructor: Option<unsafe extern "C" fn(*mut libc::c_void)>) -> libc::pthread_key_t {
    let mut key = 0;
    assert_eq!(unsafe { libc::pthread_key_create(&raw mut key, destructor) }, 0, "a key");
    key
}

fn set(key: libc::pthread_key_t, value: usize) -> String {
    code(unsafe {
        libc::pthread_setspecific(key, std::ptr::without_provenance::<libc::c_void>(value))
    })
}

fn get(key: libc::pthread_key_t) -> usize {
    unsafe { libc::pthread_getspecific(key) }.addr()
}

fn keys_hold_values(t: &Trace) {
    let key = key(None);
    t.says("at first", get(key));
    t.says("set", set(key, 7));
    let other = t.spawn("other", move |t| {
        t.says("at first", get(key));
        t.says("set", set(key, 9));
        ms(50);
        t.says("is", get(key));
    });
    ms(20);
    t.says("is", get(key));
    other.join();
    t.says("is", get(key));
    t.says("delete", code(unsafe { libc::pthread_key_delete(key) }));
    t.says("delete again", code(unsafe { libc::pthread_key_delete(key) }));
    t.says("set what is gone", set(key, 7));
    t.says("get what is gone", get(key));
}

fn keys_new_in_each_flow(t: &Trace) {
    let key = key(None);
    for i in 0..6 {
        t.spawn(&format!("flow {i}"), move |t| {
            t.says("at first", get(key));
            set(key, 40 + i);
        })
        .join();
    }
}

extern "C" fn noting(value: *mut libc::c_void) {
    note(format!("destroyed {}", value.addr()));
}

fn keys_destructors(t: &Trace) {
    let (a, b) = (key(Some(noting)), key(Some(noting)));
    for i in 0..3 {
        t.spawn(&format!("flow {i}"), move |_| {
            set(a, 10 + i);
            set(b, 20 + i);
            set(b, 0);
        })
        .join();
        t.says("notes", notes());
    }
}

static AGAIN: AtomicU32 = AtomicU32::new(0);

extern "C" fn setting_again(value: *mut libc::c_void) {
    note(format!("destroyed {}", value.addr()));
    set(AGAIN.load(Ordering::Relaxed), value.addr() + 1);
}

fn keys_destructors_again(t: &Trace) {
    let key = key(Some(setting_again));
    AGAIN.store(key, Ordering::Relaxed);
    for i in 0..2 {
        t.spawn(&format!("flow {i}"), move |t| {
            t.says("at first", get(key));
            set(key, 1);
        })
        .join();
        t.says("notes", notes());
    }
}

fn keys_deleted(t: &Trace) {
    let key = key(Some(noting));
    let flow = t.spawn("flow", move |_| {
        set(key, 5);
        ms(50);
    });
    ms(20);
    t.says("delete", code(unsafe { libc::pthread_key_delete(key) }));
    flow.join();
    t.says("notes", notes());
    let mut new = 0;
    t.says("create", code(unsafe { libc::pthread_key_create(&raw mut new, None) }));
    t.says("the number again", new == key);
    t.says("at first", get(new));
}

fn keys_many(t: &Trace) {
    let mut keys = Vec::new();
    let mut key = 0;
    let refused = loop {
        let n = unsafe { libc::pthread_key_create(&raw mut key, None) };
        if n != 0 {
            break n;
        }
        keys.push(key);
    };
    t.says("refused", code(refused));
    t.says("more than a thousand", keys.len() > 1000);
    let last = *keys.last().unwrap_or(&0);
    for i in 0..3 {
        t.spawn(&format!("flow {i}"), move |t| {
            t.says("at first", get(last));
            t.says("set", set(last, 3));
            ms(5);
            t.says("is", get(last));
        })
        .join();
    }
}

extern "C" fn reading(_: *mut libc::c_void) {
    note(format!("text {}", if TEXT.try_with(|_| ()).is_ok() { "is there" } else { "is gone" }));
    say::set_errno(3);
    note(format!("errno {}", say::errno()));
    note(format!("sleeps {}", unsafe { libc::usleep(1000) }));
}

fn keys_used_in_destructors(t: &Trace) {
    let key = key(Some(reading));
    t.spawn("flow", move |_| {
        TEXT.with(|text| text.borrow_mut().push('x'));
        set(key, 1);
    })
    .join();
    t.says("notes", notes());
}

fn once_in_all_flows(t: &Trace) {
    static ONCE: std::sync::OnceLock<u32> = std::sync::OnceLock::new();
    let all: Vec<_> = (0..10)
        .map(|i| {
            t.spawn(&format!("flow {i}"), |t| {
                let value = ONCE.get_or_init(|| {
                    ms(50);
                    MADE.fetch_add(1, Ordering::Relaxed)
                });
                t.says("value", value);
            })
        })
        .collect();
    all.into_iter().for_each(goroutines_twin_tests::Flow::join);
    t.says("made", MADE.load(Ordering::Relaxed));
}

extern "C" fn made_once() {
    ms(50);
    MADE.fetch_add(1, Ordering::Relaxed);
}

unsafe extern "C" {
    #[link_name = "pthread_once"]
    fn c_once(control: *const AtomicU32, f: extern "C" fn()) -> libc::c_int;
}

fn pthread_once(t: &Trace) {
    static CONTROL: AtomicU32 = AtomicU32::new(0);
    let all: Vec<_> = (0..6)
        .map(|i| {
            t.spawn(&format!("flow {i}"), |t| {
                t.says("once", code(unsafe { c_once(&raw const CONTROL, made_once) }));
                t.says("made", MADE.load(Ordering::Relaxed));
            })
        })
        .collect();
    all.into_iter().for_each(goroutines_twin_tests::Flow::join);
    let _ = (null::<u8>(), null_mut::<u8>());
}

fn panics_are_caught(t: &Trace) {
    std::panic::set_hook(Box::new(|_| note("hook")));
    for i in 0..3 {
        let caught = std::panic::catch_unwind(|| {
            ms(5);
            std::panic::panic_any(i);
        });
        t.says("caught", format!("{:?}", caught.err().and_then(|e| e.downcast::<i32>().ok())));
    }
    let flow = t.spawn("flow", |_| std::panic::catch_unwind(|| panic!("x")).is_err());
    t.says("in a flow", flow.join());
    t.says("notes", notes());
}

struct TellsPanicking;

impl Drop for TellsPanicking {
    fn drop(&mut self) {
        ms(50);
        note(format!("panicking {}", std::thread::panicking()));
    }
}

fn panicking_is_each_flows_own(t: &Trace) {
    std::panic::set_hook(Box::new(|_| ()));
    let flow = t.spawn("panics", |_| {
        std::panic::catch_unwind(|| {
            let _tells = TellsPanicking;
            panic!("x");
        })
        .is_err()
    });
    let other = t.spawn("does not", |t| {
        for _ in 0..8 {
            ms(10);
            if std::thread::panicking() {
                t.line("panicking");
            }
        }
    });
    t.says("caught", flow.join());
    other.join();
    t.says("notes", notes());
}

fn hooks_see_the_flow(t: &Trace) {
    std::panic::set_hook(Box::new(|info| {
        let text = info.payload().downcast_ref::<&str>().copied().unwrap_or("no text");
        note(format!("{text} at a place: {}", info.location().is_some()));
    }));
    let all: Vec<_> = ["one", "two"]
        .into_iter()
        .map(|text| {
            t.spawn(text, move |_| {
                std::panic::catch_unwind(|| std::panic::panic_any(text)).is_err()
            })
        })
        .collect();
    for flow in all {
        t.says("caught", flow.join());
    }
    let mut all: Vec<_> = notes().split(", ").map(str::to_owned).collect();
    all.sort();
    t.says("notes", all.join(", "));
}

fn poisoned_by_a_panic(t: &Trace) {
    std::panic::set_hook(Box::new(|_| ()));
    let mutex = std::sync::Arc::new(std::sync::Mutex::new(1));
    let its = mutex.clone();
    let flow = t.spawn("flow", move |_| {
        let caught = std::panic::catch_unwind(|| {
            let mut value = its.lock().expect("not poisoned yet");
            *value = 2;
            ms(20);
            panic!("x");
        });
        caught.is_err()
    });
    t.says("caught", flow.join());
    t.says("poisoned", mutex.is_poisoned());
    t.says("value", *mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
}

fn unwinding_drops(t: &Trace) {
    std::panic::set_hook(Box::new(|_| ()));
    let caught = std::panic::catch_unwind(|| {
        let _a = Noted("outer");
        let _ = std::panic::catch_unwind(|| {
            let _b = Noted("inner");
            panic!("x");
        });
        let _c = Waits;
        panic!("y");
    });
    t.says("caught", caught.is_err());
    t.says("notes", notes());
}
