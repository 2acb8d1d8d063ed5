//! Tables of what was seen → what is done.

use std::collections::BTreeSet;
use std::sync::Arc;

use gcluster_types::conditions::{READY, is_true};
use gcluster_types::{Agent, AgentRevision, AgentSpec};
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;

use gcluster_types::names::revision_name;

use super::plan::{Observed, Plan, plan};

fn agent(body: &str) -> Agent {
    let spec = AgentSpec {
        definition: "(defagent \"a\"\n  (pipeline\n    (step \"work\" (loop work))))".into(),
        methods: [("work".to_owned(), format!("(defmethod work ()\n  \"{body}\")"))].into(),
        revision_history_limit: 1,
        ..AgentSpec::default()
    };
    let mut agent = Agent::new("a", spec);
    agent.metadata.namespace = Some("default".into());
    agent.metadata.uid = Some("uid".into());
    agent.metadata.generation = Some(7);
    agent
}

/// A little world in which plans are carried out.
#[derive(Default)]
struct World {
    revisions: Vec<Arc<AgentRevision>>,
    in_use: BTreeSet<String>,
}

impl World {
    fn look(&self, agent: &Agent) -> Plan {
        let now = Timestamp::from_second(1_000).unwrap();
        plan(&Observed { agent, revisions: &self.revisions, in_use: &self.in_use, now })
    }

    fn settle(&mut self, agent: &mut Agent) -> Plan {
        let plan = self.look(agent);
        self.revisions.extend(plan.create.clone().map(Arc::new));
        if let Some(again) = &plan.renumber {
            for revision in &mut self.revisions {
                if revision.name_any() == again.name {
                    Arc::make_mut(revision).spec.revision = again.number;
                }
            }
        }
        self.revisions.retain(|revision| !plan.remove.contains(&revision.name_any()));
        agent.status = Some(plan.status.clone());
        plan
    }
}

#[test]
fn apply_twice_creates_one_revision() {
    let (mut world, mut a) = (World::default(), agent("One."));
    let first = world.settle(&mut a);
    let created = first.create.unwrap();
    assert_eq!(created.spec.revision, 1);
    assert_eq!(created.name_any(), revision_name("a", &created.spec.digest));
    assert_eq!(created.owner_references()[0].uid, "uid");
    let again = world.look(&a);
    assert_eq!((again.create, again.renumber, again.remove.len()), (None, None, 0));
    assert_eq!(Some(again.status), a.status);
    assert!(is_true(&a.status.clone().unwrap().conditions, READY));
    assert_eq!(a.status.unwrap().observed_generation, Some(7));
}

#[test]
fn editing_a_called_method_creates_a_revision_and_the_older_text_gets_the_next_number() {
    let (mut world, mut a) = (World::default(), agent("One."));
    world.settle(&mut a);
    a.spec.methods = agent("Two.").spec.methods;
    assert_eq!(world.settle(&mut a).create.unwrap().spec.revision, 2);
    a.spec.methods = agent("One.").spec.methods;
    let back = world.settle(&mut a);
    assert_eq!((back.create, back.renumber.map(|r| r.number)), (None, Some(3)));
    let status = a.status.clone().unwrap();
    assert_eq!(status.current_revision, Some(3));
    assert_eq!(status.revisions.iter().map(|r| r.revision).collect::<Vec<_>>(), [2, 3]);
    assert_eq!(world.look(&a).renumber, None);
}

#[test]
fn old_revisions_go_unless_an_iteration_or_the_execution_needs_them() {
    let (mut world, mut a) = (World::default(), agent("1"));
    for body in ["1", "2", "3"] {
        a.spec.methods = agent(body).spec.methods;
        world.settle(&mut a);
    }
    let name = |n: usize, a: &Agent| a.status.clone().unwrap().revisions[n].name.clone();
    assert_eq!(a.status.clone().unwrap().revisions.iter().map(|r| r.revision).collect::<Vec<_>>(), [2, 3]);
    world.in_use.insert(name(0, &a));
    a.spec.methods = agent("4").spec.methods;
    a.status.as_mut().unwrap().execution_digest = Some(a.status.clone().unwrap().revisions[1].digest.clone());
    assert!(world.settle(&mut a).remove.is_empty());
    world.in_use.clear();
    for body in ["5", "6"] {
        a.spec.methods = agent(body).spec.methods;
        world.settle(&mut a);
    }
    assert_eq!(a.status.clone().unwrap().revisions.iter().map(|r| r.revision).collect::<Vec<_>>(), [3, 5, 6]);
}

#[test]
fn a_digest_that_meets_another_text_and_a_broken_text_are_refused() {
    let (mut world, mut a) = (World::default(), agent("One."));
    world.settle(&mut a);
    Arc::make_mut(&mut world.revisions[0]).spec.methods = agent("Forged.").spec.methods;
    let plan = world.look(&a);
    let condition = plan.status.conditions.iter().find(|c| c.type_ == READY).unwrap();
    assert_eq!((condition.status.as_str(), condition.reason.as_str()), ("False", "DigestConflict"));
    assert_eq!((plan.create, plan.renumber), (None, None));
    a.spec.definition = "(defagent \"a\" (".into();
    let plan = world.look(&a);
    assert_eq!(plan.refused.unwrap().0, "InvalidDefinition");
    assert_eq!(plan.status.current_revision, Some(1), "the last good one stays in use");
}

#[test]
fn a_revision_object_that_somebody_removed_comes_back_under_its_number() {
    let (mut world, mut a) = (World::default(), agent("1"));
    for body in ["1", "2"] {
        a.spec.methods = agent(body).spec.methods;
        world.settle(&mut a);
    }
    world.revisions.retain(|revision| revision.spec.revision != 2);
    assert_eq!(world.look(&a).create.unwrap().spec.revision, 2);
}
