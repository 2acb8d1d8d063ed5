//! Refusals of a provider, from the first agent that meets one to the last that goes on.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::backend::{
    Authentication, Backend, BackendEvent, Capabilities, Control, Finished, Launch, Outcome, RetryClass,
    Running, StartError, Unavailable,
};
use crate::testing::FakeApi;
use crate::{Config, Context};

/// What the provider says now to each account, and who asked it, in order.
#[derive(Default)]
struct Provider {
    refuses: Mutex<Vec<(String, Outcome)>>,
    asked: Mutex<Vec<String>>,
}

impl Provider {
    fn refuse(&self, account: &str, outcome: Outcome) {
        self.serve(account);
        self.refuses.lock().unwrap().push((account.to_owned(), outcome));
    }

    fn serve(&self, account: &str) {
        self.refuses.lock().unwrap().retain(|(refused, _)| refused != account);
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

struct Client(Arc<Provider>);

impl Backend for Client {
    fn name(&self) -> &'static str {
        "client"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }

    fn check(&self) -> Result<(), Unavailable> {
        Ok(())
    }

    fn authentication(&self) -> Authentication {
        Authentication { keys: &["TEST_ACCOUNT"], remedy: "`client login`", ..Authentication::default() }
    }

    fn start(&self, launch: Launch) -> futures::future::BoxFuture<'static, Result<Running, StartError>> {
        let (sender, events) = mpsc::channel(8);
        let (control, commands) = Control::channel();
        let account = launch.env.iter().find(|(name, _)| name == "TEST_ACCOUNT").map(|(_, v)| v.clone());
        self.0.asked.lock().unwrap().push(launch.agent.clone());
        let refuses = self.0.refuses.lock().unwrap().clone();
        let refused = refuses.into_iter().find(|(name, _)| Some(name) == account.as_ref());
        let tool_uses = i64::from(refused.is_none());
        let outcome = refused.map_or(Outcome::Succeeded { output: "done".into() }, |(_, outcome)| outcome);
        tokio::spawn(async move {
            let done = Finished { outcome, turns: 1, tool_uses, model: None };
            let _ = sender.send(BackendEvent::Done(done)).await;
            drop(commands);
        });
        Box::pin(async move { Ok(Running { process: None, events, control }) })
    }
}

struct World {
    api: FakeApi,
    dir: tempfile::TempDir,
    provider: Arc<Provider>,
    running: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
}

impl World {
    fn new() -> Self {
        let (api, dir) = (FakeApi::new(), tempfile::tempdir().unwrap());
        Self { api, dir, provider: Arc::default(), running: None }
    }

    fn start(&mut self) {
        let mut config = Config::new("client", self.dir.path());
        config.salt = b"salt".to_vec();
        config.outage_backoff = Duration::from_millis(200);
        config.credential_recheck = Duration::from_millis(300);
        config.throttle_default = Duration::from_millis(300);
        let client = Arc::new(Client(self.provider.clone())) as Arc<dyn Backend>;
        let ctx = Context::new(self.api.client(), [client], config);
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(crate::run(ctx, async move { stopped.await.unwrap_or(()) }));
        self.running = Some((stop, task));
    }

    async fn stop(&mut self) {
        let (stop, task) = self.running.take().unwrap();
        stop.send(()).unwrap();
        task.await.unwrap();
    }

    /// A loop of ever so many iterations on an account.
    fn agent(&self, name: &str, account: Value, more: Value) {
        let mut env = json!({"name": "TEST_ACCOUNT"});
        env.as_object_mut().unwrap().extend(account.as_object().unwrap().clone());
        let mut spec = json!({
            "definition": format!("(defagent \"{name}\"\n  (pipeline\n    (step \"work\" (loop work))))"),
            "methods": {"work": "(defmethod work ()\n  \"Work.\")"},
            "backend": {"env": [env]},
            "limits": {"maxIterations": 1},
        });
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let agent = json!({"apiVersion": "gcluster.dev/v1alpha1", "kind": "Agent",
            "metadata": {"name": name}, "spec": spec});
        self.api.apply("agents", agent);
    }

    async fn condition(&self, agent: &str, kind: &str, is: &str) -> Value {
        let what = format!("{agent}: {kind} to be {is}");
        let found = |api: &FakeApi| {
            let conditions = api.get("agents", agent)?["status"]["conditions"].as_array()?.clone();
            conditions.into_iter().find(|c| c["type"] == kind && c["status"] == is)
        };
        self.api.wait(&what, found).await
    }

    async fn done(&self, agent: &str) -> Value {
        let done =
            |api: &FakeApi| api.get("agents", agent).filter(|o| o["status"]["iterations"]["succeeded"] == 1);
        self.api.wait(&format!("{agent} to be done"), done).await["status"].clone()
    }

    fn events(&self, agent: &str, reason: &str) -> usize {
        let of = |event: &&Value| event["regarding"]["name"] == agent && event["reason"] == reason;
        self.api.all("events").iter().filter(of).count()
    }
}

fn account(name: &str) -> Value {
    json!({"value": name})
}

fn limit(milliseconds: u64) -> Outcome {
    let until = Timestamp::now().checked_add(Duration::from_millis(milliseconds)).ok();
    Outcome::Throttled { until, message: "You've hit your limit".into() }
}

fn failure(reason: &str, retry: RetryClass) -> Outcome {
    Outcome::Failed { reason: reason.into(), error: "The provider says no.".into(), retry }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limit_that_one_agent_meets_parks_all_on_its_account_over_a_restart_too() {
    let mut world = World::new();
    world.provider.refuse("ann", limit(3_600_000));
    world.agent("first", account("ann"), json!({}));
    world.start();
    let said = world.condition("first", "Throttled", "True").await;
    assert!(said["message"].as_str().unwrap().contains("default/first.work.0 was told"), "{said}");
    world.agent("second", account("ann"), json!({}));
    world.agent("other", account("bob"), json!({}));
    let said = world.condition("second", "Throttled", "True").await;
    assert!(said["message"].as_str().unwrap().contains("You've hit your limit"), "{said}");
    world.done("other").await;
    world.stop().await;
    // Who met it is gone, and the next master has only what the second one keeps.
    world.api.apply("agents", json!({"metadata": {"name": "first", "finalizers": []}}));
    world.api.delete("agents", "first");
    world.start();
    world.agent("third", account("ann"), json!({}));
    let third = world.condition("third", "Throttled", "True").await;
    assert!(third["message"].as_str().unwrap().contains("first.work.0"), "{third}");
    world.stop().await;
    assert_eq!(world.provider.asked(), ["first", "other"]);
    assert_eq!((world.events("second", "Throttled"), world.events("other", "Throttled")), (1, 0));
    let second = world.api.get("agents", "second").unwrap();
    assert_eq!(second["status"]["iterations"]["total"].as_i64().unwrap_or(0), 0, "nothing was tried");
    let third = world.api.get("agents", "third").unwrap();
    assert_eq!(second["status"]["credential"], third["status"]["credential"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn agents_resume_by_priority_when_the_limit_ends() {
    let mut world = World::new();
    world.provider.refuse("ann", limit(1_500));
    world.agent("first", account("ann"), json!({}));
    world.start();
    world.condition("first", "Throttled", "True").await;
    for (name, priority) in [("low", -1), ("high", 10), ("middle", 5)] {
        world.agent(name, account("ann"), json!({"priority": priority}));
        world.condition(name, "Throttled", "True").await;
    }
    world.provider.serve("ann");
    for name in ["high", "middle", "first", "low"] {
        let status = world.done(name).await;
        assert_eq!(status["iterations"]["failed"], 0, "{status}");
        world.condition(name, "Throttled", "False").await;
    }
    world.stop().await;
    assert_eq!(world.provider.asked(), ["first", "high", "middle", "first", "low"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_an_outage_one_tries_at_a_time_and_all_follow_when_it_is_over() {
    let mut world = World::new();
    world.provider.refuse("ann", failure("ServerOverloaded", RetryClass::Outage));
    world.agent("first", account("ann"), json!({}));
    world.start();
    world.condition("first", "ProviderAvailable", "False").await;
    for name in ["second", "third", "fourth"] {
        world.agent(name, account("ann"), json!({}));
    }
    let in_a_row = |api: &FakeApi| {
        let of = |agent: Value| agent["status"]["providerFault"]["inARow"].as_i64();
        api.all("agents").into_iter().filter_map(of).max().filter(|row| *row >= 4)
    };
    world.api.wait("four tries in a row that failed", in_a_row).await;
    let tries = world.provider.asked().len();
    assert!((4..=5).contains(&tries), "one at a time: {:?}", world.provider.asked());
    world.provider.serve("ann");
    for name in ["first", "second", "third", "fourth"] {
        let status = world.done(name).await;
        assert_eq!(status["iterations"]["failed"], 0, "an outage is no failure: {status}");
        world.condition(name, "ProviderAvailable", "True").await;
    }
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_credential_pauses_all_on_it_until_it_is_changed_or_accepted() {
    let mut world = World::new();
    let secret =
        |value: &str| json!({"metadata": {"name": "token"}, "stringData": {}, "data": {"key": value}});
    // "old" and "new" in base64.
    world.api.apply("secrets", secret("b2xk"));
    let from = json!({"valueFrom": {"secretKeyRef": {"name": "token", "key": "key"}}});
    world.provider.refuse("old", failure("AuthenticationFailed", RetryClass::Credential));
    world.agent("first", from.clone(), json!({}));
    world.start();
    let said = world.condition("first", "CredentialValid", "False").await;
    let message = said["message"].as_str().unwrap();
    for part in [
        "TEST_ACCOUNT from the key key of the Secret default/token",
        "The provider says no.",
        "correct that value",
        "gcluster restart first",
    ] {
        assert!(message.contains(part), "{part}: {message}");
    }
    assert_eq!(said["reason"], "AuthenticationFailed");
    world.agent("second", from, json!({}));
    world.agent("plain", account("old"), json!({}));
    world.condition("second", "CredentialValid", "False").await;
    world.condition("plain", "CredentialValid", "False").await;
    world.api.apply("secrets", secret("bmV3"));
    for name in ["first", "second"] {
        let status = world.done(name).await;
        assert_eq!(status["iterations"]["failed"], 0, "{status}");
        world.condition(name, "CredentialValid", "True").await;
        assert_eq!(world.events(name, "CredentialRefused"), 1);
    }
    world.condition("plain", "CredentialValid", "False").await;
    // A person has put the account itself right: it is found out by itself.
    world.provider.serve("old");
    world.done("plain").await;
    world.stop().await;
}
