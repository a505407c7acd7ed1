//! A program that SIGQUIT comes to, as its argument says. It writes "ready" when it is.

use goroutines::{chan, go, runtime, thread};
use std::time::Duration;

extern "C" fn handler(_: i32) {
    // SAFETY: a text to write; the process ends.
    unsafe {
        libc::write(1, c"handled\n".as_ptr().cast(), 8);
        libc::_exit(3);
    }
}

fn sleep_for_long() {
    std::thread::sleep(Duration::from_secs(60));
}

fn waits_for_nothing() {
    let (_send, receive) = chan::bounded::<()>(0);
    let _ = receive.recv();
}

fn work(how: &str) {
    let _waits = thread::Builder::new().name("idler".into()).spawn(waits_for_nothing);
    let _computes = go(|| {
        loop {
            std::hint::spin_loop();
        }
    });
    // Until they are where they are to be seen.
    std::thread::sleep(Duration::from_millis(100));
    // SAFETY: handlers of the right type; a child that waits and ends.
    unsafe {
        match how {
            "handles" => {
                libc::signal(libc::SIGQUIT, handler as extern "C" fn(i32) as usize);
            }
            "ignores" => {
                libc::signal(libc::SIGQUIT, libc::SIG_IGN);
                println!("ready");
                std::thread::sleep(Duration::from_millis(300));
                return;
            }
            "looks" => {
                // A library that passes the signal on to the handler that was there before.
                let before = libc::signal(libc::SIGQUIT, handler as extern "C" fn(i32) as usize);
                println!("ready");
                println!("{}", before == libc::SIG_DFL);
                return;
            }
            "forks" => {
                let child = libc::fork();
                if child == 0 {
                    libc::raise(libc::SIGQUIT);
                    libc::_exit(4);
                }
                let mut status = 0;
                libc::waitpid(child, &raw mut status, 0);
                println!("ready");
                println!(
                    "{}",
                    libc::WIFSIGNALED(status) && libc::WTERMSIG(status) == libc::SIGQUIT
                );
                return;
            }
            "raises" => {
                println!("ready");
                libc::raise(libc::SIGQUIT);
            }
            _ => {}
        }
    }
    let _tells = go(|| {
        let sleeps = || {
            use runtime::GoroutineState::{Syscall, Waiting};
            runtime::goroutines().iter().any(|g| g.id == 1 && matches!(g.state, Waiting | Syscall))
        };
        // (Where the call is not taken over, nobody is told of it.)
        while cfg!(feature = "intercept") && !sleeps() {
            std::thread::sleep(Duration::from_millis(1));
        }
        println!("ready");
    });
    sleep_for_long();
}

fn main() {
    let how = std::env::args().nth(1).unwrap_or_default();
    let dump = how != "without";
    runtime::Builder::new().gomaxprocs(2).dump_on_quit(dump).run(move || work(&how));
}
