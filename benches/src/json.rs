//! All values, for other programs.

use crate::peers::Peer;
use crate::rows::Measured;
use goroutines_bench::figures::{median, more_is_better};
use goroutines_bench::machine::Machine;
use std::fmt::Write;

pub(crate) fn json(machine: &Machine, command: &str, peers: &[Peer], all: &[Measured]) -> String {
    let mut results = Vec::new();
    for measured in all {
        for row in &measured.rows {
            for (peer, values) in peers.iter().zip(&row.values).filter(|(_, v)| !v.is_empty()) {
                let head = [
                    ("row", quoted(&row.name)),
                    ("case", quoted(measured.case)),
                    ("procs", measured.procs.to_string()),
                    ("peer", quoted(peer.name)),
                    ("unit", quoted(&row.unit)),
                    ("more_is_better", more_is_better(&row.unit).to_string()),
                    ("median", median(values).unwrap_or_default().to_string()),
                    ("values", list(values.iter().map(f64::to_string))),
                ];
                results.push(object(head));
            }
        }
    }
    let mut failures = Vec::new();
    for Measured { case, procs, failures: all, .. } in all {
        for (peer, whys) in peers.iter().zip(all) {
            failures.extend(whys.iter().map(|why| {
                let (case, procs) = (quoted(case), procs.to_string());
                let (peer, why) = (quoted(peer.name), quoted(why));
                object([("case", case), ("procs", procs), ("peer", peer), ("why", why)])
            }));
        }
    }
    let versions =
        peers.iter().map(|peer| format!("{}: {}", quoted(peer.name), quoted(&peer.version)));
    let parts = [
        format!("\"machine\": {}", about(machine)),
        format!("\"command\": {}", quoted(command)),
        format!("\"versions\": {{{}}}", versions.collect::<Vec<_>>().join(", ")),
        format!("\"results\": {}", lines(&results)),
        format!("\"failures\": {}", lines(&failures)),
    ];
    format!("{{\n{}\n}}\n", parts.join(",\n"))
}

fn about(machine: &Machine) -> String {
    let Machine { cpu, cores, kernel, libc, rustc, date, commit } = machine;
    object([
        ("cpu", quoted(cpu)),
        ("cores", cores.to_string()),
        ("kernel", quoted(kernel)),
        ("libc", quoted(libc)),
        ("rustc", quoted(rustc)),
        ("date", quoted(date)),
        ("commit", quoted(commit)),
    ])
}

fn object<const N: usize>(fields: [(&str, String); N]) -> String {
    let fields = fields.map(|(name, value)| format!("{}: {value}", quoted(name)));
    format!("{{{}}}", fields.join(", "))
}

fn list(items: impl Iterator<Item = String>) -> String {
    format!("[{}]", items.collect::<Vec<_>>().join(", "))
}

/// A list with a line for each item.
fn lines(items: &[String]) -> String {
    if items.is_empty() { "[]".to_owned() } else { format!("[\n  {}\n]", items.join(",\n  ")) }
}

fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c < ' ' => {
                let _ = write!(out, "\\u{:04x}", c as u32);
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::{json, quoted};
    use crate::rows::tests::{measured, peers};
    use goroutines_bench::machine::Machine;

    #[test]
    fn quotes() {
        assert_eq!(quoted("a\"\\\n"), "\"a\\\"\\\\\\u000a\"");
    }

    #[test]
    fn all_that_was_measured() {
        let text = json(&Machine::look(), "bench \"x\"", &peers(), &[measured()]);
        for part in [
            r#""command": "bench \"x\"""#,
            r#""versions": {"goroutines": "1", "#,
            r#""row": "http_64_p99", "case": "http_64", "procs": 2, "peer": "goroutines", "unit": "ms", "#,
            r#""more_is_better": true, "median": 25, "values": [10, 20, 30, 40]}"#,
            r#""peer": "may", "why": "hung: killed after 60 s"}"#,
        ] {
            assert!(text.contains(part), "{part}\nin\n{text}");
        }
        assert!(is_value(&mut text.trim()) && !is_value(&mut "{\"a\" 1}"), "{text}");
    }

    /// Whether `text` begins with a JSON value, which is taken off it.
    fn is_value(text: &mut &str) -> bool {
        let rest = text.trim_start();
        let mut chars = rest.chars();
        match chars.next() {
            Some('{') => is_series(text, rest, '}', |text| {
                is_value(text) && take(text, ':') && is_value(text)
            }),
            Some('[') => is_series(text, rest, ']', is_value),
            Some('"') => {
                let mut escaped = false;
                let end = rest[1..].find(|c| {
                    let ends = c == '"' && !escaped;
                    escaped = c == '\\' && !escaped;
                    ends
                });
                *text = &rest[end.map_or(rest.len(), |end| end + 2)..];
                end.is_some()
            }
            _ => {
                let end = rest.find([',', ']', '}', ' ', '\n']).unwrap_or(rest.len());
                *text = &rest[end..];
                matches!(&rest[..end], "true" | "false") || rest[..end].parse::<f64>().is_ok()
            }
        }
    }

    fn is_series<'a>(
        text: &mut &'a str,
        rest: &'a str,
        end: char,
        item: impl Fn(&mut &'a str) -> bool,
    ) -> bool {
        *text = &rest[1..];
        if take(text, end) {
            return true;
        }
        loop {
            if !item(text) {
                return false;
            }
            if !take(text, ',') {
                return take(text, end);
            }
        }
    }

    fn take(text: &mut &str, c: char) -> bool {
        let rest = text.trim_start().strip_prefix(c);
        *text = rest.unwrap_or(text);
        rest.is_some()
    }
}
