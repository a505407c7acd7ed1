//! System calls that a sandbox refuses.

use crate::raw;
use libc::sock_filter;

/// Has the kernel refuse the system call `number`, with `errno`, to all threads of this process from now on. Where
/// `third` is given, only with that as its third argument.
///
/// # Panics
/// If the kernel does not take the filter.
pub fn refuse(number: libc::c_long, third: Option<u32>, errno: i32) {
    const LOAD: u16 = 0x20;
    const EQUALS: u16 = 0x15;
    const RETURN: u16 = 0x06;
    const NUMBER_AT: u32 = 0;
    const THIRD_AT: u32 = 16 + 2 * 8;
    let step = |code, k, jt, jf| sock_filter { code, jt, jf, k };
    let mut program = vec![
        step(LOAD, NUMBER_AT, 0, 0),
        step(EQUALS, number as u32, 0, if third.is_some() { 3 } else { 1 }),
    ];
    if let Some(third) = third {
        program.push(step(LOAD, THIRD_AT, 0, 0));
        program.push(step(EQUALS, third, 0, 1));
    }
    program.push(step(RETURN, libc::SECCOMP_RET_ERRNO | errno as u32, 0, 0));
    program.push(step(RETURN, libc::SECCOMP_RET_ALLOW, 0, 0));
    let filter =
        libc::sock_fprog { len: program.len() as libc::c_ushort, filter: program.as_mut_ptr() };
    const SET_FILTER: usize = 1;
    const ALL_THREADS: usize = 1;
    // SAFETY: a filter to read.
    unsafe {
        assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        let args = [SET_FILTER, ALL_THREADS, &raw const filter as usize, 0, 0, 0];
        assert_eq!(raw::call(libc::SYS_seccomp, args), 0, "no filter");
    }
}
