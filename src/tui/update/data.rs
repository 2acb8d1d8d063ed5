//! What the API says.

use std::collections::BTreeMap;

use gcluster_types::transcript::Entry;

use super::layout;
use crate::tui::fleet::{AgentRow, IterationRow, Key, Runs};
use crate::tui::model::Model;
use crate::tui::msg::{Changes, Effect, Link, Msg};
use crate::tui::need::Need;

/// Takes in a change.
pub(super) fn arrived(model: &mut Model, msg: Msg) -> Vec<Effect> {
    let mut effects = Vec::new();
    match msg {
        Msg::Agents(changes) => effects = agents(model, changes),
        Msg::Running(changes) => running(model, changes),
        Msg::History(key, changes) => history(model, key, changes),
        Msg::Agent(key, agent) if key == model.subject.key => model.subject.agent = agent,
        Msg::Messages(key, changes) if key == model.subject.key => {
            let news = super::sending::news(model, &changes);
            apply(&mut model.subject.messages, changes);
            if let Some(news) = news {
                model.say(news, false);
            }
            let known = &model.subject.messages;
            model.outbox.retain(|out| out.failed.is_some() || !known.contains_key(&out.draft.name));
            model.show_pending();
        }
        Msg::Revisions(key, changes) if key == model.subject.key => {
            apply(&mut model.subject.revisions, changes);
        }
        Msg::Events(key, changes) if key == model.subject.key => apply(&mut model.subject.events, changes),
        Msg::Tickets(changes) => effects = super::tickets::arrived(model, changes),
        Msg::Pools(changes) => crate::tui::tickets::story::apply(&mut model.pools, changes),
        Msg::Story(key, news) if key == model.story.key => model.story.take(news),
        Msg::Check(key, check) if key.namespace() == model.story.key.namespace() => {
            let name = key.name().to_owned();
            match check {
                Some(check) => drop(model.story.checks.insert(name, *check)),
                None => drop(model.story.checks.remove(&name)),
            }
        }
        Msg::Records(key, iteration, records) => {
            let talk = model.talks.iter_mut().find(|talk| talk.agent == key && talk.iteration == iteration);
            let Some(talk) = talk else { return effects };
            for (number, record) in records {
                // A record that comes again after a lost connection is the same record.
                if number < talk.next {
                    continue;
                }
                talk.next = number + 1;
                talk.ended |= matches!(record.entry, Entry::End { .. });
                talk.conversation.push(number, &record);
            }
            model.show_pending();
        }
        Msg::Link(link) => {
            let was_down = matches!(model.link, Link::Down(_));
            if was_down && link == Link::Up {
                model.say("connected again: everything on screen is up to date", false);
            }
            model.link = link;
        }
        _ => return effects,
    }
    model.open_conversation();
    model.chase_on();
    model.changed = true;
    layout(model);
    effects
}

fn apply<T>(known: &mut BTreeMap<String, T>, changes: Changes<T>) {
    if changes.all {
        known.clear();
    }
    known.extend(changes.put);
    for name in changes.gone {
        known.remove(&name);
    }
}

fn agents(model: &mut Model, changes: Changes<AgentRow>) -> Vec<Effect> {
    let mut ring = false;
    let first = !model.listed;
    if changes.all {
        let before = |row: &AgentRow| model.fleet.get(&row.key).map(|row| row.standing.need);
        ring = !first
            && changes.put.iter().any(|(_, row)| {
                row.standing.need == Need::You && before(row).is_none_or(|before| before != Need::You)
            });
        model.fleet.replace(changes.put.into_iter().map(|(_, row)| row).collect());
    } else {
        for (_, row) in changes.put {
            let (key, needs) = (row.key.clone(), row.standing.need == Need::You);
            let before = model.fleet.put(row);
            ring |= needs && before != Some(Need::You);
            if before.is_none() {
                model.tree.arrived(&key, model.fleet.len());
            }
        }
        for name in &changes.gone {
            if let Some((namespace, name)) = name.split_once('/') {
                let key = Key::new(namespace, name);
                model.fleet.remove(&key);
                model.runs.remove(&key);
            }
        }
    }
    if first && changes.all {
        model.listed = true;
        model.in_tree(|tree, source, _| tree.begin(source));
    }
    model.in_tree(|tree, source, height| tree.settle(source, height));
    if ring && model.bell { vec![Effect::Bell] } else { Vec::new() }
}

/// The iterations that run, of all agents. What stops running goes on to be known only where the history of its
/// agent is followed too.
fn running(model: &mut Model, changes: Changes<IterationRow>) {
    let followed = model.wanted().history;
    if changes.all {
        model.runs.retain(|key, _| followed.contains(key));
    }
    for (_, row) in changes.put {
        model.runs.entry(row.agent.clone()).or_default().put(row);
    }
    for name in &changes.gone {
        let Some((namespace, name)) = name.split_once('/') else { continue };
        let agent = name.split('.').next().unwrap_or_default();
        let key = Key::new(namespace, agent);
        if !followed.contains(&key)
            && let Some(runs) = model.runs.get_mut(&key)
        {
            runs.remove(name);
        }
    }
    model.in_tree(|tree, source, height| tree.settle(source, height));
}

fn history(model: &mut Model, key: Key, changes: Changes<IterationRow>) {
    if changes.all {
        model.runs.insert(key.clone(), Runs::default());
    }
    let runs = model.runs.entry(key).or_default();
    for (_, row) in changes.put {
        runs.put(row);
    }
    for name in &changes.gone {
        runs.remove(name.rsplit('/').next().unwrap_or(name));
    }
    model.in_tree(|tree, source, height| tree.settle(source, height));
}
