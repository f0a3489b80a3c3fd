//! Lengths of time as the text that [`parse_span`] reads, for files and JSON.

use core::time::Duration;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serializer};

use crate::latency::parse_span;

const UNITS: [(&str, u128); 6] =
    [("d", 86_400_000_000), ("h", 3_600_000_000), ("m", 60_000_000), ("s", 1_000_000), ("ms", 1000), ("us", 1)];

/// The text for a length of time in the largest unit that makes a whole number, cut to microseconds.
pub fn span_text(span: Duration) -> String {
    let micros = span.as_micros();
    let fits = |(_, unit): &&(&str, u128)| micros.is_multiple_of(*unit);
    match UNITS.iter().find(fits) {
        Some((name, unit)) if micros > 0 => format!("{}{name}", micros / unit),
        _ => "0s".to_owned(),
    }
}

/// For `#[serde(with)]`.
pub(super) fn serialize<S: Serializer>(span: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&span_text(*span))
}

/// For `#[serde(with)]`.
pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    parse_span(&String::deserialize(deserializer)?).map_err(D::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_read_as_the_same_time() {
        for (text, micros) in [("500ms", 500_000), ("90s", 90_000_000), ("2h", 7_200_000_000), ("7us", 7), ("0s", 0)] {
            let span = Duration::from_micros(micros);
            assert_eq!(span_text(span), text);
            assert_eq!(parse_span(text), Ok(span));
        }
    }
}
