//! Locks in a sandbox that refuses what libc can do without.

use crate::c::{Kind, in_ms};
use goroutines_twin_tests::{Row, Trace, ms, ret};
use libc::{c_long, sock_filter};

pub(crate) fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for kind in Kind::all() {
        if kind.robust {
            rows.push(
                Row::new(format!("sandboxed_{}", kind.name()), move |t| robust(t, kind))
                    .before(|t| refuse(t, &[libc::SYS_get_robust_list, libc::SYS_set_robust_list])),
            );
        }
    }
    rows
}

/// Has the calling thread, and those to come, refused these calls: `EPERM`.
fn refuse(t: &Trace, calls: &[c_long]) {
    let step = |code: u32, jt, jf, k: u32| sock_filter { code: code as u16, jt, jf, k };
    let mut filter = vec![step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0)];
    for call in calls {
        filter.push(step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, *call as u32));
        let no = libc::SECCOMP_RET_ERRNO | libc::EPERM as u32;
        filter.push(step(libc::BPF_RET | libc::BPF_K, 0, 0, no));
    }
    filter.push(step(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW));
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
    let set = unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program)
    };
    if set != 0 {
        t.skip(format!("no sandbox: {}", ret(set)));
    }
}

fn robust(t: &Trace, kind: Kind) {
    let Ok(m) = kind.make() else { return t.line("none") };
    let work = move |t: &Trace| {
        t.says("lock", m.lock());
        ms(5);
        t.says("trylock", m.try_lock());
        if kind.ty == 1 {
            t.says("unlock", m.unlock());
        }
        t.says("unlock", m.unlock());
        t.says("timedlock", m.timed(in_ms(1000)));
        t.says("unlock", m.unlock());
    };
    work(t);
    t.spawn("other", work).join();
    t.says("destroy", m.destroy());
}
