//! Figures for people.

/// The middle one; none if there are none.
#[must_use]
pub fn median(values: &[f64]) -> Option<f64> {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    let (low, high) = (values.len().checked_sub(1)? / 2, values.len() / 2);
    Some(f64::midpoint(values[low], values[high]))
}

/// Median, least and greatest, in a cell of a table.
#[must_use]
pub fn spread(values: &[f64]) -> String {
    let min = values.iter().copied().min_by(f64::total_cmp);
    let max = values.iter().copied().max_by(f64::total_cmp);
    match (median(values), min, max) {
        (Some(median), Some(min), Some(max)) => {
            format!("**{}** ({}–{})", number(median), number(min), number(max))
        }
        _ => "—".to_owned(),
    }
}

/// Three digits that say something, and groups of three.
#[must_use]
pub fn number(value: f64) -> String {
    if value < 100.0 {
        return format!("{value:.1}");
    }
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Whether more of that unit is better.
#[must_use]
pub fn more_is_better(unit: &str) -> bool {
    unit.ends_with("/s")
}

#[cfg(test)]
mod tests {
    use super::{median, more_is_better, number, spread};

    #[test]
    fn numbers() {
        assert_eq!([number(9.96), number(100.4), number(1234567.8)], ["10.0", "100", "1,234,568"]);
        assert_eq!(
            [median(&[]), median(&[3.0, 1.0, 2.0]), median(&[1.0, 2.0])],
            [None, Some(2.0), Some(1.5)]
        );
        assert_eq!(spread(&[2000.0, 1.0]), "**1,000** (1.0–2,000)");
    }

    #[test]
    fn directions() {
        assert!(more_is_better("req/s") && more_is_better("round trips/s"));
        assert!(["ns", "bytes", "µs", "ms"].iter().all(|unit| !more_is_better(unit)));
    }
}
