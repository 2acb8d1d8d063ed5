//! kube-rs over real sockets: objects, conflicts, pages, watches that survive what happens to their connection,
//! leases.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::{Stream, StreamExt as _, TryStreamExt as _};
use gcluster_types::Agent;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Secret};
use k8s_openapi::jiff::Timestamp;
use kube::api::{
    Api, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams,
};
use kube::core::{ObjectMeta, PartialObjectMeta};
use kube::runtime::watcher::{self, Event, watcher};
use kube::runtime::{WatchStreamExt as _, reflector};
use kube::{Client, Error};
use serde_json::json;
use tokio::time::timeout;

use crate::support::cli::Sandbox;
use crate::support::kube::{Relay, over_http, over_tls};
use crate::support::master::Master;

const LIMIT: Duration = Duration::from_secs(60);

fn map(name: &str, value: &str) -> ConfigMap {
    ConfigMap {
        metadata: ObjectMeta { name: Some(name.into()), ..ObjectMeta::default() },
        data: Some(BTreeMap::from([("value".into(), value.into())])),
        ..ConfigMap::default()
    }
}

/// The code of a refusal and its reason.
#[track_caller]
fn refusal<T: std::fmt::Debug>(result: Result<T, Error>) -> (u16, String) {
    match result {
        Err(Error::Api(status)) => (status.code, status.reason.clone()),
        other => panic!("not refused: {other:?}"),
    }
}

async fn both_ways(sandbox: &Sandbox, master: &Master) -> [Client; 2] {
    [over_tls(sandbox).await, over_http(sandbox, master.address())]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kube_creates_reads_patches_and_deletes_over_tls_and_plain_http() {
    let sandbox = Sandbox::new();
    let master = Master::start(&sandbox);
    for client in both_ways(&sandbox, &master).await {
        let maps: Api<ConfigMap> = Api::default_namespaced(client.clone());
        let made = maps.create(&PostParams::default(), &map("a", "1")).await.unwrap();
        assert_eq!(
            refusal(maps.create(&PostParams::default(), &map("a", "1")).await),
            (409, "AlreadyExists".into())
        );
        let mut next = made.clone();
        next.data = map("a", "2").data;
        maps.replace("a", &PostParams::default(), &next).await.unwrap();
        assert_eq!(refusal(maps.replace("a", &PostParams::default(), &next).await), (409, "Conflict".into()));
        let merge = Patch::Merge(json!({"data": {"more": "x"}}));
        let merged = maps.patch("a", &PatchParams::default(), &merge).await.unwrap();
        assert_eq!(merged.data.unwrap().len(), 2);
        let strategic = Patch::Strategic(json!({"data": {"more": null}}));
        let merged = maps.patch("a", &PatchParams::default(), &strategic).await.unwrap();
        assert_eq!(merged.data, map("a", "2").data);

        let applied = map("b", "1");
        maps.patch("b", &PatchParams::apply("one"), &Patch::Apply(&applied)).await.unwrap();
        let other = map("b", "2");
        let conflict = maps.patch("b", &PatchParams::apply("two"), &Patch::Apply(&other)).await;
        let Err(Error::Api(status)) = &conflict else { panic!("{conflict:?}") };
        let cause = &status.details.as_ref().unwrap().causes[0];
        assert_eq!((status.code, cause.reason.as_str()), (409, "FieldManagerConflict"));
        assert_eq!(cause.field, ".data.value");
        assert!(cause.message.contains("conflict with \"one\""), "{}", cause.message);
        maps.patch("b", &PatchParams::apply("two").force(), &Patch::Apply(&other)).await.unwrap();
        let dry =
            maps.patch("b", &PatchParams { dry_run: true, ..PatchParams::default() }, &merge).await.unwrap();
        assert_eq!(dry.data.unwrap().len(), 2);
        assert_eq!(maps.get("b").await.unwrap().data, other.data);

        let names =
            |list: Vec<ConfigMap>| list.into_iter().filter_map(|m| m.metadata.name).collect::<Vec<_>>();
        assert_eq!(
            names(maps.list(&ListParams::default().fields("metadata.name=b")).await.unwrap().items),
            ["b"]
        );
        let metas = maps.list_metadata(&ListParams::default()).await.unwrap();
        assert_eq!(metas.items.len(), 2);
        assert_eq!(maps.get_metadata("b").await.unwrap().metadata.name.as_deref(), Some("b"));
        maps.delete("a", &DeleteParams::default()).await.unwrap();
        assert!(maps.get_opt("a").await.unwrap().is_none());
        maps.delete_collection(&DeleteParams::default(), &ListParams::default()).await.unwrap();
        assert!(maps.list(&ListParams::default()).await.unwrap().items.is_empty());

        let secrets: Api<Secret> = Api::default_namespaced(client.clone());
        let secret =
            Secret { metadata: map("s", "").metadata, string_data: map("s", "x").data, ..Secret::default() };
        let secret = secrets.create(&PostParams::default(), &secret).await.unwrap();
        assert_eq!(secret.data.unwrap()["value"].0, b"x");
        secrets.delete("s", &DeleteParams::default()).await.unwrap();
        let spaces: Api<Namespace> = Api::all(client.clone());
        assert_eq!(spaces.get("default").await.unwrap().status.unwrap().phase.as_deref(), Some("Active"));
        let agents: Api<Agent> = Api::default_namespaced(client.clone());
        let strategic = agents.patch("x", &PatchParams::default(), &Patch::Strategic(json!({}))).await;
        assert_eq!(refusal(strategic).0, 415);
        let discovery = kube::discovery::Discovery::new(client.clone()).run().await.unwrap();
        let (found, _) = discovery.get("gcluster.dev").unwrap().recommended_kind("Agent").unwrap();
        let dynamic: Api<DynamicObject> = Api::default_namespaced_with(client, &found);
        assert!(dynamic.list(&ListParams::default()).await.unwrap().items.is_empty());
    }
}

/// The next event that the check accepts; panics when none comes.
async fn until<S, T>(stream: &mut S, what: &str, mut check: impl FnMut(&T) -> bool) -> T
where
    S: Stream<Item = Result<T, watcher::Error>> + Unpin,
    T: std::fmt::Debug,
{
    let found = async {
        loop {
            match stream.next().await.expect("a watcher never ends") {
                Ok(event) if check(&event) => return event,
                // A cut connection; the watcher tries again.
                Ok(_) | Err(_) => {}
            }
        }
    };
    timeout(LIMIT, found).await.unwrap_or_else(|_| panic!("waited in vain for {what}"))
}

fn is_apply(event: &Event<ConfigMap>, name: &str) -> bool {
    matches!(event, Event::Apply(map) if map.metadata.name.as_deref() == Some(name))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watcher_resumes_after_a_cut_and_lists_again_after_its_history_is_gone() {
    let sandbox = Sandbox::new();
    let mut master = Master::start(&sandbox);
    let direct: Api<ConfigMap> = Api::default_namespaced(over_tls(&sandbox).await);
    let relay = Relay::to(master.address()).await;
    let maps: Api<ConfigMap> = Api::default_namespaced(over_http(&sandbox, relay.address()));
    direct.create(&PostParams::default(), &map("a", "1")).await.unwrap();
    let mut stream = watcher(maps, watcher::Config::default()).default_backoff().boxed();
    until(&mut stream, "the first list", |event| matches!(event, Event::InitDone)).await;
    direct.create(&PostParams::default(), &map("b", "1")).await.unwrap();
    until(&mut stream, "b", |event| is_apply(event, "b")).await;

    // Cut: what happens meanwhile comes afterwards, and nothing is listed again.
    relay.cut(master.address());
    direct.create(&PostParams::default(), &map("c", "1")).await.unwrap();
    let mut again = Vec::new();
    until(&mut stream, "c", |event| {
        again.push(format!("{event:?}"));
        is_apply(event, "c")
    })
    .await;
    assert_eq!(again.len(), 1, "only what is new: {again:#?}");

    // A master that started anew does not know what happened before: 410, and the watcher lists again.
    relay.cut("127.0.0.1:1");
    direct.create(&PostParams::default(), &map("d", "1")).await.unwrap();
    assert!(master.stop().success());
    let master = Master::start(&sandbox);
    relay.cut(master.address());
    let mut names = Vec::new();
    until(&mut stream, "a new list", |event| {
        if let Event::InitApply(map) = event {
            names.extend(map.metadata.name.clone());
        }
        matches!(event, Event::InitDone)
    })
    .await;
    assert_eq!(names, ["a", "b", "c", "d"]);
    let direct: Api<ConfigMap> = Api::default_namespaced(over_tls(&sandbox).await);
    direct.delete("b", &DeleteParams::default()).await.unwrap();
    until(&mut stream, "the end of b", |event| matches!(event, Event::Delete(_))).await;
    let mut old = direct.watch(&WatchParams::default(), "1").await.unwrap().boxed();
    let gone = old.try_next().await.unwrap().unwrap();
    assert!(matches!(&gone, WatchEvent::Error(status) if status.code == 410), "{gone:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reflectors_follow_by_lists_by_streams_and_by_metadata() {
    let sandbox = Sandbox::new();
    let master = Master::start(&sandbox);
    for (n, client) in both_ways(&sandbox, &master).await.into_iter().enumerate() {
        let maps: Api<ConfigMap> = Api::default_namespaced(client.clone());
        let metas: Api<PartialObjectMeta<ConfigMap>> = Api::default_namespaced(client);
        let name = |what: &str| format!("{what}{n}");
        maps.create(&PostParams::default(), &map(&name("old"), "1")).await.unwrap();
        for config in [watcher::Config::default().page_size(1), watcher::Config::default().streaming_lists()]
        {
            let (store, writer) = reflector::store::<ConfigMap>();
            let mut changes = watcher(maps.clone(), config.clone()).reflect(writer).boxed();
            let about = |event: &Event<ConfigMap>, wanted: &str| match event {
                Event::Apply(map) | Event::InitApply(map) => map.metadata.name.as_deref() == Some(wanted),
                _ => false,
            };
            until(&mut changes, "what is there", |event| about(event, &name("old"))).await;
            until(&mut changes, "the end of the list", |event| matches!(event, Event::InitDone)).await;
            maps.create(&PostParams::default(), &map(&name("new"), "1")).await.unwrap();
            until(&mut changes, "what is new", |event| about(event, &name("new"))).await;
            timeout(LIMIT, store.wait_until_ready()).await.unwrap().unwrap();
            assert!(store.state().iter().any(|map| map.metadata.name == Some(name("new"))));
            let mut metas = watcher(metas.clone(), config).applied_objects().boxed();
            until(&mut metas, "metadata", |meta| meta.metadata.name == Some(name("new"))).await;
            maps.delete(&name("new"), &DeleteParams::default()).await.unwrap();
            until(&mut changes, "what is gone", |event| matches!(event, Event::Delete(_))).await;
            assert!(store.state().iter().all(|map| map.metadata.name != Some(name("new"))));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_show_one_state_while_objects_change() {
    let sandbox = Sandbox::new();
    let _master = Master::start(&sandbox);
    let maps: Api<ConfigMap> = Api::default_namespaced(over_tls(&sandbox).await);
    for n in 0..20 {
        maps.create(&PostParams::default(), &map(&format!("m{n:02}"), "old")).await.unwrap();
    }
    let (mut params, mut pages, mut version) = (ListParams::default().limit(3), Vec::new(), None);
    loop {
        let page = maps.list(&params).await.unwrap();
        assert_eq!(
            *version.get_or_insert(page.metadata.resource_version.clone()),
            page.metadata.resource_version
        );
        pages.extend(page.items);
        let Some(token) = page.metadata.continue_.filter(|token| !token.is_empty()) else { break };
        params = params.continue_token(&token);
        // Behind, at and before the place where the list is.
        let n = pages.len();
        maps.create(&PostParams::default(), &map(&format!("m{n:02}-late"), "new")).await.unwrap();
        let patch = Patch::Merge(json!({"data": {"value": "new"}}));
        maps.patch("m19", &PatchParams::default(), &patch).await.unwrap();
        maps.delete(&format!("m{:02}", n - 1), &DeleteParams::default()).await.unwrap();
    }
    let names: Vec<_> = pages.iter().filter_map(|m| m.metadata.name.clone()).collect();
    assert_eq!(names, (0..20).map(|n| format!("m{n:02}")).collect::<Vec<_>>());
    assert!(pages.iter().all(|m| m.data == map("", "old").data));
}

/// Takes or renews the lease when it is free, expired or one's own; says whether it is held.
async fn contend(leases: &Api<Lease>, who: &str) -> bool {
    let Ok(Some(mut lease)) = leases.get_opt("leader").await else {
        let metadata = map("leader", "").metadata;
        let spec = LeaseSpec { lease_duration_seconds: Some(1), ..LeaseSpec::default() };
        let _ = leases.create(&PostParams::default(), &Lease { metadata, spec: Some(spec) }).await;
        return false;
    };
    let spec = lease.spec.get_or_insert_default();
    let now = Timestamp::now();
    let expires = spec.renew_time.as_ref().map(|at| at.0 + Duration::from_secs(1));
    let free = spec.holder_identity.as_deref().is_none_or(|holder| holder == who);
    if !free && expires.is_some_and(|at| at > now) {
        return false;
    }
    if spec.holder_identity.as_deref() != Some(who) {
        spec.lease_transitions = Some(spec.lease_transitions.unwrap_or(0) + 1);
    }
    spec.holder_identity = Some(who.into());
    spec.renew_time = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime(now));
    match leases.replace("leader", &PostParams::default(), &lease).await {
        Ok(_) => true,
        Err(Error::Api(status)) if status.code == 409 => false,
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_several_contenders_holds_a_lease_and_another_takes_it_over() {
    let sandbox = Sandbox::new();
    let master = Master::start(&sandbox);
    let [one, two] = both_ways(&sandbox, &master).await;
    let (one, two): (Api<Lease>, Api<Lease>) = (Api::default_namespaced(one), Api::default_namespaced(two));
    contend(&one, "one").await;
    let held = async |wanted: [bool; 2], contenders: [Option<&Api<Lease>>; 2]| loop {
        let try_one = async |n: usize, who| match contenders[n] {
            Some(leases) => contend(leases, who).await,
            None => false,
        };
        let now = tokio::join!(try_one(0, "one"), try_one(1, "two"));
        assert!(!(now.0 && now.1), "two hold the lease");
        if [now.0, now.1] == wanted || wanted == [true, true] && (now.0 || now.1) {
            return now.0;
        }
    };
    for _ in 0..20 {
        timeout(LIMIT, held([true, true], [Some(&one), Some(&two)])).await.expect("a leader");
    }
    let first = timeout(LIMIT, held([true, true], [Some(&one), Some(&two)])).await.unwrap();
    let (wanted, left) =
        if first { ([false, true], [None, Some(&two)]) } else { ([true, false], [Some(&one), None]) };
    timeout(LIMIT, held(wanted, left)).await.expect("the other takes over what has expired");
    let lease = one.get("leader").await.unwrap().spec.unwrap();
    assert_eq!(lease.holder_identity.as_deref(), Some(if first { "two" } else { "one" }));
}
