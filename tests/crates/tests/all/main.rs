//! Crates as they are published, doing what programs do with them, on goroutines: they block in sockets,
//! pipes, locks and sleeps that nobody announced, while other goroutines run on the same processors.
//!
//! Each test checks what arrives, at `GOMAXPROCS` 1 and 2, with more goroutines than processors. Those
//! named `…_needs_few_threads` check that who blocks keeps no OS thread; they are there with the feature
//! `intercept` only.

#![expect(clippy::unwrap_used, reason = "a call that fails is the test's failure")]

mod channels;
mod compute;
mod contexts;
mod foreign_stacks;
mod harness;
mod http;
mod locks;
mod pools;
mod postgres;
mod redis;
mod servers;
mod spans;
mod sqlite;
mod tls;
mod websocket;
