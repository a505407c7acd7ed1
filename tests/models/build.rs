//! Makes `thread/park.rs` fit for the model checker: it names std's atomics, not those of
//! `base/atomic.rs`.

use std::error::Error;
use std::path::Path;
use std::{env, fs};

const FILE: &str = "../../crates/goroutines/src/thread/park.rs";
const REPLACED: [(&str, &str); 2] =
    [("use std::sync::atomic::", "use crate::base::atomic::"), ("const fn new()", "fn new()")];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed={FILE}");
    let text = fs::read_to_string(FILE)?;
    // An included file can't have inner documentation.
    let mut text: String = text
        .lines()
        .filter(|line| !line.starts_with("//!"))
        .flat_map(|line| [line, "\n"])
        .collect();
    for (from, to) in REPLACED {
        if env::var_os("CARGO_CFG_LOOM").is_some() && text.matches(from).count() != 1 {
            return Err(format!("{FILE}: {from:?} is not there once").into());
        }
        text = text.replace(from, to);
    }
    let out = env::var_os("OUT_DIR").ok_or("no OUT_DIR")?;
    fs::write(Path::new(&out).join("park.rs"), text)?;
    Ok(())
}
