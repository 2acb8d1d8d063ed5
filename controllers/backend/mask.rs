//! Keeps the token of an agent out of what its programs print.
//!
//! A program that prints its environment would else put it into the transcript, which others may read. It is taken out of
//! each line before anything looks at it, so that a later master, which reads the same lines, makes the same records.

use std::borrow::Cow;

/// The variable that holds the token.
pub const TOKEN: &str = "GCLUSTER_TOKEN";
/// What stands in its place.
const SHOWN: &[u8] = b"[GCLUSTER_TOKEN]";

/// What must not be shown. The default hides nothing.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Mask(Option<String>);

impl std::fmt::Debug for Mask {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Mask(…)")
    }
}

impl Mask {
    /// Hides the token among variables with which a program reaches the master.
    pub fn of(access: &[(String, String)]) -> Mask {
        let token = access.iter().find(|(name, _)| name == TOKEN).map(|(_, value)| value.clone());
        Mask(token.filter(|token| !token.is_empty()))
    }

    /// The bytes without it.
    pub(crate) fn hide<'b>(&self, bytes: &'b [u8]) -> Cow<'b, [u8]> {
        let Some(token) = self.0.as_deref().map(str::as_bytes) else { return Cow::Borrowed(bytes) };
        let mut shown: Option<Vec<u8>> = None;
        let mut from = 0;
        for at in memchr::memmem::find_iter(bytes, token) {
            let shown = shown.get_or_insert_default();
            shown.extend_from_slice(bytes.get(from..at).unwrap_or_default());
            shown.extend_from_slice(SHOWN);
            from = at + token.len();
        }
        match shown {
            Some(mut shown) => {
                shown.extend_from_slice(bytes.get(from..).unwrap_or_default());
                Cow::Owned(shown)
            }
            None => Cow::Borrowed(bytes),
        }
    }

    /// A line without it.
    pub(crate) fn hide_in(&self, line: Vec<u8>) -> Vec<u8> {
        match self.hide(&line) {
            Cow::Owned(shown) => shown,
            Cow::Borrowed(_) => line,
        }
    }

    /// A text without it.
    pub(crate) fn hide_text(&self, text: String) -> String {
        match self.hide(text.as_bytes()) {
            Cow::Owned(shown) => String::from_utf8_lossy(&shown).into_owned(),
            Cow::Borrowed(_) => text,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_is_hidden_wherever_it_stands_and_nothing_else_changes() {
        let mask = Mask::of(&[("GCLUSTER_CA".into(), "/ca".into()), (TOKEN.into(), "t.o.k".into())]);
        for (line, shown) in [
            ("t.o.k", "[GCLUSTER_TOKEN]"),
            ("a t.o.kt.o.k b", "a [GCLUSTER_TOKEN][GCLUSTER_TOKEN] b"),
            ("t.o. txoxk /ca", "t.o. txoxk /ca"),
            ("", ""),
        ] {
            assert_eq!(mask.hide_text(line.into()), shown);
            assert_eq!(mask.hide_in(line.into()), shown.as_bytes());
        }
        assert_eq!(mask.hide_in(vec![0xff, b't', b'.', b'o', b'.', b'k']), b"\xff[GCLUSTER_TOKEN]");
        assert_eq!(Mask::default().hide_text("t.o.k".into()), "t.o.k");
        assert_eq!(Mask::of(&[(TOKEN.into(), String::new())]), Mask::default());
        assert!(!format!("{mask:?}").contains("t.o.k"));
    }
}
