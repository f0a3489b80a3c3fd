//! Medians, and between which figures they lie.

/// The least, the median and the most of some figures.
pub(crate) fn spread(figures: impl IntoIterator<Item = f64>) -> [f64; 3] {
    let mut figures: Vec<f64> = figures.into_iter().collect();
    figures.sort_by(f64::total_cmp);
    [figures[0], figures[figures.len() / 2], figures[figures.len() - 1]]
}

/// A line: what, the median of the figures, the median of their ratios to a reference and the spread of these.
pub(crate) fn line(what: &str, unit: &str, figures: &[f64], reference: &[f64]) {
    let [_, median, _] = spread(figures.iter().copied());
    let ratios = figures.iter().zip(reference).map(|(figure, reference)| figure / reference);
    let [least, ratio, most] = spread(ratios);
    println!("{what:<44}{median:>12.2} {unit:<8}{ratio:>8.2} ({least:.2} to {most:.2})");
}
