//! Text from a guest, made fit for a log.

/// At most `max` bytes of the text on one line: line breaks and tabs become spaces, other control characters go.
pub(crate) fn clean(text: &str, max: usize) -> String {
    let mut line = String::with_capacity(text.len().min(max));
    for character in text.chars() {
        let character = match character {
            '\n' | '\r' | '\t' => ' ',
            other if other.is_control() => continue,
            other => other,
        };
        if line.len() + character.len_utf8() > max {
            break;
        }
        line.push(character);
    }
    line
}

#[cfg(test)]
mod tests {
    use super::clean;

    #[test]
    fn control_characters_never_reach_a_log() {
        assert_eq!(clean("a\u{1b}[31mred\nnext\ttab\0", 100), "a[31mred next tab");
    }

    #[test]
    fn a_cut_falls_between_characters() {
        assert_eq!(clean("aéé", 4), "aé");
        assert_eq!(clean("aéé", 5), "aéé");
    }
}
