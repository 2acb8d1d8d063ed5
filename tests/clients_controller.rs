//! A controller in kube-rs over a real socket: owned children, the finalizer helper, the recorder of events.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::{ConfigMap, Event as CoreEvent};
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::core::ObjectMeta;
use kube::runtime::controller::{Action, Controller};
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use kube::runtime::finalizer::{Event as Finalizer, finalizer};
use kube::runtime::watcher;
use kube::{Client, Resource as _};
use serde_json::json;
use tokio::time::{sleep, timeout};

use crate::support::cli::Sandbox;
use crate::support::kube::over_tls;
use crate::support::master::Master;

struct Context {
    client: Client,
    recorder: Recorder,
}

type Failed = kube::runtime::finalizer::Error<kube::Error>;

async fn reconcile(parent: Arc<ConfigMap>, context: Arc<Context>) -> Result<Action, Failed> {
    let maps: Api<ConfigMap> = Api::default_namespaced(context.client.clone());
    finalizer(&maps, "example.com/cleanup", parent, |event| async {
        match event {
            Finalizer::Apply(parent) => apply(&maps, &context, &parent).await,
            Finalizer::Cleanup(parent) => {
                let note = ConfigMap {
                    metadata: named("cleaned"),
                    data: parent.data.clone(),
                    ..ConfigMap::default()
                };
                maps.create(&PostParams::default(), &note).await.map(|_| Action::await_change())
            }
        }
    })
    .await
}

/// Makes a child of the same data.
async fn apply(maps: &Api<ConfigMap>, context: &Context, parent: &ConfigMap) -> Result<Action, kube::Error> {
    let name = format!("{}-child", parent.metadata.name.as_deref().unwrap_or_default());
    let mut metadata = named(&name);
    metadata.owner_references = parent.controller_owner_ref(&()).map(|owner| vec![owner]);
    metadata.labels = Some(BTreeMap::from([("role".into(), "child".into())]));
    let child = ConfigMap { metadata, data: parent.data.clone(), ..ConfigMap::default() };
    maps.patch(&name, &PatchParams::apply("example.com").force(), &Patch::Apply(&child)).await?;
    let event = Event {
        type_: EventType::Normal,
        reason: "Applied".into(),
        note: Some(format!("{name} is as it should be")),
        action: "Apply".into(),
        secondary: None,
    };
    context.recorder.publish(&event, &parent.object_ref(&())).await?;
    Ok(Action::await_change())
}

fn named(name: &str) -> ObjectMeta {
    ObjectMeta { name: Some(name.into()), namespace: Some("default".into()), ..ObjectMeta::default() }
}

/// Waits until the object is as wanted.
async fn until(maps: &Api<ConfigMap>, name: &str, what: &str, check: impl Fn(Option<&ConfigMap>) -> bool) {
    let wait = async {
        while !check(maps.get_opt(name).await.unwrap().as_ref()) {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(Duration::from_secs(60), wait).await.unwrap_or_else(|_| panic!("{name}: waited in vain: {what}"));
}

fn value(map: Option<&ConfigMap>) -> Option<&str> {
    map?.data.as_ref()?.get("value").map(String::as_str)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_controller_with_children_finalizer_and_events_converges() {
    let sandbox = Sandbox::new();
    let _master = Master::start(&sandbox);
    let client = over_tls(&sandbox).await;
    let maps: Api<ConfigMap> = Api::default_namespaced(client.clone());
    let reporter = Reporter { controller: "example.com/parents".into(), instance: None };
    let context =
        Arc::new(Context { recorder: Recorder::new(client.clone(), reporter), client: client.clone() });
    let labelled = |role: &str| watcher::Config::default().labels(&format!("role={role}"));
    let controller = Controller::new(maps.clone(), labelled("parent"))
        .owns(maps.clone(), labelled("child"))
        .run(reconcile, |_, _, _| Action::requeue(Duration::from_millis(50)), context)
        .for_each(|_| async {});
    let running = tokio::spawn(controller);

    let mut parent = ConfigMap { metadata: named("p"), ..ConfigMap::default() };
    parent.metadata.labels = Some(BTreeMap::from([("role".into(), "parent".into())]));
    parent.data = Some(BTreeMap::from([("value".into(), "1".into())]));
    maps.create(&PostParams::default(), &parent).await.unwrap();
    until(&maps, "p-child", "is made", |map| value(map) == Some("1")).await;
    maps.patch("p", &PatchParams::default(), &Patch::Merge(json!({"data": {"value": "2"}}))).await.unwrap();
    until(&maps, "p-child", "follows", |map| value(map) == Some("2")).await;
    maps.patch("p-child", &PatchParams::default(), &Patch::Merge(json!({"data": {"value": "x"}})))
        .await
        .unwrap();
    until(&maps, "p-child", "is mended", |map| value(map) == Some("2")).await;
    let uid = maps.get("p-child").await.unwrap().metadata.uid;
    maps.delete("p-child", &DeleteParams::default()).await.unwrap();
    until(&maps, "p-child", "is made again", |map| map.is_some_and(|map| map.metadata.uid != uid)).await;
    let held = maps.get("p").await.unwrap().metadata.finalizers.unwrap_or_default();
    assert_eq!(held, ["example.com/cleanup"]);
    let events: Api<CoreEvent> = Api::default_namespaced(client);
    let of_parent = ListParams::default().fields("involvedObject.name=p,reason=Applied");
    let found = events.list(&of_parent).await.unwrap().items;
    assert!(
        found.iter().any(|event| event.message.as_deref() == Some("p-child is as it should be")),
        "{found:?}"
    );
    assert!(found.iter().any(|event| event.series.is_some()), "the same again is a series: {found:?}");

    maps.delete("p", &DeleteParams::default()).await.unwrap();
    until(&maps, "cleaned", "is left by the cleanup", |map| value(map) == Some("2")).await;
    until(&maps, "p", "is gone", |map| map.is_none()).await;
    until(&maps, "p-child", "is collected", |map| map.is_none()).await;
    running.abort();
}
