//! `gcluster edit` with the real binary: the editor is a script.

use crate::support::cli::{Ran, Sandbox};
use crate::support::master::{Master, object, wait_object};

/// Runs `gcluster edit` with an editor that does what `script` says; `$1` is the file, `$n` how often it was opened.
fn edit(sandbox: &Sandbox, args: &[&str], script: &str) -> Ran {
    let count = "n=$(($(cat count 2>/dev/null || echo 0) + 1)); echo $n > count; cp \"$1\" \"seen-$n\"\n";
    sandbox.write("count", "0\n");
    sandbox.write("editor.sh", &format!("{count}{script}\n"));
    let mut command = sandbox.command([&["edit"], args].concat());
    command.env("EDITOR", format!("sh {}", sandbox.work().join("editor.sh").display()));
    crate::support::cli::ran(command.env("USER", "ada"))
}

fn seen(sandbox: &Sandbox, number: usize) -> String {
    std::fs::read_to_string(sandbox.work().join(format!("seen-{number}"))).expect("it was opened")
}

#[test]
fn an_agent_is_edited_as_p_source_and_errors_stand_on_top_of_the_text() {
    let sandbox = Sandbox::new();
    let _master = Master::start(&sandbox);
    sandbox.write("team.p", "agent-Big_One:\n\tloop(work)\n\nwork:\n\tWork.\n");
    sandbox.run(["apply", "-f", "team.p"]).ok();
    let uid = object(&sandbox, "agent", "big-one").expect("the agent")["metadata"]["uid"].clone();

    // First a method that there is not, then the right one.
    let script = "if [ $n = 1 ]; then sed -i 's/loop(work)/loop(gone)/' \"$1\"; else \
                  sed -i -e 's/loop(gone)/loop(work)/' -e 's/Work\\./Work hard./' \"$1\"; fi";
    let done = edit(&sandbox, &["agent", "big-one", "-o", "p", "--now"], script).ok();
    assert_eq!(done.stdout, "agent.gcluster.dev/big-one edited\n");
    assert!(done.stderr.contains("iterations of older revisions are ended now"), "{}", done.stderr);
    assert!(seen(&sandbox, 1).contains("agent-Big_One:\n\tloop(work)"), "{}", seen(&sandbox, 1));
    let again = seen(&sandbox, 2);
    assert!(again.starts_with("; gcluster edit: this was not accepted"), "{again}");
    let named: usize = again
        .lines()
        .find_map(|line| line.split_once("line ")?.1.split_once(',')?.0.parse().ok())
        .expect("a line is named");
    assert!(again.lines().nth(named - 1).is_some_and(|line| line.contains("loop(gone)")), "{again}");
    let agent = wait_object(&sandbox, "agent", "big-one", "its second revision", |o| {
        o["status"]["currentRevision"] == 2 && o["spec"]["replacedAt"].is_string()
    });
    assert_eq!(agent["metadata"]["uid"], uid);
    assert_eq!(agent["spec"]["agentName"], "Big_One");
    assert!(agent["spec"]["methods"]["work"].as_str().is_some_and(|text| text.contains("Work hard.")));
    let history = sandbox.run(["rollout", "history", "agent/big-one"]).ok().stdout;
    assert!(history.contains("ada"), "{history}");

    // What is left with its errors is given up, and kept.
    let given_up = edit(&sandbox, &["agent", "big-one", "-o", "p"], "sed -i 's/loop(work)/loop(/' \"$1\"");
    assert_eq!(given_up.code, 1);
    assert!(given_up.stderr.contains("its errors are still there"), "{}", given_up.stderr);
    let kept = given_up.stderr.split("your text is kept in ").nth(1).expect("a path").trim().to_owned();
    assert!(std::fs::read_to_string(&kept).expect("the text").contains("loop("));
    std::fs::remove_file(kept).expect("it is there");

    // Nothing changed: nothing is sent. A change by somebody else meanwhile is not overwritten.
    assert!(edit(&sandbox, &["agent", "big-one", "-o", "p"], ":").ok().stdout.contains("cancelled"));
    let faster = "agent-Big_One:\n\tloop(work)\n\nwork:\n\tWork at once.\n";
    sandbox.write("faster.p", faster);
    let script = format!(
        "'{}' apply --force-conflicts -f faster.p >faster.log 2>&1; sed -i 's/Work hard/Work harder/' \"$1\"",
        env!("CARGO_BIN_EXE_gcluster")
    );
    let conflict = edit(&sandbox, &["agent", "big-one", "-o", "p"], &script);
    assert_eq!(conflict.code, 5, "{}", conflict.stderr);
    assert!(
        conflict.stderr.contains("somebody else has changed spec.methods.work meanwhile"),
        "{}",
        conflict.stderr
    );
}

#[test]
fn what_the_master_refuses_is_opened_again_as_yaml() {
    let sandbox = Sandbox::new();
    let _master = Master::start(&sandbox);
    sandbox.run(["ticket", "add", "Add avatars", "--id", "T-1"]).ok();
    let script = "if [ $n = 1 ]; then sed -i 's/priority: 3/priority: 0/' \"$1\"; else \
                  sed -i 's/priority: 0/priority: 1/' \"$1\"; fi";
    edit(&sandbox, &["ticket", "t-1"], script).ok();
    let again = seen(&sandbox, 2);
    assert!(again.starts_with("# gcluster edit: ") && again.contains("spec.priority"), "{again}");
    assert_eq!(object(&sandbox, "ticket", "t-1").expect("the ticket")["spec"]["priority"], 1);
    for args in [["ticket", "t-1", "--now"].as_slice(), &["ticket", "t-1", "-o", "p"]] {
        let refused = edit(&sandbox, args, ":");
        assert_eq!(refused.code, 2, "{}", refused.stderr);
        assert!(refused.stderr.contains("concerns agents"), "{}", refused.stderr);
    }
}
