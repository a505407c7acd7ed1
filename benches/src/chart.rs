//! A row as a picture: horizontal bars, a peer each, below one another for each number of processors.
//!
//! The picture has a background of its own, so it can be read wherever it is shown, and is dark where the
//! reader prefers that. Bars are linear; one that is far longer than what goroutines and Go need is cut,
//! for else the others could not be told apart. The figure stands beside each.

use crate::peers::{FLOOR, GO, OURS, Peer};
use crate::rows::{Measured, Row};
use goroutines_bench::figures::{median, more_is_better, number};
use std::fmt::Write;

const WIDTH: f64 = 720.0;
/// Where bars begin, and where the longest ends; behind that there is room for a figure.
const LEFT: f64 = 120.0;
const RIGHT: f64 = 580.0;
/// From one bar to the next, and its height.
const STEP: f64 = 24.0;
const BAR: f64 = 16.0;
/// A bar so many times longer than that of goroutines or Go is cut.
const TOO_LONG: f64 = 4.0;

const STYLE: &str = "\
text{font:13px system-ui,sans-serif;fill:#24292f}.t{font-size:17px;font-weight:600}\
.u,.p{fill:#57606a}.p{font-weight:600}.back{fill:#fff}.bar{fill:#a8b1bb}.goroutines{fill:#d9622b}\
.Go{fill:#3a9fc0}.floor{fill:#d5dae0}.w{stroke:#24292f;stroke-width:1.5;fill:none}\
@media(prefers-color-scheme:dark){text{fill:#e6edf3}.u,.p{fill:#9da7b3}.back{fill:#0d1117}\
.bar{fill:#59636e}.goroutines{fill:#e5743f}.Go{fill:#2f8fb0}.floor{fill:#363d46}.w{stroke:#e6edf3}}";

/// Charts of all that was measured, with the rows' names.
pub(crate) fn charts<'a>(peers: &[Peer], all: &'a [Measured]) -> Vec<(&'a str, String)> {
    let rows =
        || all.iter().flat_map(|measured| measured.rows.iter().map(|row| (measured.procs, row)));
    let mut charts: Vec<(&str, String)> = Vec::new();
    for (_, row) in rows() {
        if charts.iter().all(|(name, _)| *name != row.name) {
            let same: Vec<_> = rows().filter(|(_, other)| other.name == row.name).collect();
            charts.push((&row.name, svg(peers, &same)));
        }
    }
    charts
}

/// Draws rows of the same name, each with its number of processors.
fn svg(peers: &[Peer], rows: &[(u32, &Row)]) -> String {
    let Some((_, first)) = rows.first() else { return String::new() };
    let scale = (RIGHT - LEFT) / longest(peers, rows);
    let better = if more_is_better(&first.unit) { "more" } else { "less" };
    let (name, unit) = (escaped(&first.name), escaped(&first.unit));
    let mut body = format!(
        "<text class=\"t\" x=\"16\" y=\"28\">{name}</text>\n\
         <text class=\"u\" x=\"16\" y=\"48\">{unit}; {better} is better. Bar: median; line: least to \
         greatest.</text>\n"
    );
    let mut y = 60.0;
    for (procs, row) in rows {
        let processors = if *procs == 1 { "processor" } else { "processors" };
        let _ = writeln!(
            body,
            "<text class=\"p\" x=\"16\" y=\"{}\">{procs} {processors}</text>",
            y + 16.0
        );
        y += STEP;
        for (peer, values) in peers.iter().zip(&row.values) {
            if let [least, .., greatest] | [least @ greatest] = values[..]
                && let Some(median) = median(values)
            {
                body += &bar(
                    peer.name,
                    y,
                    [least, median, greatest].map(|value| value * scale),
                    median,
                );
                y += STEP;
            }
        }
        y += 8.0;
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {y}\" width=\"{WIDTH}\" \
         height=\"{y}\" role=\"img\">\n<title>{name}, {unit}</title>\n<style>{STYLE}</style>\n\
         <rect class=\"back\" width=\"100%\" height=\"100%\" rx=\"6\"/>\n{body}</svg>\n"
    )
}

/// The value that a bar of full length stands for.
fn longest(peers: &[Peer], rows: &[(u32, &Row)]) -> f64 {
    let greatest = |names: &[&str]| {
        let all = rows.iter().flat_map(|(_, row)| peers.iter().zip(&row.values));
        let all = all.filter(|(peer, _)| names.is_empty() || names.contains(&peer.name));
        all.filter_map(|(_, values)| values.last().copied()).fold(0.0, f64::max)
    };
    let (all, looked_at) = (greatest(&[]), greatest(&[OURS, GO]));
    let longest = if looked_at > 0.0 { all.min(looked_at * TOO_LONG) } else { all };
    if longest > 0.0 { longest } else { 1.0 }
}

/// A peer's bar; `lengths` are those of its least, its median and its greatest value.
fn bar(peer: &str, y: f64, lengths: [f64; 3], median: f64) -> String {
    let [least, length, greatest] = lengths.map(|length| length.min(RIGHT - LEFT));
    let class = if [OURS, GO, FLOOR].contains(&peer) { peer } else { "bar" };
    let (middle, label) = (y + BAR / 2.0, escaped(peer));
    let mut text = format!(
        "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{label}</text>\
         <rect class=\"{class}\" x=\"{LEFT}\" y=\"{y:.1}\" width=\"{length:.1}\" height=\"{BAR}\"/>",
        LEFT - 8.0,
        middle + 5.0,
    );
    if lengths[1] > length {
        // The bar is torn near its end.
        let x = RIGHT - 24.0;
        let _ =
            write!(text, "<path class=\"back\" d=\"M{x} {:.1}l6 -20h6l-6 20z\"/>", middle + 10.0);
    } else if greatest > least {
        let (x1, x2) = (LEFT + least, LEFT + greatest);
        let _ = write!(
            text,
            "<path class=\"w\" d=\"M{x1:.1} {middle:.1}H{x2:.1}M{x1:.1} {0:.1}v8M{x2:.1} {0:.1}v8\"/>",
            middle - 4.0
        );
    }
    let (x, y, figure) = (LEFT + length.max(greatest) + 8.0, middle + 5.0, number(median));
    let _ = writeln!(text, "<text x=\"{x:.1}\" y=\"{y:.1}\">{figure}</text>");
    text
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::{charts, escaped};
    use crate::rows::tests::{measured, peers};

    #[test]
    fn a_chart_a_row() {
        let mut all = [measured(), measured()];
        all[0].procs = 1;
        all[1].rows[0].values[2] = vec![1e9];
        let charts = charts(&peers(), &all);
        let [(rate, svg), (late, other)] = &charts[..] else { panic!("{charts:?}") };
        assert_eq!((*rate, *late), ("http_64", "http_64_p99"));
        for part in ["req/s; more is better", ">1 processor<", ">2 processors<", ">1,000,000,000<"]
        {
            assert!(svg.contains(part), "{part}\nin\n{svg}");
        }
        assert!(other.contains("ms; less is better"), "{other}");
        assert_eq!(svg.matches("class=\"goroutines\"").count(), 2);
        // The one that is far too long is torn; the others' whiskers are there.
        assert_eq!(
            (svg.matches("class=\"back\" d=").count(), svg.matches("class=\"w\"").count()),
            (1, 2)
        );
        assert_well_formed(svg);
        assert_well_formed(other);
        assert_eq!(escaped("a<b> & \"c\""), "a&lt;b&gt; &amp; &quot;c&quot;");
    }

    /// Elements end in the order in which they begin, attributes are quoted, and `&` begins an entity.
    fn assert_well_formed(svg: &str) {
        let mut open = Vec::new();
        let mut rest = svg.trim();
        while let Some((text, after)) = rest.split_once('<') {
            assert!(!text.contains('>'), "{text:?}");
            assert!(!open.is_empty() || text.is_empty(), "text outside: {text:?}");
            text.match_indices('&')
                .for_each(|(at, _)| assert!(text[at..].contains(';'), "{text:?}"));
            let (tag, after) = after.split_once('>').expect("a tag ends");
            rest = after;
            if let Some(name) = tag.strip_prefix('/') {
                assert_eq!(open.pop(), Some(name));
                continue;
            }
            let name = tag.split([' ', '/']).next().unwrap();
            let mut attributes = tag[name.len()..].trim_end_matches('/').trim();
            while !attributes.is_empty() {
                let (name, value) = attributes.split_once("=\"").expect("name and quote");
                assert!(name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-'), "{name:?}");
                attributes = value.split_once('"').expect("the other quote").1.trim_start();
            }
            if !tag.ends_with('/') {
                open.push(name);
            }
        }
        assert!(open.is_empty() && rest.is_empty(), "{open:?}, {rest:?}");
    }
}
