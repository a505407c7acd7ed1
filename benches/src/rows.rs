//! What was measured.

use crate::peers::{FLOOR, OURS, Peer};
use crate::run::Outcome;
use goroutines_bench::figures::{median, more_is_better};

/// A case on a number of processors.
#[derive(Debug)]
pub(crate) struct Measured {
    pub(crate) case: &'static str,
    pub(crate) procs: u32,
    /// One a figure of the case.
    pub(crate) rows: Vec<Row>,
    /// One list a peer.
    pub(crate) failures: Vec<Vec<String>>,
    /// The part of the CPUs that other programs had meanwhile.
    pub(crate) others: f64,
}

/// One of the case's figures.
#[derive(Debug)]
pub(crate) struct Row {
    /// The case, and what the figure is called in it.
    pub(crate) name: String,
    pub(crate) unit: String,
    /// One list a peer, in ascending order.
    pub(crate) values: Vec<Vec<f64>>,
}

impl Measured {
    pub(crate) fn new(case: &'static str, procs: u32, peers: usize) -> Self {
        Self { case, procs, rows: Vec::new(), failures: vec![Vec::new(); peers], others: 0.0 }
    }

    /// Adds what a run of a peer came to.
    pub(crate) fn add(&mut self, peer: usize, outcome: Outcome) {
        match outcome {
            Outcome::Figures(figures) => {
                for figure in figures {
                    let row = self.row(&figure.name, &figure.unit);
                    let values = &mut row.values[peer];
                    let at = values.partition_point(|other| *other < figure.value);
                    values.insert(at, figure.value);
                }
            }
            Outcome::NoSuchCase => {}
            Outcome::Failed(why) => self.failures[peer].push(why.to_string()),
        }
    }

    fn row(&mut self, figure: &str, unit: &str) -> &mut Row {
        let case = self.case;
        let name = if figure.is_empty() { case.to_owned() } else { format!("{case}_{figure}") };
        let at = self.rows.iter().position(|row| row.name == name).unwrap_or_else(|| {
            let values = vec![Vec::new(); self.failures.len()];
            self.rows.push(Row { name, unit: unit.to_owned(), values });
            self.rows.len() - 1
        });
        &mut self.rows[at]
    }

    pub(crate) fn has_failures(&self) -> bool {
        self.failures.iter().any(|failures| !failures.is_empty())
    }

    /// Whether there is anything to say of a peer.
    pub(crate) fn knows(&self, peer: usize) -> bool {
        let has_values = self.rows.iter().any(|row| !row.values[peer].is_empty());
        has_values || !self.failures[peer].is_empty()
    }
}

impl Row {
    /// The median of the peer of that name.
    fn median_of(&self, peers: &[Peer], name: &str) -> Option<f64> {
        let at = peers.iter().position(|peer| peer.name == name)?;
        median(&self.values[at])
    }

    /// Ours divided by that of the peer of that name.
    pub(crate) fn ratio(&self, peers: &[Peer], name: &str) -> Option<f64> {
        let (ours, other) = (self.median_of(peers, OURS)?, self.median_of(peers, name)?);
        (other > 0.0).then(|| ours / other)
    }

    /// Who of the others has the best median.
    pub(crate) fn best_other<'a>(&self, peers: &'a [Peer]) -> Option<&'a str> {
        let others = peers.iter().zip(&self.values);
        let others = others.filter(|(peer, _)| peer.name != OURS && peer.name != FLOOR);
        let medians = others.filter_map(|(peer, values)| Some((median(values)?, peer.name)));
        let sign = if more_is_better(&self.unit) { -1.0 } else { 1.0 };
        let best = medians.min_by(|a, b| (a.0 * sign).total_cmp(&(b.0 * sign)));
        best.map(|(_, name)| name)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::Measured;
    use crate::peers::Peer;
    use crate::run::{Figure, Outcome};
    use goroutines_bench::child::Failure;
    use std::time::Duration;

    pub(crate) fn peers() -> [Peer; 4] {
        ["goroutines", "Go", "may", "floor"].map(|name| Peer::new(name, "1"))
    }

    /// Two figures of a case, one of each direction, for all peers; may hung once.
    pub(crate) fn measured() -> Measured {
        let mut measured = Measured::new("http_64", 2, 4);
        let rates = [[30.0, 10.0, 20.0, 40.0], [50.0; 4], [5.0; 4], [90.0; 4]];
        for (i, values) in rates.iter().enumerate() {
            for &value in values {
                let both = vec![Figure::new("", "req/s", value), Figure::new("p99", "ms", value)];
                measured.add(i, Outcome::Figures(both));
            }
        }
        measured.add(2, Outcome::Failed(Failure::Hung(Duration::from_secs(60))));
        measured
    }

    #[test]
    fn ratios_in_both_directions() {
        let (peers, measured) = (peers(), measured());
        let [rate, late] = &measured.rows[..] else { panic!("{measured:?}") };
        assert_eq!((rate.name.as_str(), late.name.as_str()), ("http_64", "http_64_p99"));
        assert_eq!(rate.values[0], [10.0, 20.0, 30.0, 40.0]);
        assert_eq!(rate.best_other(&peers), Some("Go"));
        assert_eq!(late.best_other(&peers), Some("may"));
        assert_eq!([rate, late].map(|row| row.ratio(&peers, "may")), [Some(5.0); 2]);
        assert_eq!(rate.ratio(&peers, "tokio"), None);
    }

    #[test]
    fn nobody_is_divided_by_nothing() {
        let mut measured = measured();
        measured.rows[0].values[1] = vec![0.0];
        assert_eq!(measured.rows[0].ratio(&peers(), "Go"), None);
        assert_eq!(measured.rows[0].best_other(&peers()), Some("may"));
        measured.rows.clear();
        assert!(measured.knows(2) && !measured.knows(1) && measured.has_failures());
    }
}
