//! Money: budgets over several agents hold them, over a killed master and a deleted agent, and a larger limit resumes.

use serde_json::{Value, json};

use crate::support::agents::list;
use crate::support::cli::Sandbox;
use crate::support::master::{Master, object, wait_object};
use crate::support::wait::wait;

/// A loop whose iterations cost a quarter of a dollar each.
fn spender(name: &str) -> Value {
    json!({
        "apiVersion": "gcluster.dev/v1alpha1", "kind": "Agent", "metadata": {"name": name},
        "spec": {
            "definition": format!("(defagent \"{name}\"\n  (pipeline\n    (step \"work\" (loop work))))"),
            "methods": {"work": "(defmethod work ()\n  \"Work.\")"},
            "backend": {"name": "rehearsal", "args": ["tool Bash ls", "result ok", "cost 0.25", "wait 50ms", "say done"]},
        },
    })
}

fn budget(kind: &str, name: &str, spec: &Value) -> Value {
    json!({"apiVersion": "gcluster.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec})
}

/// What the agents of the sandbox have spent, by their own account, and how many of them are held.
fn agents(sandbox: &Sandbox) -> (f64, usize) {
    let all: Value = serde_json::from_str(&sandbox.run(["get", "agents", "-o", "json"]).ok().stdout).unwrap();
    let all = all["items"].as_array().unwrap().clone();
    let is_held = |agent: &&Value| {
        agent["status"]["conditions"]
            .as_array()
            .into_iter()
            .flatten()
            .any(|c| c["type"] == "WithinLimits" && c["status"] == "False")
    };
    let active = |agent: &Value| agent["status"]["activeIterations"].as_array().is_none_or(Vec::is_empty);
    let held = all.iter().filter(is_held).filter(|agent| active(agent)).count();
    (all.iter().map(|agent| agent["status"]["costUSD"].as_f64().unwrap_or(0.0)).sum(), held)
}

fn spent(sandbox: &Sandbox, kind: &str, name: &str) -> f64 {
    object(sandbox, kind, name).and_then(|o| o["status"]["spentUSD"].as_f64()).unwrap_or(-1.0)
}

#[test]
fn agents_under_one_budget_stop_together_and_go_on_when_it_is_raised() {
    let sandbox = Sandbox::new();
    let mut master = Master::start(&sandbox);
    let team = budget("Budget", "team", &json!({"maxBudgetUSD": 4.0}));
    let fleet = budget("ClusterBudget", "fleet", &json!({"maxBudgetUSD": 100.0}));
    let names = ["ann", "bob", "cid"];
    let mut all: Vec<Value> = names.into_iter().map(spender).collect();
    all.splice(0..0, [team, fleet]);
    sandbox.write("a.json", &list(&all));
    sandbox.run(["apply", "-f", "a.json"]).ok();
    wait("something to be spent", || (spent(&sandbox, "budget", "team") >= 1.0).then_some(()));
    master.kill();
    let _master = Master::start(&sandbox);
    let sum = wait("all to be held", || {
        let (sum, held) = agents(&sandbox);
        (held == 3).then_some(sum)
    });
    assert!((4.0..=4.75).contains(&sum), "one iteration each at most: {sum}");
    for (kind, name) in [("budget", "team"), ("clusterbudget", "fleet")] {
        wait("each dollar to be counted once", || (spent(&sandbox, kind, name) == sum).then_some(()));
    }
    let said = sandbox.run(["describe", "agent", "ann"]).ok().stdout;
    assert!(
        said.contains(
            "raise spec.maxBudgetUSD of Budget default/team: `gcluster edit budget team -n default`"
        ),
        "{said}"
    );
    let table = sandbox.run(["get", "budgets"]).ok().stdout;
    assert!(table.contains(&format!("${sum:.2} of $4.00")) && table.contains("False"), "{table}");
    assert!(sandbox.run(["get", "events"]).ok().stdout.contains("LimitReached"));
    // An agent that goes takes nothing of what it spent with it.
    sandbox.run(["delete", "agent", "bob"]).ok();
    wait("bob to be gone", || object(&sandbox, "agent", "bob").is_none().then_some(()));
    assert_eq!(spent(&sandbox, "budget", "team"), sum);
    sandbox.write("b.json", &budget("Budget", "team", &json!({"maxBudgetUSD": sum + 1.0})).to_string());
    sandbox.run(["apply", "-f", "b.json"]).ok();
    wait("the larger limit to be used", || {
        (spent(&sandbox, "budget", "team") >= sum + 1.0 && agents(&sandbox).1 == 2).then_some(())
    });
    wait_object(&sandbox, "budget", "team", "its ledger without bob", |o| {
        o["status"]["ledger"].as_object().is_some_and(|ledger| ledger.len() == 2)
    });
}
