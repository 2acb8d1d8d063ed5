//! Stories of one ticket or a few, told in the world of [`super::world_tests`].

use gcluster_types::kinds::agent::{RunPolicy, RunState};
use gcluster_types::kinds::ticket::{HumanVerdict, TicketPhase, TicketState};
use gcluster_types::kinds::worker_pool::{ReviewPolicy, Reviewer};
use gcluster_types::labels;
use kube::ResourceExt;

use super::world_tests::{Happens, World, put, statuses};

#[test]
fn when_all_goes_well_every_ticket_is_merged_in_one_round() {
    let mut world = World::new(&[(1, 0), (5, 1)], &[1, 1, 0, 2, 3, 1], 2);
    for round in 0..400 {
        world.settle();
        world.step(round, true);
    }
    for (name, ticket) in &world.seen.tickets {
        let status = ticket.status.clone().unwrap();
        let way: Vec<_> =
            status.transitions.iter().map(|step| step.phase).filter(|phase| phase.is_in_flight()).collect();
        use TicketPhase::{Approved, Checking, Merging, Reviewing, Working};
        assert_eq!(status.phase, TicketPhase::Merged, "{name}: {:#?}", statuses(&world.seen));
        assert_eq!(way, [Working, Checking, Reviewing, Approved, Merging], "{name}");
        assert_eq!((status.round, status.attempts, status.review_rounds), (1, 0, 1), "{name}");
    }
    assert!(world.seen.leases.is_empty());
}

#[test]
fn what_the_provider_refuses_is_said_and_is_no_attempt() {
    let mut world = World::new(&[], &[], 1);
    world.settle();
    while world.seen.agents.is_empty() {
        world.step(0, true);
        world.settle();
    }
    let mut agent = world.seen.agents.values().next().map(|agent| (**agent).clone()).unwrap();
    let ticket = agent.labels()[labels::TICKET].clone();
    let status = agent.status.get_or_insert_default();
    status.run_state = Some(RunState::Running);
    status.reason = Some("Throttled".into());
    status.message = Some("the usage limit is reached until 15:00".into());
    put(&mut world.seen.agents, agent);
    world.settle();
    let status = world.seen.tickets[&ticket].status.clone().unwrap();
    assert_eq!((status.phase, status.attempts), (TicketPhase::Working, 0));
    assert_eq!(status.reason.as_deref(), Some("WorkerWaits"));
    assert!(status.message.unwrap().contains("until 15:00"));
}

/// One worker, reviews by people, and no ticket depends on another.
fn human_team() -> World {
    let mut world = World::new(&[], &[1, 0, 0, 0, 0, 0], 1);
    let review = ReviewPolicy { by: Reviewer::Human, ..ReviewPolicy::default() };
    world.pool.spec.review = Some(review);
    put(&mut world.seen.pools, world.pool.clone());
    world.settle();
    world
}

impl World {
    fn status(&self, name: &str) -> gcluster_types::TicketStatus {
        self.seen.tickets[name].status.clone().unwrap()
    }

    /// Lets the world go on until something is true.
    fn until(&mut self, what: &str, is: impl Fn(&World) -> bool) {
        for _ in 0..60 {
            self.settle();
            if is(self) {
                return;
            }
            self.step(0, true);
        }
        panic!("it never comes to this: {what}: {:#?}", statuses(&self.seen));
    }

    fn reason(&self, name: &str) -> String {
        self.status(name).reason.unwrap_or_default()
    }
}

#[test]
fn a_ticket_that_waits_for_a_person_leaves_its_worker_to_others_and_goes_on_before_new_ones() {
    let mut world = human_team();
    world.until("the first one asks", |world| world.reason("t0") == "NeedsHuman");
    // The one worker has the next one, and the lock stays where it is.
    assert_eq!((world.status("t0").worker, world.status("t3").phase), (None, TicketPhase::Working));
    assert_eq!(world.seen.leases.len(), 1);
    world.happen(Happens::Decide(0, HumanVerdict::SendBack));
    world.settle();
    let status = world.status("t0");
    assert_eq!((status.phase, status.round), (TicketPhase::Working, 2));
    assert_eq!(world.reason("t0"), "WaitsForWorker", "{:?}", status.message);
    assert!(!world.seen.agents.contains_key("t0-work-2"), "it has no worker yet");
    assert_eq!(world.seen.leases.len(), 1, "what it made is not in the base yet");
    world.until("the other one asks", |world| world.reason("t3") == "NeedsHuman");
    assert_eq!((world.status("t0").worker, world.status("t1").round), (Some(1), 0), "it goes first");
    world.until("it asks again", |world| world.reason("t0") == "NeedsHuman");
    assert_eq!((world.status("t0").worker, world.status("t0").attempts), (None, 0));
    world.happen(Happens::Decide(0, HumanVerdict::Approve));
    world.until("it is merged", |world| world.status("t0").phase == TicketPhase::Merged);
}

#[test]
fn a_ticket_that_is_held_leaves_its_worker_once_it_rests_and_goes_on_where_it_was() {
    let mut world = human_team();
    world.until("it is at work", |world| world.reason("t0") == "AtWork");
    world.happen(Happens::State(0, TicketState::Held));
    world.settle();
    assert_eq!(world.status("t0").worker, Some(1), "its agent has not come to rest");
    world.until("the next one is taken", |world| world.status("t3").phase == TicketPhase::Working);
    assert_eq!((world.status("t0").worker, world.reason("t0")), (None, "Held".into()));
    assert_eq!(world.seen.agents["t0-work-1"].spec.run, RunPolicy::Paused);
    world.happen(Happens::State(0, TicketState::Open));
    world.settle();
    assert_eq!(world.reason("t0"), "WaitsForWorker");
    assert_eq!(world.seen.agents["t0-work-1"].spec.run, RunPolicy::Paused, "not before there is a worker");
    world.until("it goes on", |world| world.seen.agents["t0-work-1"].spec.run == RunPolicy::Running);
    let status = world.status("t0");
    assert_eq!((status.worker, status.round, status.attempts), (Some(1), 1, 0));
}

#[test]
fn a_person_decides_when_the_pool_that_said_who_reviews_is_gone() {
    let mut world = human_team();
    world.until("it is tested", |world| world.status("t0").phase == TicketPhase::Checking);
    world.happen(Happens::TogglePool);
    world.until("it asks", |world| world.reason("t0") == "NeedsHuman");
    assert!(world.status("t0").message.unwrap().contains("its pool, which said who reviews, is gone"));
    assert!(world.seen.reviews.is_empty());
}

#[test]
fn a_review_whose_workspace_somebody_removed_gets_it_again() {
    let mut world = World::new(&[], &[], 1);
    world.until("it is reviewed", |world| world.status("t0").phase == TicketPhase::Reviewing);
    world.happen(Happens::LoseWorkspace(0));
    world.settle();
    let branch = world.seen.workspaces.get("t0").map(|workspace| workspace.spec.branch.clone());
    assert_eq!(branch, world.status("t0").branch, "with the branch that has the work");
    assert_eq!(world.status("t0").phase, TicketPhase::Reviewing);
}

#[test]
fn a_ticket_that_was_begun_goes_to_the_pool_that_a_person_names() {
    let mut world = human_team();
    world.until("it asks", |world| world.reason("t0") == "NeedsHuman");
    world.happen(Happens::Scale(0));
    let mut other = world.pool.clone();
    other.metadata.name = Some("others".into());
    other.spec.replicas = 1;
    world.change(0, |ticket| ticket.spec.pool = Some("others".into()));
    world.happen(Happens::Decide(0, HumanVerdict::SendBack));
    world.settle();
    assert!(world.status("t0").message.unwrap().contains("asks for the pool others"));
    put(&mut world.seen.pools, other);
    world.settle();
    let status = world.status("t0");
    assert_eq!((status.pool.as_deref(), status.worker, status.round), (Some("others"), Some(1), 2));
}

#[test]
fn no_new_ticket_is_begun_while_too_many_wait_for_a_person() {
    let mut world = human_team();
    world.pool.spec.max_waiting = Some(1);
    put(&mut world.seen.pools, world.pool.clone());
    world.until("the first one asks", |world| world.reason("t0") == "NeedsHuman");
    let begun = |world: &World| world.seen.tickets.keys().filter(|name| world.status(name).round > 0).count();
    assert_eq!(begun(&world), 1);
    let told = world.status("t3").message.unwrap();
    assert!(told.contains("1 ticket waits for a person, and team begins no new one before"), "{told}");
    // What was begun goes on.
    world.happen(Happens::Decide(0, HumanVerdict::SendBack));
    world.until("it asks again", |world| world.status("t0").round == 2 && world.reason("t0") == "NeedsHuman");
    assert_eq!(begun(&world), 1);
    world.happen(Happens::Decide(0, HumanVerdict::Approve));
    world.until("the next one is begun", |world| begun(world) == 2);
}
