//! Agents at work: pipelines, limits, and every verb that steers them.

use serde_json::{Value, json};

use crate::support::agents::{list, shell_loop, shell_once};
use crate::support::cli::Sandbox;
use crate::support::http::{request, token};
use crate::support::master::{Master, object, objects, wait_object};
use crate::support::processes::with_environment;
use crate::support::wait::wait;

#[test]
fn a_pipeline_of_call_map_and_loop_hands_each_output_to_the_next_step() {
    let sandbox = Sandbox::new();
    let _master = Master::start(&sandbox);
    // The program answers with what it was asked, so that the prompts can be read off the transcripts.
    let script = r#"cat > "$PWD/prompt.$$"; if grep -q 'List the chapters' "$PWD/prompt.$$"; then printf -- '- one\n- two\n- three\n'; else cat "$PWD/prompt.$$"; sleep 0.2; fi"#;
    let agent = json!({
        "apiVersion": "gcluster.dev/v1alpha1", "kind": "Agent", "metadata": {"name": "author"},
        "spec": {
            "definition": "(defagent \"author\"\n  (pipeline topic\n    (step \"outline\" (call outline))\n    (step \"chapters\" (map chapters write))\n    (step \"polish\" (loop polish))))",
            "methods": {
                "outline": "(defmethod outline (topic)\n  \"List the chapters of a book on [topic].\")",
                "write": "(defmethod write ()\n  \"Write this chapter.\")",
                "polish": "(defmethod polish ()\n  \"Polish it.\")",
            },
            "arguments": {"topic": "bees"},
            "workingDirectory": sandbox.work(),
            "backend": {"name": "command", "args": ["sh", "-c", script]},
        },
    });
    sandbox.write("a.json", &list(&[agent]));
    sandbox.run(["apply", "-f", "a.json"]).ok();
    wait_object(&sandbox, "iteration", "author.polish.0", "succeeded", |o| {
        o["status"]["phase"] == "Succeeded"
    });
    let log = |name: &str| sandbox.run(["logs", name, "-o", "json"]).ok().stdout;
    assert!(log("author.outline.0").contains("a book on bees."));
    for (item, word) in ["one", "two", "three"].iter().enumerate() {
        let text = log(&format!("author.chapters.0.{item}"));
        assert!(text.contains(word) && text.contains("Write this chapter."), "{text}");
    }
    let polish = log("author.polish.0");
    let (one, three) = (polish.find("one").unwrap(), polish.find("three").unwrap());
    assert!(one < three && polish.contains("---") && polish.contains("Polish it."), "{polish}");
}

#[test]
fn stop_pause_start_and_restart_do_what_they_say() {
    let sandbox = Sandbox::new();
    let _master = Master::start(&sandbox);
    let mark = format!("GCLUSTER_TEST_MARK={}", sandbox.data().display());
    sandbox
        .write("a.json", &list(&[shell_loop("builder", &format!("export {mark}; exec sh -c 'sleep 300'"))]));
    sandbox.run(["apply", "-f", "a.json"]).ok();
    wait("the process", || (!with_environment(&mark).is_empty()).then_some(()));

    sandbox.run(["stop", "builder"]).ok();
    wait_object(&sandbox, "agent", "builder", "stopped", |o| o["status"]["runState"] == "stopped");
    wait("no process", || with_environment(&mark).is_empty().then_some(()));
    let first = object(&sandbox, "iteration", "builder.work.0").unwrap();
    assert_eq!(first["status"]["phase"], "Interrupted", "{first}");
    assert_eq!(objects(&sandbox, "iterations").len(), 1);

    sandbox.run(["start", "builder"]).ok();
    wait_object(&sandbox, "iteration", "builder.work.1", "running", |o| o["status"]["phase"] == "Running");
    sandbox.run(["pause", "builder"]).ok();
    wait_object(&sandbox, "agent", "builder", "paused in spec", |o| o["spec"]["run"] == "Paused");
    let second = object(&sandbox, "iteration", "builder.work.1").unwrap();
    assert_eq!(second["status"]["phase"], "Running", "a pause lets the running iteration end: {second}");

    sandbox.run(["start", "builder"]).ok();
    let before = object(&sandbox, "agent", "builder").unwrap()["status"]["execution"].as_i64().unwrap();
    sandbox.run(["restart", "builder"]).ok();
    wait_object(&sandbox, "agent", "builder", "begun again", |o| {
        o["status"]["execution"].as_i64() > Some(before)
    });
}

#[test]
fn delete_ends_the_processes_first_and_takes_everything_that_the_agent_owns() {
    let sandbox = Sandbox::new();
    let _master = Master::start(&sandbox);
    let mark = format!("GCLUSTER_TEST_MARK={}", sandbox.data().display());
    let script = format!("export {mark}; exec sh -c 'trap \"\" INT TERM; sleep 300 & wait; sleep 300'");
    sandbox.write("a.json", &list(&[shell_loop("builder", &script)]));
    sandbox.run(["apply", "-f", "a.json"]).ok();
    wait("the process", || (!with_environment(&mark).is_empty()).then_some(()));
    let deleted = sandbox.run(["delete", "agent", "builder"]).ok();
    assert!(deleted.stdout.contains("builder") && deleted.stdout.contains("deleted"), "{}", deleted.stdout);
    assert_eq!(with_environment(&mark), Vec::<u32>::new());
    wait("nothing to be left", || {
        (objects(&sandbox, "iterations").is_empty() && objects(&sandbox, "revisions").is_empty())
            .then_some(())
    });
}

#[test]
fn an_iteration_limit_pauses_and_a_larger_one_resumes() {
    let sandbox = Sandbox::new();
    let _master = Master::start(&sandbox);
    let mut agent = shell_loop("builder", "sleep 0.1");
    agent["spec"]["limits"] = json!({"maxIterations": 2});
    sandbox.write("a.json", &list(std::slice::from_ref(&agent)));
    sandbox.run(["apply", "-f", "a.json"]).ok();
    let within = |o: &Value, status: &str| {
        let conditions = o["status"]["conditions"].as_array().cloned().unwrap_or_default();
        conditions.iter().any(|c| c["type"] == "WithinLimits" && c["status"] == status)
    };
    let held = wait_object(&sandbox, "agent", "builder", "at its limit", |o| within(o, "False"));
    assert_eq!(held["status"]["iterations"]["total"], 2, "{held}");
    agent["spec"]["limits"] = json!({"maxIterations": 3});
    sandbox.write("a.json", &list(&[agent]));
    sandbox.run(["apply", "-f", "a.json"]).ok();
    wait_object(&sandbox, "agent", "builder", "three iterations", |o| {
        o["status"]["iterations"]["total"] == 3
    });
}

#[test]
fn an_iteration_past_its_timeout_is_ended_and_the_loop_goes_on() {
    let sandbox = Sandbox::new();
    let _master = Master::start(&sandbox);
    let mut agent = shell_loop("slow", "sleep 300");
    agent["spec"]["limits"] = json!({"iterationTimeout": "500ms"});
    sandbox.write("a.json", &list(&[agent]));
    sandbox.run(["apply", "-f", "a.json"]).ok();
    let first = wait_object(&sandbox, "iteration", "slow.work.0", "ended", |o| {
        o["status"]["phase"] == "Failed" || o["status"]["phase"] == "Interrupted"
    });
    assert!(first["status"]["reason"].as_str().unwrap().contains("Timeout"), "{first}");
    wait("a second iteration", || object(&sandbox, "iteration", "slow.work.1"));
}

#[test]
fn ten_agents_work_at_once() {
    let sandbox = Sandbox::new();
    let _master = Master::start(&sandbox);
    // Each waits until all ten are there: with fewer at once none would ever end.
    let dir = sandbox.work();
    let script = format!(
        "touch '{0}/here.'$$; while [ $(ls '{0}' | grep -c '^here') -lt 10 ]; do sleep 0.05; done; echo all",
        dir.display()
    );
    let agents: Vec<Value> = (0..10).map(|n| shell_once(&format!("a{n}"), &script)).collect();
    sandbox.write("a.json", &list(&agents));
    sandbox.run(["apply", "-f", "a.json"]).ok();
    wait("all ten to end", || {
        let ended =
            objects(&sandbox, "agents").iter().filter(|o| o["status"]["runState"] == "stopped").count();
        (ended == 10).then_some(())
    });
}

#[test]
fn statistics_count_each_iteration_once_and_numbers_are_never_reused() {
    let sandbox = Sandbox::new();
    let mut master = Master::start(&sandbox);
    let mut agent = shell_loop("builder", "sleep 0.05");
    agent["spec"]["limits"] = json!({"maxIterations": 6});
    agent["spec"]["iterationHistoryLimit"] = 2.into();
    sandbox.write("a.json", &list(&[agent]));
    sandbox.run(["apply", "-f", "a.json"]).ok();
    wait_object(&sandbox, "agent", "builder", "two iterations", |o| {
        o["status"]["iterations"]["total"].as_i64() >= Some(2)
    });
    master.kill();
    let _master = Master::start(&sandbox);
    // One that the kill interrupted is counted, but not against the limit.
    let end = wait_object(&sandbox, "agent", "builder", "six iterations of its own end", |o| {
        let counts = &o["status"]["iterations"];
        counts["succeeded"].as_i64().zip(counts["failed"].as_i64()).is_some_and(|(s, f)| s + f == 6)
    });
    assert_eq!(end["status"]["stats"][0]["nextNumber"], end["status"]["iterations"]["total"], "{end}");
    wait("retention", || (objects(&sandbox, "iterations").len() <= 3).then_some(()));
}

#[test]
fn an_agent_takes_over_what_an_earlier_one_of_its_name_left_orphaned() {
    let sandbox = Sandbox::new();
    let master = Master::start(&sandbox);
    let agent = list(&[shell_once("writer", "echo done")]);
    sandbox.write("a.json", &agent);
    sandbox.run(["apply", "-f", "a.json"]).ok();
    wait_object(&sandbox, "iteration", "writer.prompt.0", "succeeded", |o| {
        o["status"]["phase"] == "Succeeded"
    });
    let revision = objects(&sandbox, "agentrevisions").remove(0);

    let path = "/apis/gcluster.dev/v1alpha1/namespaces/default/agents/writer?propagationPolicy=Orphan";
    let bearer = format!("Bearer {}", token(&sandbox));
    let answer = request(master.address(), "DELETE", path, &[("Authorization", &bearer)], b"").unwrap();
    assert_eq!(answer.status, 200, "{}", answer.body);
    wait("the agent to go", || object(&sandbox, "agent", "writer").is_none().then_some(()));
    assert_eq!(objects(&sandbox, "iterations").len(), 1, "orphans stay");

    sandbox.run(["apply", "-f", "a.json"]).ok();
    wait_object(&sandbox, "agent", "writer", "recorded", |o| o["status"]["currentRevision"] == 1);
    wait_object(&sandbox, "iteration", "writer.prompt.1", "succeeded", |o| {
        o["status"]["phase"] == "Succeeded"
    });
    let adopted = objects(&sandbox, "agentrevisions").remove(0);
    let uid = |o: &Value| o["metadata"]["uid"].clone();
    assert_eq!(uid(&adopted), uid(&revision), "the revision is the same object");
    assert_eq!(
        adopted["metadata"]["ownerReferences"][0]["uid"],
        uid(&object(&sandbox, "agent", "writer").unwrap())
    );
}
