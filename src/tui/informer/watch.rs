//! Watches of objects: each lists, then follows, and leaves what it sees in the hub.

use std::collections::HashMap;
use std::fmt::Debug;
use std::time::Duration;

use futures::StreamExt as _;
use gcluster_types::{Agent, Iteration};
use k8s_openapi::api::core::v1::Event as CoreEvent;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::core::NamespaceResourceScope;
use kube::runtime::watcher::{self, Config, Event};
use kube::{Api, Resource, ResourceExt as _};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::Ground;
use crate::tui::fleet::{AgentRow, IterationRow, Key, Outlines};
use crate::tui::hub::{self, Newest, Waiting};
use crate::tui::msg::{Cause, Link, Lost};

/// First pause after a failure that is not the connection's; it doubles up to the longest.
const FIRST: Duration = Duration::from_millis(100);
/// Longest pause.
const LONGEST: Duration = Duration::from_secs(10);

/// Follows all agents. The only watch that says that the connection stands, for everything else hangs on it.
pub(super) async fn agents(ground: Ground, namespace: Option<String>) {
    let api: Api<Agent> = api(&ground, namespace.as_deref());
    let mut outlines = Outlines::default();
    let hub = ground.hub.clone();
    let mut listed: HashMap<String, AgentRow> = HashMap::new();
    follow(&ground, api, Config::default(), move |event| match event {
        Event::Init => listed.clear(),
        Event::InitApply(agent) => {
            let row = outlines.row(&agent);
            listed.insert(name(&agent), row);
        }
        Event::InitDone => {
            let rows = std::mem::take(&mut listed);
            hub.leave(|waiting| {
                waiting.agents.replace(rows);
                waiting.link = Some(Link::Up);
            });
        }
        Event::Apply(agent) => {
            let row = outlines.row(&agent);
            hub.leave(|waiting| waiting.agents.put(name(&agent), row));
        }
        Event::Delete(agent) => {
            outlines.forget(&key(&agent));
            hub.leave(|waiting| waiting.agents.gone(name(&agent)));
        }
    })
    .await;
}

/// Follows the iterations that run, of all agents.
pub(super) async fn running(ground: Ground, namespace: Option<String>) {
    let api: Api<Iteration> = api(&ground, namespace.as_deref());
    let config = Config::default().fields("status.phase=Running");
    into_hub(ground, api, config, name, |i| IterationRow::of(&i), |waiting| &mut waiting.running).await;
}

/// Follows the iterations of one agent.
pub(super) async fn history(ground: Ground, agent: Key) {
    let api: Api<Iteration> = api(&ground, Some(agent.namespace()));
    let config = Config::default().fields(&format!("spec.agent={}", agent.name()));
    into_hub(
        ground,
        api,
        config,
        name,
        |i| IterationRow::of(&i),
        move |waiting| waiting.history.entry(agent.clone()).or_default(),
    )
    .await;
}

/// Follows one agent with its messages, revisions and events.
pub(super) async fn one(ground: Ground, agent: Key) {
    let own = Config::default().fields(&format!("spec.agent={}", agent.name()));
    let (hub, key) = (ground.hub.clone(), agent.clone());
    let object = single(&ground, &agent, move |object| {
        let object = object.map(|object| Box::new(without_secrets(object)));
        hub.leave(|waiting| waiting.agent = Some((key.clone(), object)));
    });
    let messages = of_one(&ground, &agent, own.clone(), lean, |waiting| &mut waiting.messages);
    let revisions = of_one(&ground, &agent, own, lean, |waiting| &mut waiting.revisions);
    let events = events(&ground, "Agent", &agent, |waiting| &mut waiting.events);
    tokio::join!(object, messages, revisions, events);
}

/// Follows one object by its name; `each` is told when it is gone, too.
pub(super) async fn single<K>(ground: &Ground, of: &Key, mut each: impl FnMut(Option<K>))
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned
        + Send
        + 'static,
{
    let itself = Config::default().fields(&format!("metadata.name={}", of.name()));
    let mut listed = None;
    follow(ground, api(ground, Some(of.namespace())), itself, move |event| match event {
        Event::Init => listed = None,
        Event::InitApply(object) => listed = Some(object),
        Event::InitDone => each(listed.take()),
        Event::Apply(object) => each(Some(object)),
        Event::Delete(_) => each(None),
    })
    .await;
}

/// Where what belongs to one object waits.
type Slot<T> = for<'a> fn(&'a mut Waiting) -> &'a mut Option<(Key, Newest<T>)>;

/// Follows what belongs to one object, by name.
pub(super) async fn of_one<K, T>(
    ground: &Ground,
    of: &Key,
    config: Config,
    project: impl Fn(K) -> T + Send,
    slot: Slot<T>,
) where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned
        + Send
        + 'static,
    T: Send,
{
    let api = api(ground, Some(of.namespace()));
    let of = of.clone();
    into_hub(
        ground.clone(),
        api,
        config,
        |object: &K| object.name_any(),
        project,
        move |waiting| hub::slot(slot(waiting), &of),
    )
    .await;
}

/// Follows the events about one object.
pub(super) async fn events(ground: &Ground, kind: &str, of: &Key, slot: Slot<Value>) {
    let fields = format!("involvedObject.kind={kind},involvedObject.name={}", of.name());
    let project = |event: CoreEvent| serde_json::to_value(lean(event)).unwrap_or(Value::Null);
    of_one(ground, of, Config::default().fields(&fields), project, slot).await;
}

pub(super) fn api<K>(ground: &Ground, namespace: Option<&str>) -> Api<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    match namespace {
        Some(namespace) => Api::namespaced(ground.client.clone(), namespace),
        None => Api::all(ground.client.clone()),
    }
}

pub(super) fn key<K: Resource>(object: &K) -> Key {
    Key::new(&object.namespace().unwrap_or_default(), &object.name_any())
}

/// `namespace/name`.
pub(super) fn name<K: Resource>(object: &K) -> String {
    format!("{}/{}", object.namespace().unwrap_or_default(), object.name_any())
}

/// Without what only the server needs.
pub(super) fn lean<K: Resource>(mut object: K) -> K {
    object.meta_mut().managed_fields = None;
    object
}

/// Values of environment variables may be secrets and are shown nowhere.
fn without_secrets(agent: Agent) -> Agent {
    let mut agent = lean(agent);
    for variable in agent.spec.backend.iter_mut().flat_map(|backend| &mut backend.env) {
        variable.value = "…".into();
    }
    agent
}

/// Follows a kind and leaves each object's projection in one place of the hub.
pub(super) async fn into_hub<K, T>(
    ground: Ground,
    api: Api<K>,
    config: Config,
    name: impl Fn(&K) -> String + Send,
    project: impl Fn(K) -> T + Send,
    place: impl for<'a> Fn(&'a mut Waiting) -> &'a mut Newest<T> + Send,
) where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
    T: Send,
{
    let hub = ground.hub.clone();
    let mut listed: HashMap<String, T> = HashMap::new();
    follow(&ground, api, config, move |event| match event {
        Event::Init => listed.clear(),
        Event::InitApply(object) => {
            listed.insert(name(&object), project(object));
        }
        Event::InitDone => {
            let listed = std::mem::take(&mut listed);
            hub.leave(|waiting| place(waiting).replace(listed));
        }
        Event::Apply(object) => {
            let (name, object) = (name(&object), project(object));
            hub.leave(|waiting| place(waiting).put(name, object));
        }
        Event::Delete(object) => {
            let name = name(&object);
            hub.leave(|waiting| place(waiting).gone(name));
        }
    })
    .await;
}

/// Lists and follows for ever. After a failure, when the master answers again, everything is listed anew.
pub(super) async fn follow<K>(ground: &Ground, api: Api<K>, config: Config, mut each: impl FnMut(Event<K>))
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let mut pause = FIRST;
    // Since when the master answers but does not let this in, and how often it said so.
    let mut shut: Option<(Timestamp, u32)> = None;
    loop {
        ground.line.up().await;
        let epoch = ground.line.epoch();
        let mut events = std::pin::pin!(watcher::watcher(api.clone(), config.clone().streaming_lists()));
        let failure = loop {
            tokio::select! {
                // Whoever has not noticed yet that the master was gone lists again too.
                () = ground.line.renewed(epoch) => break None,
                event = events.next() => match event {
                    Some(Ok(event)) => {
                        if matches!(event, Event::InitDone) {
                            pause = FIRST;
                            if shut.take().is_some() {
                                ground.hub.leave(|waiting| waiting.link = Some(Link::Up));
                            }
                        }
                        each(event);
                    }
                    Some(Err(error)) => break Some(error),
                    None => break None,
                },
            }
        };
        if let Some(detail) = failure.as_ref().and_then(refused) {
            let (since, attempts) = shut.unwrap_or((Timestamp::now(), 0));
            shut = Some((since, attempts + 1));
            let wait = SignedDuration::try_from(pause).unwrap_or_default();
            let next = Timestamp::now().checked_add(wait).unwrap_or(since);
            let lost = Lost { cause: Cause::Refused, detail, since, attempts: attempts + 1, next };
            ground.hub.leave(|waiting| waiting.link = Some(Link::Down(lost)));
        }
        match failure.as_ref().map(broken) {
            Some(Some(detail)) => ground.line.lost(None, detail),
            Some(None) => {
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST);
            }
            None => {}
        }
    }
}

/// What broke the connection; nothing when the server itself refused.
fn broken(error: &watcher::Error) -> Option<String> {
    match error {
        watcher::Error::InitialListFailed(error)
        | watcher::Error::WatchStartFailed(error)
        | watcher::Error::WatchFailed(error) => match error {
            kube::Error::Api(_) => None,
            // The innermost error says what happened; those around it only where.
            other => Some(innermost(other)),
        },
        watcher::Error::WatchError(_) | watcher::Error::NoResourceVersion => None,
    }
}

/// In words, that the master does not let this user in, or not see this.
fn refused(error: &watcher::Error) -> Option<String> {
    let status = match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status))
        | watcher::Error::WatchFailed(kube::Error::Api(status))
        | watcher::Error::WatchError(status) => status,
        _ => return None,
    };
    match status.code {
        401 => Some("The token is not valid any more: start steer again with a new one.".into()),
        403 => Some(format!("Not allowed: {}", status.message)),
        _ => None,
    }
}

fn innermost(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}
