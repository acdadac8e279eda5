//! Durations as people write them.

use std::time::Duration;

/// Reads `20s`, `500ms`, `1m`, `1h`, several of them in a row (`1m30s`), or a bare number of
/// seconds. `None`: none of these, or too long to count.
pub fn parse(text: &str) -> Option<Duration> {
    let text = text.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().ok().map(Duration::from_secs);
    }
    let mut rest = text;
    let mut total = None;
    while !rest.is_empty() {
        let (number, unit) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit())?);
        let end = unit.find(|c: char| c.is_ascii_digit()).unwrap_or(unit.len());
        let unit_ms = match &unit[..end] {
            "ms" => 1,
            "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            _ => return None,
        };
        let part = number.parse::<u64>().ok()?.checked_mul(unit_ms)?;
        total = Some(total.unwrap_or(0_u64).checked_add(part)?);
        rest = &unit[end..];
    }
    total.map(Duration::from_millis)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations_have_units_or_are_seconds() {
        for (text, ms) in [
            ("20s", 20_000),
            ("500ms", 500),
            ("1m", 60_000),
            ("1h", 3_600_000),
            ("1m30s", 90_000),
            (" 7 ", 7000),
            ("0", 0),
        ] {
            assert_eq!(parse(text), Some(Duration::from_millis(ms)), "{text}");
        }
    }

    #[test]
    fn anything_else_is_no_duration() {
        for text in ["", "s", "1x", "-1", "1.5s", "1s2", "20 s", "99999999999999999999", "1d"] {
            assert_eq!(parse(text), None, "{text}");
        }
        assert_eq!(parse("18446744073709551615h"), None);
    }

    proptest! {
        #[test]
        fn arbitrary_text_never_panics(text in ".*") {
            let _ = parse(&text);
        }
    }
}
