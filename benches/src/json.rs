//! All values, for other programs.

use crate::peers::Peer;
use crate::rows::Measured;
use goroutines_bench::figures::{median, more_is_better};
use goroutines_bench::machine::Machine;
use serde::Serialize;
use serde_json::ser::{Formatter, Serializer};
use serde_json::{Map, Value, json};
use std::io::{self, Write};

/// One object, with a line for each part, and for each result and failure.
pub(crate) fn json(
    machine: &Machine,
    command: &str,
    peers: &[Peer],
    all: &[Measured],
) -> io::Result<String> {
    let Machine { cpu, cores, kernel, libc, rustc, date, commit } = machine;
    let machine = json!({
        "cpu": cpu,
        "cores": cores,
        "kernel": kernel,
        "libc": libc,
        "rustc": rustc,
        "date": date,
        "commit": commit,
    });
    let versions = peers.iter().map(|peer| (peer.name.to_owned(), json!(peer.version)));
    let parts = [
        ("machine", text(&machine)?),
        ("command", text(&json!(command))?),
        ("versions", text(&versions.collect::<Map<_, _>>().into())?),
        ("results", lines(&results(peers, all))?),
        ("failures", lines(&failures(peers, all))?),
    ];
    let parts = parts.map(|(name, text)| format!("\"{name}\": {text}"));
    Ok(format!("{{\n{}\n}}\n", parts.join(",\n")))
}

fn results(peers: &[Peer], all: &[Measured]) -> Vec<Value> {
    let mut results = Vec::new();
    for measured in all {
        for row in &measured.rows {
            for (peer, values) in peers.iter().zip(&row.values).filter(|(_, v)| !v.is_empty()) {
                results.push(json!({
                    "row": row.name,
                    "case": measured.case,
                    "procs": measured.procs,
                    "peer": peer.name,
                    "unit": row.unit,
                    "more_is_better": more_is_better(&row.unit),
                    "median": number(median(values).unwrap_or_default()),
                    "values": values.iter().copied().map(number).collect::<Vec<_>>(),
                }));
            }
        }
    }
    results
}

fn failures(peers: &[Peer], all: &[Measured]) -> Vec<Value> {
    let mut failures = Vec::new();
    for Measured { case, procs, failures: all, .. } in all {
        for (peer, whys) in peers.iter().zip(all) {
            failures.extend(
                whys.iter().map(
                    |why| json!({ "case": case, "procs": procs, "peer": peer.name, "why": why }),
                ),
            );
        }
    }
    failures
}

/// As 25, where serde_json would write 25.0.
fn number(value: f64) -> Value {
    let whole = value as i64;
    if whole as f64 == value { json!(whole) } else { json!(value) }
}

/// A list with a line for each item.
fn lines(items: &[Value]) -> io::Result<String> {
    if items.is_empty() {
        return Ok("[]".to_owned());
    }
    let items: Vec<String> = items.iter().map(text).collect::<Result<_, _>>()?;
    Ok(format!("[\n  {}\n]", items.join(",\n  ")))
}

/// In one line.
fn text(value: &Value) -> io::Result<String> {
    let mut text = Vec::new();
    value.serialize(&mut Serializer::with_formatter(&mut text, Spaced))?;
    String::from_utf8(text).map_err(io::Error::other)
}

/// In one line, with a space after each comma and colon.
struct Spaced;

impl Spaced {
    fn comma<W: Write + ?Sized>(out: &mut W, is_first: bool) -> io::Result<()> {
        if is_first { Ok(()) } else { out.write_all(b", ") }
    }
}

impl Formatter for Spaced {
    fn begin_object_key<W: Write + ?Sized>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        Self::comma(out, first)
    }

    fn begin_object_value<W: Write + ?Sized>(&mut self, out: &mut W) -> io::Result<()> {
        out.write_all(b": ")
    }

    fn begin_array_value<W: Write + ?Sized>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        Self::comma(out, first)
    }
}

#[cfg(test)]
mod tests {
    use super::json;
    use crate::rows::tests::{measured, peers};
    use goroutines_bench::machine::Machine;
    use serde_json::Value;
    use std::error::Error;

    #[test]
    fn all_that_was_measured() -> Result<(), Box<dyn Error>> {
        let text = json(&Machine::look(), "bench \"x\"", &peers(), &[measured()])?;
        for part in [
            r#""command": "bench \"x\"""#,
            r#""versions": {"goroutines": "1", "#,
            r#""row": "http_64_p99", "case": "http_64", "procs": 2, "peer": "goroutines", "unit": "ms", "#,
            r#""more_is_better": true, "median": 25, "values": [10, 20, 30, 40]}"#,
            r#""peer": "may", "why": "hung: killed after 60 s"}"#,
        ] {
            assert!(text.contains(part), "{part}\nin\n{text}");
        }
        let value: Value = serde_json::from_str(&text)?;
        assert_eq!(value["results"][0]["row"], "http_64");
        assert_eq!(value["versions"]["goroutines"], "1");
        Ok(())
    }

    #[test]
    fn nothing_was_measured() -> Result<(), Box<dyn Error>> {
        let text = json(&Machine::look(), "", &[], &[])?;
        assert!(text.ends_with("\"results\": [],\n\"failures\": []\n}\n"), "{text}");
        Ok(())
    }
}
