//! The order in which people expect names: numbers in them by their value, so that `t-2` comes before `t-10`.

use std::cmp::Ordering;

/// A name that is ordered as people expect it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Natural<'a>(pub &'a str);

impl Ord for Natural<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        natural(self.0, other.0)
    }
}

impl PartialOrd for Natural<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Compares two names. Digits count as one number; equal only when they are the same text.
pub fn natural(a: &str, b: &str) -> Ordering {
    let (mut left, mut right) = (a.as_bytes(), b.as_bytes());
    while let ([x, after_x @ ..], [y, after_y @ ..]) = (left, right) {
        if x.is_ascii_digit() && y.is_ascii_digit() {
            let (m, after_m) = number(left);
            let (n, after_n) = number(right);
            match m.len().cmp(&n.len()).then_with(|| m.cmp(n)) {
                Ordering::Equal => (left, right) = (after_m, after_n),
                other => return other,
            }
        } else if x == y {
            (left, right) = (after_x, after_y);
        } else {
            return x.cmp(y);
        }
    }
    left.len().cmp(&right.len()).then_with(|| a.cmp(b))
}

/// The digits at the start without leading zeros, and the rest.
fn number(bytes: &[u8]) -> (&[u8], &[u8]) {
    let end = bytes.iter().position(|b| !b.is_ascii_digit()).unwrap_or(bytes.len());
    let (digits, rest) = bytes.split_at(end);
    let zeros = digits.iter().take_while(|b| **b == b'0').count();
    (digits.get(zeros..).unwrap_or_default(), rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_ordered_by_their_value() {
        let mut names = ["t-10", "t-2", "t-1", "t", "t-02", "t-1a", "s-99"];
        names.sort_by_key(|name| Natural(name));
        assert_eq!(names, ["s-99", "t", "t-1", "t-1a", "t-02", "t-2", "t-10"]);
    }
}
