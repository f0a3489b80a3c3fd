//! Reading Prometheus's text format.

/// The sum of all samples of a series that have these labels, in text of format 0.0.4; none where there is no sample.
pub(crate) fn sum(text: &str, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
    let samples = text.lines().filter_map(|line| {
        let (series, value) = line.rsplit_once(' ')?;
        let (found, given) = series.split_once('{').unwrap_or((series, ""));
        let has = |(label, value): &(&str, &str)| given.contains(&format!("{label}=\"{value}\""));
        (found == name && labels.iter().all(has)).then(|| value.parse::<f64>().ok())?
    });
    samples.fold(None, |sum, sample| Some(sum.unwrap_or(0.0) + sample))
}

#[cfg(test)]
mod tests {
    use super::sum;

    #[test]
    fn samples_with_the_labels_are_added() {
        let text =
            "# HELP a_total x\na_total{k=\"x\",l=\"1\"} 2\na_total{k=\"x\",l=\"2\"} 3\na_total{k=\"y\"} 5\nb 7\n";
        assert_eq!(sum(text, "a_total", &[("k", "x")]), Some(5.0));
        assert_eq!(sum(text, "a_total", &[("k", "x"), ("l", "2")]), Some(3.0));
        assert_eq!(sum(text, "a_total", &[]), Some(10.0));
        assert_eq!(sum(text, "b", &[]), Some(7.0));
        assert_eq!(sum(text, "a_total", &[("k", "z")]), None);
    }
}
