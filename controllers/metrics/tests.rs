//! The loop against an API in memory that is unpleasant, with masters that end at any moment.

use std::time::Duration;

use gcluster_types::labels;
use gcluster_types::tickets::record::read;
use serde_json::json;

use crate::context::{Config, Context};
use crate::testing::FakeApi;

fn finish(api: &FakeApi, number: usize, phase: &str) {
    api.apply(
        "tickets",
        json!({
            "metadata": {"name": format!("t-{number}")},
            "spec": {"title": "Work"},
            "status": {"phase": phase, "round": 1, "finishedAt": "2099-01-01T00:00:00.000000Z"},
        }),
    );
}

#[tokio::test]
async fn every_ticket_has_one_row_over_restarts_deletions_and_broken_watches() {
    let dir = tempfile::tempdir().unwrap();
    let api = FakeApi::new().chaotic();
    let context = || Context::new(api.client(), [], Config::new("command", dir.path().join("runs")));
    let path = dir.path().join("metrics/tickets.csv");
    let rows = || {
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let mut names: Vec<String> =
            read(&text).unwrap_or_default().into_iter().map(|row| row.name).collect();
        names.sort();
        names
    };
    let mut expected = Vec::new();
    for round in 0..5 {
        let ctx = context();
        let metrics = ctx.ticket_metrics.clone();
        let master =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        master.spawn(super::run(ctx));
        for number in 0..4 {
            let number = round * 4 + number;
            finish(&api, number, ["Merged", "Failed", "Cancelled", "Working"][number % 4]);
            if number % 4 < 3 {
                expected.push(format!("t-{number}"));
            }
        }
        expected.sort();
        if round % 2 == 0 {
            api.wait("the rows", |_| (rows() == expected).then_some(())).await;
            let told = metrics.render();
            let merged =
                format!("gcluster_tickets_finished_total{{pool=\"\",result=\"Merged\"}} {}", round + 1);
            assert!(told.lines().any(|line| line == merged), "{merged} is not in\n{told}");
            api.delete("tickets", "t-0");
        } else {
            // Killed before it is done.
            tokio::time::sleep(Duration::from_millis(fastrand::u64(0..5))).await;
        }
        // As of a process that is killed nothing goes on: not even a write that has begun.
        tokio::task::spawn_blocking(move || drop(master)).await.unwrap();
    }
    assert_eq!(rows(), expected);
}

#[tokio::test]
async fn a_ticket_that_is_deleted_while_no_master_runs_has_its_row_before_it_goes() {
    let dir = tempfile::tempdir().unwrap();
    let api = FakeApi::new();
    let context = || Context::new(api.client(), [], Config::new("command", dir.path().join("runs")));
    let path = dir.path().join("metrics/tickets.csv");
    let rows = || read(&std::fs::read_to_string(&path).unwrap_or_default()).unwrap_or_default();
    for number in 0..4 {
        finish(&api, number, ["Merged", "Failed", "Cancelled", "Working"][number]);
        let kept = json!({"metadata": {"name": format!("t-{number}"), "finalizers": [labels::METRICS_FINALIZER, "other"]}});
        api.apply("tickets", kept);
        api.delete("tickets", &format!("t-{number}"));
    }
    // Where its file should be there is none to be made: nothing goes before its row is written.
    std::fs::write(dir.path().join("metrics"), "in the way").unwrap();
    let master = tokio::spawn(super::run(context()));
    let told = |api: &FakeApi| {
        let told =
            api.all("events").into_iter().filter(|event| event["reason"] == "MetricsNotWritten").count();
        (told == 3).then_some(())
    };
    api.wait("why they stay", told).await;
    master.abort();
    let finalizers =
        |number: usize| api.get("tickets", &format!("t-{number}")).unwrap()["metadata"]["finalizers"].clone();
    assert!((0..4).all(|number| finalizers(number).as_array().unwrap().len() == 2));
    std::fs::remove_file(dir.path().join("metrics")).unwrap();
    let master = tokio::spawn(super::run(context()));
    let left = |_: &FakeApi| (0..3).all(|number| finalizers(number) == json!(["other"])).then_some(());
    api.wait("them to be let go", left).await;
    assert_eq!(rows().len(), 3);
    assert_eq!(finalizers(3).as_array().unwrap().len(), 2, "it has not come to its end");
    // One that was brought back as it was has its row from before.
    let ended = json!({"metadata": {"name": "t-4", "annotations": {labels::ENDED: "2099-01-01T00:00:00Z"}}, "spec": {"title": "Work"}});
    api.apply("tickets", ended);
    finish(&api, 4, "Merged");
    finish(&api, 3, "Merged");
    api.wait("the last one", |_| (finalizers(3) == json!(["other"])).then_some(())).await;
    assert_eq!(rows().len(), 4);
    master.abort();
}
