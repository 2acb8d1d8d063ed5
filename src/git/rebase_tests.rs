use proptest::prelude::*;

use super::{Rebased, Shape, rebase};
use crate::MergeTree;
use crate::merge_tree::merge_tree;
use crate::scratch::Scratch;

async fn done(scratch: &Scratch, onto: &str, tip: &str) -> (String, usize) {
    match rebase(&scratch.git(), onto, tip, "Do the thing", Shape::Each).await.unwrap() {
        Rebased::Done { tip, commits } => (tip, commits),
        Rebased::Conflict { files, .. } => panic!("{files:?}"),
    }
}

async fn show(scratch: &Scratch, format: &str, commit: &str) -> String {
    let format = format!("--format={format}");
    scratch.git().text(["log", "-1", &format, commit]).await.unwrap()
}

#[tokio::test]
async fn a_branch_is_put_on_top_with_its_authors_and_messages() {
    let scratch = Scratch::new().await;
    let start = scratch.commit("main", &[("base", "1\n")]).await;
    scratch.branch("topic", &start).await;
    let one = scratch.commit_as("topic", &[("a", "a\n")], "Größe\n\nBody\n  # kept\n\n\n", &[]).await;
    let two = scratch.commit("topic", &[("b", "b\n")]).await;
    // Nothing to do: the branch itself.
    assert_eq!(done(&scratch, &start, &two).await, (two.clone(), 2));
    let onto = scratch.commit("main", &[("base", "2\n")]).await;
    let (tip, commits) = done(&scratch, &onto, &two).await;
    assert_eq!(commits, 2);
    assert_eq!(done(&scratch, &onto, &two).await.0, tip, "the same again");
    let git = scratch.git();
    let line = git.text(["rev-list", &format!("{onto}..{tip}")]).await.unwrap();
    let again = line.lines().nth(1).unwrap();
    assert_eq!(git.text(["rev-parse", &format!("{again}^")]).await.unwrap(), onto);
    for format in ["%an <%ae> %at", "%cn <%ce> %ct", "%B"] {
        assert_eq!(show(&scratch, format, again).await, show(&scratch, format, &one).await);
    }
    assert_eq!(git.text(["ls-tree", "-r", "--name-only", &tip]).await.unwrap(), "a\nb\nbase");
    // What is there already adds nothing, by history or by content.
    assert_eq!(done(&scratch, &tip, &two).await, (tip.clone(), 0));
    assert_eq!(done(&scratch, &onto, &start).await, (onto, 0));
}

#[tokio::test]
async fn what_the_base_has_already_is_left_out() {
    let scratch = Scratch::new().await;
    let start = scratch.commit("main", &[("base", "1\n")]).await;
    scratch.branch("topic", &start).await;
    scratch.commit("topic", &[("a", "a\n")]).await;
    let tip = scratch.commit("topic", &[("b", "b\n")]).await;
    let onto = scratch.commit("main", &[("a", "a\n"), ("c", "c\n")]).await;
    let (tip, commits) = done(&scratch, &onto, &tip).await;
    assert_eq!(commits, 1);
    assert_eq!(show(&scratch, "%s", &tip).await, "Change b");
}

#[tokio::test]
async fn a_conflict_that_was_resolved_by_a_merge_becomes_one_commit_and_keeps_the_resolution() {
    let scratch = Scratch::new().await;
    let start = scratch.commit("main", &[("a", "1\n"), ("b", "1\n")]).await;
    scratch.branch("topic", &start).await;
    scratch.commit("topic", &[("a", "topic\n")]).await;
    let theirs = scratch.commit("main", &[("a", "main\n")]).await;
    let tip = scratch.tip("topic").await;
    let conflict = rebase(&scratch.git(), &theirs, &tip, "x", Shape::Each).await.unwrap();
    let Rebased::Conflict { files, .. } = conflict else { panic!("{conflict:?}") };
    assert_eq!(files, ["a"]);
    // The worker merges, and resolves it by both.
    let merged = scratch.commit_as("topic", &[("a", "main\ntopic\n")], "Merge main\n", &[&theirs]).await;
    let tip = scratch.commit("topic", &[("c", "c\n")]).await;
    for onto in [theirs, scratch.commit("main", &[("b", "2\n")]).await] {
        let (rebased, commits) = done(&scratch, &onto, &tip).await;
        assert_eq!(commits, 1);
        let git = scratch.git();
        assert_eq!(git.text(["rev-parse", &format!("{rebased}^")]).await.unwrap(), onto);
        assert_eq!(git.text(["cat-file", "blob", &format!("{rebased}:a")]).await.unwrap(), "main\ntopic");
        let message = show(&scratch, "%B", &rebased).await;
        assert_eq!(message.trim(), "Do the thing\n\n* Change a\n* Change c");
    }
    assert_ne!(merged, tip);
}

#[tokio::test]
async fn a_step_that_was_taken_back_does_not_stand_in_the_way() {
    let scratch = Scratch::new().await;
    let start = scratch.commit("main", &[("a", "1\n")]).await;
    scratch.branch("topic", &start).await;
    scratch.commit("topic", &[("a", "wrong\n"), ("b", "b\n")]).await;
    let tip = scratch.commit("topic", &[("a", "1\n")]).await;
    let onto = scratch.commit("main", &[("a", "2\n")]).await;
    let (tip, commits) = done(&scratch, &onto, &tip).await;
    assert_eq!(commits, 1);
    let git = scratch.git();
    assert_eq!(git.text(["cat-file", "blob", &format!("{tip}:a")]).await.unwrap(), "2");
    assert_eq!(git.text(["cat-file", "blob", &format!("{tip}:b")]).await.unwrap(), "b");
}

#[tokio::test]
async fn a_branch_becomes_one_commit_where_the_base_is_to_have_one_for_each_ticket() {
    let scratch = Scratch::new().await;
    let start = scratch.commit("main", &[("base", "1\n")]).await;
    scratch.branch("topic", &start).await;
    let one = scratch.commit("topic", &[("a", "a\n")]).await;
    let rebased = |tip: String| {
        let (git, start) = (scratch.git(), start.clone());
        async move { rebase(&git, &start, &tip, "Do the thing", Shape::One).await.unwrap() }
    };
    // One commit stays what it is.
    assert_eq!(rebased(one.clone()).await, Rebased::Done { tip: one, commits: 1 });
    let two = scratch.commit("topic", &[("b", "b\n")]).await;
    let Rebased::Done { tip, commits: 1 } = rebased(two.clone()).await else { panic!("not one commit") };
    assert_eq!(show(&scratch, "%B", &tip).await.trim(), "Do the thing\n\n* Change a\n* Change b");
    let tree = |commit: &str| format!("{commit}^{{tree}}");
    let git = scratch.git();
    let trees = git.text(["rev-parse", &tree(&tip), &tree(&two)]).await.unwrap();
    assert_eq!(trees.lines().next(), trees.lines().last());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn what_comes_out_is_a_line_on_the_base_with_what_a_merge_would_hold(
        ours in proptest::collection::vec((0_usize..3, 1_usize..4), 0..3),
        theirs in proptest::collection::vec((0_usize..3, 1_usize..4), 1..4),
        merge_after in proptest::option::of(0_usize..3),
        shape in prop_oneof![Just(Shape::One), Just(Shape::Each)],
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let scratch = Scratch::new().await;
            let lines = |which: usize| (0..5).map(|n| if n == which { format!("x{n}\n") } else { format!("{n}\n") }).collect::<String>();
            let start = scratch.commit("main", &[("f0", &lines(9)), ("f1", &lines(9)), ("f2", &lines(9))]).await;
            scratch.branch("topic", &start).await;
            for (file, line) in &ours {
                scratch.commit("main", &[(&format!("f{file}"), &lines(*line))]).await;
            }
            let onto = scratch.tip("main").await;
            for (n, (file, line)) in theirs.iter().enumerate() {
                let parents: Vec<&str> = if merge_after == Some(n) { vec![&onto] } else { vec![] };
                scratch.commit_as("topic", &[(&format!("f{file}"), &lines(*line))], "Step\n", &parents).await;
            }
            let tip = scratch.tip("topic").await;
            let git = scratch.git();
            let whole = merge_tree(&git, &onto, &tip).await.unwrap();
            match (rebase(&git, &onto, &tip, "All", shape).await.unwrap(), whole) {
                (Rebased::Done { tip, commits }, MergeTree::Clean { tree }) => {
                    assert_eq!(git.text(["rev-parse", &format!("{tip}^{{tree}}")]).await.unwrap(), tree);
                    let range = format!("{onto}..{tip}");
                    assert!(shape == Shape::Each || commits <= 1, "{commits} commits");
                    let line = git.text(["rev-list", "--count", "--min-parents=1", "--max-parents=1", &range]).await.unwrap();
                    assert_eq!(line, commits.to_string());
                    let merges = git.text(["rev-list", "--count", "--merges", &range]).await.unwrap();
                    assert_eq!(merges, "0");
                    let fork = git.text(["merge-base", &onto, &tip]).await.unwrap();
                    assert_eq!(fork, onto);
                }
                (Rebased::Done { .. }, MergeTree::Conflict { .. }) => assert!(merge_after.is_none()),
                (Rebased::Conflict { files, .. }, MergeTree::Conflict { files: whole, .. }) => assert_eq!(files, whole),
                (Rebased::Conflict { .. }, MergeTree::Clean { .. }) => panic!("the whole goes together"),
            }
        });
    }
}
