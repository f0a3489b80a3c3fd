//! Numbers as text.

/// A count with its thousands apart: 12,345.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A measure with three digits or so, and no decimals where it is whole: 0.12, 1.23, 12.3, 12, 1,234.
pub(super) fn measure(number: f64) -> String {
    let size = number.abs();
    if size >= 100.0 || number.fract() == 0.0 {
        count(number.max(0.0).round() as u64)
    } else if size >= 10.0 {
        format!("{number:.1}")
    } else {
        format!("{number:.2}")
    }
}

/// The text of a tick: its thousands apart, and as many decimals as it needs, four at most.
pub(super) fn tick(number: &f64) -> String {
    let text = format!("{:.4}", number.abs());
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    let (whole, fraction) = (count(whole.parse().unwrap_or(u64::MAX)), fraction.trim_end_matches('0'));
    let sign = if *number < 0.0 { "-" } else { "" };
    if fraction.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") }
}

/// The smallest of 1, 2 and 5 times a power of ten that is no smaller; 1 for what is not above zero.
pub(super) fn round_up(number: f64) -> f64 {
    if !number.is_finite() || number <= 0.0 {
        return 1.0;
    }
    let power = 10_f64.powi(number.log10().floor() as i32);
    let steps = [1.0, 2.0, 5.0, 10.0].map(|step| step * power);
    steps.into_iter().find(|step| *step >= number * 0.999_999).unwrap_or(steps[3])
}

/// Round numbers from zero to the first that reaches the largest, about as many as asked for.
pub(super) fn ticks(largest: f64, about: u32) -> Vec<f64> {
    let step = round_up(largest / f64::from(about.max(1)));
    let count = (largest / step).ceil().clamp(1.0, 100.0) as u32;
    (0..=count).map(|tick| f64::from(tick) * step).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_have_their_thousands_apart() {
        assert_eq!([0, 999, 1000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
    }

    #[test]
    fn measures_have_three_digits_or_are_whole() {
        let measures = [0.123, 1.234, 12.34, 123.4, 12_345.0, 49.0, 0.0].map(measure);
        assert_eq!(measures, ["0.12", "1.23", "12.3", "123", "12,345", "49", "0"]);
    }

    #[test]
    fn ticks_have_no_more_decimals_than_they_need() {
        let texts = [0.0, 2.0, 0.25, -0.5, 0.0005, 12_500.0].map(|number| tick(&number));
        assert_eq!(texts, ["0", "2", "0.25", "-0.5", "0.0005", "12,500"]);
    }

    #[test]
    fn ticks_reach_what_they_measure() {
        assert_eq!(ticks(7.3, 4), [0.0, 2.0, 4.0, 6.0, 8.0]);
        assert_eq!(ticks(0.0, 4), [0.0, 1.0]);
        for largest in [0.003, 0.9, 1.0, 99.0, 1e9] {
            let ticks = ticks(largest, 5);
            assert!(ticks[ticks.len() - 1] >= largest && (2..=7).contains(&ticks.len()), "{largest}: {ticks:?}");
        }
        assert_eq!([round_up(f64::NAN), round_up(-3.0), round_up(20.0), round_up(21.0)], [1.0, 1.0, 20.0, 50.0]);
    }
}
