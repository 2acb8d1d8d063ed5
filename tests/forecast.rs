//! The conflict forecast with the real binary: two workers change the same line, and both are told before they are done.

use serde_json::{Value, json};

use crate::support::agents::list;
use crate::support::cli::Sandbox;
use crate::support::master::{Master, wait_object};
use crate::support::repo::Repo;

fn predicted(ticket: &Value) -> Option<String> {
    let conditions = ticket["status"]["conditions"].as_array()?;
    let found =
        conditions.iter().find(|one| one["type"] == "ConflictPredicted" && one["status"] == "True")?;
    found["message"].as_str().map(str::to_owned)
}

#[test]
fn two_workers_that_will_collide_are_told_while_they_work() {
    let sandbox = Sandbox::new();
    let _master = Master::start(&sandbox);
    let _repo = Repo::new(&sandbox, "app", "#!/bin/sh\nexit 0\n", json!({}));
    let gate = sandbox.work().join("go");
    let work = format!(
        "cat >/dev/null; git branch --show-current | sed 's/.*/1\\n&\\n3/' >shared; \
         git -c user.name=W -c user.email=w@example.org commit -qam work; until [ -e {} ]; do sleep 0.1; done",
        gate.display()
    );
    let pool = json!({
        "apiVersion": "gcluster.dev/v1alpha1", "kind": "WorkerPool", "metadata": {"name": "team"},
        "spec": {"replicas": 2, "repositories": ["app"], "review": {"by": "Nobody"}, "maxAttempts": 1,
            "backend": {"name": "command", "args": ["sh", "-c", work]}},
    });
    let ticket = |name: &str| {
        json!({"apiVersion": "gcluster.dev/v1alpha1", "kind": "Ticket", "metadata": {"name": name},
            "spec": {"title": name}})
    };
    let file = sandbox.write("all.json", &list(&[pool, ticket("one"), ticket("two")]));
    sandbox.run(["apply".as_ref(), "-f".as_ref(), file.as_os_str()]).ok();
    for (name, other) in [("one", "two"), ("two", "one")] {
        let told =
            wait_object(&sandbox, "ticket", name, "a conflict is predicted", |o| predicted(o).is_some());
        let said = predicted(&told).expect("the condition");
        assert_eq!(
            said,
            format!("a conflict is to be expected with ticket {other} in shared (repository app)")
        );
        assert_eq!(told["status"]["phase"], "Working");
    }
    // One of them lands; the other one collides with the base then, and nobody with the one that is done.
    std::fs::write(&gate, "").expect("gate");
    let is_merged = |o: &Value| o["status"]["phase"] == "Merged" && predicted(o).is_none();
    let over = |name: &str| {
        crate::support::master::object(&sandbox, "ticket", name)
            .filter(|o| is_merged(o))
            .map(|_| name.to_owned())
    };
    crate::support::wait::wait("one of them to be merged and free of it", || {
        over("one").or_else(|| over("two"))
    });
}
