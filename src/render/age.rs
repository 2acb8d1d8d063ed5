//! Ages, durations, counts and money as people read them.

use k8s_openapi::jiff::Timestamp;

/// A span as kubectl prints ages: `42s`, `3m10s`, `5h2m`, `3d4h`, `400d`, `2y30d`.
pub fn duration(seconds: i64) -> String {
    let s = seconds.max(0);
    let (m, h, d) = (s / 60, s / 3600, s / 86400);
    let pair = |big: i64, unit: &str, small: i64, small_unit: &str| match small {
        0 => format!("{big}{unit}"),
        _ => format!("{big}{unit}{small}{small_unit}"),
    };
    match s {
        ..120 => format!("{s}s"),
        120..600 => pair(m, "m", s % 60, "s"),
        600..10800 => format!("{m}m"),
        10800..28800 => pair(h, "h", m % 60, "m"),
        28800..172_800 => format!("{h}h"),
        172_800..691_200 => pair(d, "d", h % 24, "h"),
        691_200..63_072_000 => format!("{d}d"),
        63_072_000..252_288_000 => pair(d / 365, "y", d % 365, "d"),
        _ => format!("{}y", d / 365),
    }
}

/// The time from `then` to `now`, as [`duration`] prints it.
pub fn since(then: Timestamp, now: Timestamp) -> String {
    duration(now.as_second().saturating_sub(then.as_second()))
}

/// A short duration with fractions: `0.4s`, `12.3s`, `2m5s`.
pub fn seconds(value: f64) -> String {
    match value {
        v if !v.is_finite() || v < 0.0 => "0s".into(),
        v if v < 60.0 => format!("{v:.1}s"),
        v => duration(v.round() as i64),
    }
}

/// A count with a unit prefix: `950`, `12.3k`, `4.5M`.
pub fn count(value: i64) -> String {
    let v = value as f64;
    match value.unsigned_abs() {
        0..1000 => value.to_string(),
        1000..999_950 => format!("{:.1}k", v / 1e3),
        999_950..999_950_000 => format!("{:.1}M", v / 1e6),
        _ => format!("{:.1}G", v / 1e9),
    }
}

/// US dollars with cents, or with four digits below a dime.
pub fn cost(dollars: f64) -> String {
    if dollars != 0.0 && dollars.abs() < 0.1 { format!("${dollars:.4}") } else { format!("${dollars:.2}") }
}

/// A cost with what has no known price, which is not free. `None` for nothing to tell.
pub fn price(dollars: Option<f64>, unpriced_tokens: i64) -> Option<String> {
    match dollars {
        Some(dollars) if unpriced_tokens == 0 => Some(cost(dollars)),
        Some(dollars) if dollars > 0.0 => Some(format!("{} + unpriced", cost(dollars))),
        _ => (unpriced_tokens > 0).then(|| "unpriced".to_owned()),
    }
}

/// The first line of `text`, cut to `width` characters with an ellipsis.
pub fn excerpt(text: &str, width: usize) -> String {
    let line = text.trim_start().lines().next().unwrap_or_default().trim_end();
    if line.chars().count() <= width {
        return line.to_owned();
    }
    let mut cut: String = line.chars().take(width.saturating_sub(1)).collect();
    cut.push('…');
    cut
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_kubectl_prints_them() {
        let rows = [
            (-5, "0s"),
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (190, "3m10s"),
            (3600, "60m"),
            (10800, "3h"),
            (18120, "5h2m"),
            (86400, "24h"),
            (273_600, "3d4h"),
            (864_000, "10d"),
            (94_608_000, "3y"),
            (315_360_000, "10y"),
        ];
        for (seconds, text) in rows {
            assert_eq!(duration(seconds), text, "{seconds}");
        }
    }

    #[test]
    fn counts_and_costs_are_short() {
        assert_eq!(
            ["0", "999", "1.0k", "12.3k", "1.0M", "2.5G"],
            [count(0), count(999), count(1000), count(12_345), count(999_999), count(2_500_000_000)]
        );
        assert_eq!(
            [(None, 0), (None, 5), (Some(0.0), 5), (Some(1.2), 5), (Some(1.2), 0)]
                .map(|(dollars, unpriced)| price(dollars, unpriced).unwrap_or_default()),
            ["", "unpriced", "unpriced", "$1.20 + unpriced", "$1.20"]
        );
        assert_eq!([cost(0.0), cost(0.0123), cost(1.5)], ["$0.00", "$0.0123", "$1.50"]);
        assert_eq!([seconds(0.42), seconds(125.4), seconds(f64::NAN)], ["0.4s", "2m5s", "0s"]);
    }

    #[test]
    fn excerpts_are_one_line_and_no_longer_than_asked() {
        assert_eq!(excerpt("\n  first line  \nsecond", 80), "first line");
        assert_eq!(excerpt("größer", 4), "grö…");
        assert_eq!(excerpt("", 4), "");
    }
}
