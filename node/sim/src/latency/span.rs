//! Lengths of time as people write them.

use core::time::Duration;

/// Units, and how many microseconds each has. Where one name ends with another, it comes first.
const UNITS: [(&str, u64); 6] =
    [("ms", 1000), ("us", 1), ("s", 1_000_000), ("m", 60_000_000), ("h", 3_600_000_000), ("d", 86_400_000_000)];

/// The text is no length of time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no length of time; write a number with a unit of us, ms, s, m, h or d, as 500ms, 90s or 1.5h")]
pub struct BadSpan(String);

/// Reads a length of time: a whole or decimal number and its unit, as `500ms`, `90s`, `10m` or `1.5h`.
///
/// # Errors
///
/// Where the number or the unit is missing or unknown, and where the time is longer than three hundred years.
pub fn parse_span(text: &str) -> Result<Duration, BadSpan> {
    let bad = || BadSpan(text.chars().take(32).collect());
    let (number, unit) =
        UNITS.iter().find_map(|(name, unit)| Some((text.strip_suffix(name)?, *unit))).ok_or_else(bad)?;
    micros(number, unit).map(Duration::from_micros).ok_or_else(bad)
}

/// A decimal number of units, in microseconds; what is smaller than one is cut off.
fn micros(number: &str, unit: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |text: &str| !text.is_empty() && text.len() <= 12 && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(fraction) {
        return None;
    }
    let scale = 10_u128.pow(fraction.len() as u32);
    let parts = whole.parse::<u128>().ok()? * scale + fraction.parse::<u128>().ok()?;
    let micros = u64::try_from(parts * u128::from(unit) / scale).ok()?;
    (micros <= 300 * 365 * 86_400_000_000).then_some(micros)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_a_number_and_a_unit() {
        let micros = |text: &str| parse_span(text).map(|time| time.as_micros());
        let all = ["500ms", "90s", "10m", "1h", "0.5s", "1.25ms", "2d", "7us", "0s"];
        let expected = [500_000, 90_000_000, 600_000_000, 3_600_000_000, 500_000, 1250, 172_800_000_000, 7, 0];
        assert_eq!(all.map(micros), expected.map(Ok));
    }

    #[test]
    fn what_is_no_time_says_how_one_is_written() {
        for text in ["", "5", "s", "ms", "-1s", "1.s", ".5s", "1e3s", "5 s", "1h30m", "9999999999999s", "99999999999d"]
        {
            let error = parse_span(text).expect_err(text).to_string();
            assert!(error.contains("90s"), "{error}");
        }
    }
}
