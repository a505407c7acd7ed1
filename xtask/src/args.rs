//! Arguments.

use std::error::Error;
use std::ffi::OsString;

pub(crate) use lexopt::Arg::{self, Long, Value};
pub(crate) use lexopt::Parser as Args;

/// The value of the option that was read last.
pub(crate) fn value(args: &mut Args) -> Result<String, Box<dyn Error>> {
    match args.value() {
        Ok(value) => Ok(value.into_string().map_err(|value| format!("{value:?} is no UTF-8"))?),
        Err(lexopt::Error::MissingValue { option }) => {
            Err(format!("{} wants a value", option.unwrap_or_default()).into())
        }
        Err(e) => Err(e.into()),
    }
}

/// Complains about an argument that the command has no use for.
pub(crate) fn unknown(arg: Arg<'_>) -> Box<dyn Error> {
    let word = match arg {
        Arg::Short(letter) => format!("-{letter}"),
        Long(name) => format!("--{name}"),
        Value(word) => word.display().to_string(),
    };
    format!("what is {word:?}? See --help").into()
}

/// Complains about any argument.
pub(crate) fn none(mut args: Args) -> Result<(), Box<dyn Error>> {
    args.next()?.map_or(Ok(()), |arg| Err(unknown(arg)))
}

/// All arguments as they are, for another program.
pub(crate) fn all(mut args: Args) -> Result<Vec<OsString>, Box<dyn Error>> {
    Ok(args.raw_args()?.collect())
}
