//! A program whose goroutines are asleep, beside threads of rayon's or tokio's, as its argument says.

use goroutines::chan::bounded;
use goroutines::{go, run};
use std::time::Duration;
use tokio::runtime::Builder;
use tokio::sync::oneshot;

fn waits_for_nothing() {
    let (_send, receive) = bounded::<()>(0);
    let _ = receive.recv();
}

fn main() {
    match &*std::env::args().nth(1).unwrap_or_default() {
        "rayon" => {
            assert_eq!(rayon::join(|| 1, || 2), (1, 2));
            run(waits_for_nothing);
        }
        // Without descriptors to wait for, tokio's thread parks as others do.
        "tokio" => {
            let tokio = Builder::new_current_thread().build().expect("a runtime");
            let (done, waits) = oneshot::channel::<()>();
            go(move || {
                waits_for_nothing();
                let _ = done.send(());
            });
            let _ = tokio.block_on(waits);
        }
        "tokio wakes" => {
            let tokio = Builder::new_current_thread().enable_all().build().expect("a runtime");
            let (done, waits) = oneshot::channel();
            let (wake, woken) = bounded(0);
            go(move || {
                woken.recv().expect("the thread sends");
                done.send(()).expect("the thread waits");
            });
            tokio.block_on(async {
                tokio::time::sleep(Duration::from_millis(1200)).await;
                wake.send(()).expect("the goroutine waits");
                waits.await.expect("the goroutine sends");
            });
            println!("woken");
        }
        other => panic!("{other}: no such case"),
    }
}
