//! A program whose `main` ends with an error, or by a code of its own, as its argument says.

use std::error::Error;
use std::process::{ExitCode, Termination};

struct Code(u8);

impl Termination for Code {
    fn report(self) -> ExitCode {
        self.0.into()
    }
}

enum End {
    Error(Box<dyn Error>),
    Code(Code),
}

impl Termination for End {
    fn report(self) -> ExitCode {
        match self {
            Self::Error(e) => Err::<(), _>(e).report(),
            Self::Code(code) => code.report(),
        }
    }
}

fn parse() -> Result<u8, Box<dyn Error>> {
    Ok(std::env::args().nth(1).unwrap_or_default().parse()?)
}

#[goroutines::main]
fn main() -> End {
    parse().map_or_else(End::Error, |code| End::Code(Code(code)))
}
