//! Names of files: which are tickets, which are left alone, and which are ours.

use std::path::Path;

/// Ends the name of the note about a file that was not taken.
const NOTE: &str = ".error.txt";
/// Begins the name of a file that is put aside while it is taken.
const ASIDE: &str = ".gcluster-taking-";

/// What a file is, by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sort {
    /// Nothing to look at: hidden, an editor's, half a download, a note of ours.
    Ignored,
    /// A ticket, or several.
    Tickets,
    /// It lies in the folder and nobody can tell what it is.
    Unknown,
}

/// What a file is, by its name.
pub(super) fn sort(name: &str) -> Sort {
    let lower = name.to_ascii_lowercase();
    let ends = |ends: &[&str]| ends.iter().any(|end| lower.ends_with(end));
    let is_hidden = lower.starts_with('.') || lower.starts_with('#') || lower.starts_with("~$");
    let is_partial = ends(&[
        "~",
        "#",
        NOTE,
        ".swp",
        ".swx",
        ".swo",
        ".tmp",
        ".temp",
        ".part",
        ".partial",
        ".crdownload",
        ".bak",
        ".orig",
        ".rej",
    ]);
    // Vim writes the first to see whether it can; file managers leave the others.
    let is_known = ["4913", "thumbs.db", "desktop.ini"].contains(&lower.as_str());
    let is_synced = lower.starts_with("~syncthing~") || lower.contains("___jb_");
    if is_hidden || is_partial || is_known || is_synced || lower.starts_with("readme") {
        return Sort::Ignored;
    }
    match extension(&lower) {
        "yaml" | "yml" | "json" | "md" | "markdown" => Sort::Tickets,
        _ => Sort::Unknown,
    }
}

/// What a name ends in.
pub(super) fn extension(name: &str) -> &str {
    Path::new(name).extension().and_then(|extension| extension.to_str()).unwrap_or_default()
}

/// Name of the note about a file.
pub(super) fn note(name: &str) -> String {
    format!("{name}{NOTE}")
}

/// The file that a note is about.
pub(super) fn noted(note: &str) -> Option<&str> {
    note.strip_suffix(NOTE).filter(|name| !name.is_empty())
}

/// Name of a file while it is taken.
pub(super) fn aside(name: &str) -> String {
    format!("{ASIDE}{name}")
}

/// The name that a file which was put aside had.
pub(super) fn put_aside(name: &str) -> Option<&str> {
    name.strip_prefix(ASIDE).filter(|name| !name.is_empty())
}

/// The name for the `n`th file that would have this one: `a.yaml`, `a-2.yaml`, `a-3.yaml`.
pub(super) fn numbered(name: &str, n: usize) -> String {
    if n < 2 {
        return name.to_owned();
    }
    match name.rsplit_once('.') {
        Some((stem, extension)) if !stem.is_empty() => format!("{stem}-{n}.{extension}"),
        _ => format!("{name}-{n}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tickets_are_told_from_what_editors_and_downloads_leave() {
        for name in ["a.yaml", "B.YML", "x.json", "x.md", "T-1.markdown", "a b.yaml"] {
            assert_eq!(sort(name), Sort::Tickets, "{name}");
        }
        for name in [
            ".a.yaml",
            ".a.yaml.swp",
            "a.yaml~",
            "#a.yaml#",
            "4913",
            "a.yaml.tmp",
            "a.yaml.part",
            "a.yaml___jb_tmp___",
            "~syncthing~a.yaml.tmp",
            "Thumbs.db",
            "README.md",
        ] {
            assert_eq!(sort(name), Sort::Ignored, "{name}");
        }
        assert_eq!(sort(&note("a.yaml")), Sort::Ignored);
        assert_eq!(sort(&aside("a.yaml")), Sort::Ignored);
        assert_eq!(sort("notes.txt"), Sort::Unknown);
        assert_eq!(sort("ticket"), Sort::Unknown);
    }

    #[test]
    fn names_of_ours_lead_back() {
        assert_eq!(noted(&note("a.yaml")), Some("a.yaml"));
        assert_eq!(put_aside(&aside("a.yaml")), Some("a.yaml"));
        assert_eq!((noted(".error.txt"), put_aside("a.yaml")), (None, None));
        assert_eq!([1, 2, 3].map(|n| numbered("a.b.yaml", n)), ["a.b.yaml", "a.b-2.yaml", "a.b-3.yaml"]);
        assert_eq!(numbered("ticket", 2), "ticket-2");
    }
}
