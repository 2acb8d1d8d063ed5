//! Which findings count: those that concern the change, are new, and are bad enough.

use std::collections::{BTreeMap, BTreeSet};

use gcluster_types::kinds::review::{Finding, Severity, Verdict};

/// Two texts that share this much of their words say the same.
const ALIKE: f64 = 0.75;

/// The files that a change touches, by repository.
pub(super) type Files = BTreeMap<String, BTreeSet<String>>;

/// What came out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Judgement {
    /// What counts, in the reviewer's order.
    pub(super) findings: Vec<Finding>,
    /// How many of them are at or above the floor.
    pub(super) count: usize,
    /// How many were left out.
    pub(super) dropped: usize,
    /// What follows.
    pub(super) verdict: Verdict,
}

/// Judges what a reviewer found.
///
/// A finding that was told in a round before is left out, unless it is `high` or worse: then it says that nothing was
/// done about it.
pub(super) fn judge(found: Vec<Finding>, files: &Files, earlier: &[Finding], floor: Severity) -> Judgement {
    let told = found.len();
    let mut findings: Vec<Finding> = Vec::new();
    for finding in found.into_iter().filter_map(|finding| placed(finding, files)) {
        let repeats = |old: &Finding| is_repeat(&finding, old);
        let is_settled = finding.severity < Severity::High && earlier.iter().any(repeats);
        if !is_settled && !findings.iter().any(repeats) {
            findings.push(finding);
        }
    }
    let count = findings.iter().filter(|finding| finding.severity >= floor).count();
    let verdict = if count == 0 { Verdict::Approved } else { Verdict::ChangesRequested };
    Judgement { dropped: told - findings.len(), count, verdict, findings }
}

/// The finding with the path and repository as they are in the change; nothing when it concerns another file.
fn placed(mut finding: Finding, files: &Files) -> Option<Finding> {
    let cited = finding.file.replace('\\', "/");
    let cited = cited.strip_prefix("./").unwrap_or(&cited);
    let prefixes = ["", "a/", "b/"];
    let paths: Vec<&str> = prefixes.iter().filter_map(|prefix| cited.strip_prefix(prefix)).collect();
    let named = finding.repository.as_deref().filter(|name| files.contains_key(*name));
    for (repository, of_it) in files.iter().filter(|(name, _)| named.is_none_or(|named| named == *name)) {
        // With several repositories the reviewer sees each in a folder of its name.
        let folder = format!("{repository}/");
        let inside: Vec<&str> = paths.iter().filter_map(|path| path.strip_prefix(&*folder)).collect();
        if let Some(path) = paths.iter().chain(&inside).find(|path| of_it.contains(**path)) {
            finding.file = (*path).to_owned();
            finding.repository = (files.len() > 1).then(|| repository.clone());
            return Some(finding);
        }
    }
    None
}

/// Whether both say the same of the same file.
fn is_repeat(new: &Finding, old: &Finding) -> bool {
    if new.file != old.file || new.repository != old.repository {
        return false;
    }
    let (new, old) = (words(&new.text), words(&old.text));
    let (shared, all) = (new.intersection(&old).count(), new.union(&old).count());
    all == 0 || shared as f64 >= ALIKE * all as f64
}

fn words(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    words.map(str::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn files() -> Files {
        Files::from([("main".into(), BTreeSet::from(["src/a.rs".into(), "b/c.txt".into()]))])
    }

    fn finding(file: &str, severity: Severity, text: &str) -> Finding {
        Finding { file: file.into(), severity, text: text.into(), ..Finding::default() }
    }

    #[test]
    fn only_what_concerns_the_change_counts_and_only_from_the_floor_on() {
        let found = vec![
            finding("a/src/a.rs", Severity::Medium, "one"),
            finding("./b/c.txt", Severity::Low, "two"),
            finding("src/other.rs", Severity::Critical, "three"),
            finding("src/a.rs", Severity::Medium, "One!"),
        ];
        let judged = judge(found.clone(), &files(), &[], Severity::Low);
        assert_eq!((judged.count, judged.dropped, judged.verdict), (2, 2, Verdict::ChangesRequested));
        assert_eq!(judged.findings[0].file, "src/a.rs");
        assert_eq!(judged.findings[1].file, "b/c.txt");
        let judged = judge(found, &files(), &[], Severity::High);
        assert_eq!((judged.count, judged.findings.len(), judged.verdict), (0, 2, Verdict::Approved));
    }

    #[test]
    fn what_was_told_before_is_settled_unless_it_is_bad() {
        let text = "the file is not closed when reading fails";
        let earlier = [finding("src/a.rs", Severity::High, text)];
        let again = |severity, text: &str| {
            judge(vec![finding("src/a.rs", severity, text)], &files(), &earlier, Severity::Low).count
        };
        assert_eq!(again(Severity::Medium, "The file is not closed, when reading fails."), 0);
        assert_eq!(again(Severity::High, text), 1, "nothing was done about it");
        assert_eq!(again(Severity::Medium, "the file is opened twice"), 1);
    }

    #[test]
    fn several_repositories_are_told_apart_by_name_by_folder_or_by_the_file() {
        let files = Files::from([
            ("api".into(), BTreeSet::from(["x.rs".into(), "same.rs".into()])),
            ("web".into(), BTreeSet::from(["y.ts".into(), "same.rs".into()])),
        ]);
        let place = |repository: Option<&str>, file: &str| {
            let repository = repository.map(str::to_owned);
            let found = placed(Finding { repository, ..finding(file, Severity::Low, "t") }, &files)?;
            Some(format!("{}:{}", found.repository?, found.file))
        };
        assert_eq!(place(None, "y.ts").as_deref(), Some("web:y.ts"));
        assert_eq!(place(None, "web/y.ts").as_deref(), Some("web:y.ts"));
        assert_eq!(place(Some("web"), "same.rs").as_deref(), Some("web:same.rs"));
        assert_eq!(place(Some("api"), "y.ts"), None);
        assert_eq!(place(Some("api"), "b/api/x.rs").as_deref(), Some("api:x.rs"));
    }

    proptest! {
        #[test]
        fn nothing_is_lost_or_made_up(
            found in proptest::collection::vec((0..4_usize, 0..4_usize, "[a-c ]{1,6}"), 0..8),
            floor in 0..4_usize,
        ) {
            let severities = [Severity::Low, Severity::Medium, Severity::High, Severity::Critical];
            let of = ["src/a.rs", "b/c.txt", "nowhere", "a/src/a.rs"];
            let found: Vec<Finding> = found.into_iter().map(|(file, bad, text)| finding(of[file], severities[bad], &text)).collect();
            let told = found.len();
            let judged = judge(found, &files(), &[], severities[floor]);
            prop_assert_eq!(judged.findings.len() + judged.dropped, told);
            prop_assert!(judged.count <= judged.findings.len());
            prop_assert_eq!(judged.verdict == Verdict::Approved, judged.count == 0);
            prop_assert!(judged.findings.iter().all(|finding| files()["main"].contains(&finding.file)));
        }
    }
}
