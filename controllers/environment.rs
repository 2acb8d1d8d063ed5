//! The environment of an agent's programs: values as written, and those that Secrets and ConfigMaps hold.
//!
//! ```text
//! env: [{name: API_KEY, valueFrom: {secretKeyRef: {name: token, key: key}}}] ──▶ API_KEY=…
//! ```
//! Read anew for each iteration, so that a rotated secret is used by the next one. Values go into the environment
//! of the program and nowhere else.

use std::time::Duration;

use gcluster_types::Agent;
use gcluster_types::kinds::agent::{EnvVar, KeySelector};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::{Api, Client, ResourceExt};

use crate::Context;
use crate::backend::Unavailable;
use crate::error::{Error, Result};

/// How soon a missing value is looked for again.
pub(crate) const RECHECK: Duration = Duration::from_secs(2);

/// Names with their values; or what is missing, in words that name the object and the key.
pub(crate) type Environment = std::result::Result<Vec<(String, String)>, Unavailable>;

/// Names of the variables that say which master is meant, and as whom. They belong together.
const CONNECTION: [&str; 4] = ["GCLUSTER_SERVER", "GCLUSTER_TOKEN", "GCLUSTER_CA", "GCLUSTER_KUBECONFIG"];

/// With what the programs of an agent reach the master.
pub(crate) fn access(ctx: &Context, agent: &Agent) -> Vec<(String, String)> {
    let (namespace, uid) = (agent.namespace().unwrap_or_default(), agent.uid().unwrap_or_default());
    let mut access = ctx.access(&namespace, &agent.name_any(), &uid);
    let mut own = agent.spec.backend.iter().flat_map(|backend| &backend.env);
    if own.any(|variable| CONNECTION.contains(&variable.name.as_str())) {
        // Whoever names a master, or another right, means all of it: our token is not for a server of theirs.
        access.retain(|(name, _)| !CONNECTION.contains(&name.as_str()));
    }
    access
}

/// Reads every value of `spec.backend.env`.
///
/// # Errors
/// When the API cannot be asked.
pub(crate) async fn resolve(client: &Client, agent: &Agent) -> Result<Environment> {
    let namespace = agent.namespace().unwrap_or_default();
    values(client, &namespace, agent.spec.backend.as_ref().map_or(&[], |backend| &backend.env)).await
}

/// Reads the values of variables of a namespace.
///
/// # Errors
/// When the API cannot be asked.
pub(crate) async fn values(client: &Client, namespace: &str, variables: &[EnvVar]) -> Result<Environment> {
    let mut environment = Vec::new();
    for variable in variables {
        match value(client, namespace, variable).await? {
            Ok(Some(value)) => environment.push((variable.name.clone(), value)),
            Ok(None) => {}
            Err(missing) => return Ok(Err(missing)),
        }
    }
    Ok(Ok(environment))
}

/// The value of one variable; none when it may be missing and is.
async fn value(
    client: &Client,
    namespace: &str,
    variable: &EnvVar,
) -> Result<std::result::Result<Option<String>, Unavailable>> {
    let source = variable.value_from.clone().unwrap_or_default();
    let (kind, key, found) = match (source.secret_key_ref, source.config_map_key_ref) {
        (Some(key), _) => {
            let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
            let secret = read(&api, "Secret", &key).await?;
            let found = secret.map(|secret| secret.data.unwrap_or_default().remove(&key.key).map(|v| v.0));
            ("Secret", key, found)
        }
        (None, Some(key)) => {
            let api: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
            let map = read(&api, "ConfigMap", &key).await?;
            let found = map.map(|map| map.data.unwrap_or_default().remove(&key.key).map(String::into_bytes));
            ("ConfigMap", key, found)
        }
        (None, None) => return Ok(Ok(Some(variable.value.clone()))),
    };
    let refuse = |reason, why: &str, hint: &str| {
        let message = format!(
            "the environment variable {} needs the key {:?} of the {kind} {namespace}/{}, {why}",
            variable.name, key.key, key.name
        );
        Ok(Err(Unavailable { reason, message, hint: hint.to_owned() }))
    };
    match found {
        Some(Some(bytes)) => match String::from_utf8(bytes) {
            Ok(text) if !text.contains('\0') => Ok(Ok(Some(text))),
            _ => refuse("EnvironmentInvalid", "which is no text", "a variable takes UTF-8 without NUL"),
        },
        _ if key.optional == Some(true) => Ok(Ok(None)),
        Some(None) => refuse(
            "EnvironmentIncomplete",
            "which has no such key",
            "add it, or set `optional: true`; the agent goes on when it is there",
        ),
        None => refuse(
            "EnvironmentIncomplete",
            "which does not exist",
            "create it, or set `optional: true`; the agent goes on when it is there",
        ),
    }
}

async fn read<K>(api: &Api<K>, kind: &str, key: &KeySelector) -> Result<Option<K>>
where
    K: kube::Resource + Clone + std::fmt::Debug + serde::de::DeserializeOwned,
{
    api.get_opt(&key.name).await.map_err(Error::api(format!("read {kind} {}", key.name)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::FakeApi;
    use serde_json::{Value, json};

    async fn resolved(api: &FakeApi, env: Value) -> Environment {
        let agent = json!({"apiVersion": "gcluster.dev/v1alpha1", "kind": "Agent",
            "metadata": {"name": "a", "namespace": "default"}, "spec": {"definition": "", "backend": {"env": env}}});
        resolve(&api.client(), &serde_json::from_value(agent).unwrap()).await.unwrap()
    }

    #[tokio::test]
    async fn who_names_another_master_is_given_no_token_for_this_one() {
        let given = |env: Value| -> Vec<String> {
            let agent = json!({"apiVersion": "gcluster.dev/v1alpha1", "kind": "Agent",
                "metadata": {"name": "a", "namespace": "n", "uid": "u"},
                "spec": {"definition": "", "backend": {"env": env}}});
            let config = crate::Config::new("rehearsal", "/nonexistent");
            let ctx = Context::new(FakeApi::new().client(), [], config);
            let ctx = ctx.with_access(std::sync::Arc::new(|namespace, name, uid| {
                let token = format!("{namespace}/{name}/{uid}");
                [("PATH", "/bin"), ("GCLUSTER_SERVER", "s"), ("GCLUSTER_TOKEN", &token)]
                    .map(|(name, value)| (name.to_owned(), value.to_owned()))
                    .to_vec()
            }));
            let access = access(&ctx, &serde_json::from_value(agent).unwrap());
            access.into_iter().map(|(name, value)| format!("{name}={value}")).collect()
        };
        let all = ["PATH=/bin", "GCLUSTER_SERVER=s", "GCLUSTER_TOKEN=n/a/u"];
        assert_eq!(given(json!([{"name": "GCLUSTER_AGENT", "value": "x"}])), all);
        for name in CONNECTION {
            assert_eq!(given(json!([{"name": name, "value": "x"}])), ["PATH=/bin"], "{name}");
        }
    }

    #[tokio::test]
    async fn values_come_from_secrets_and_config_maps_of_the_namespace() {
        let api = FakeApi::new();
        api.apply(
            "secrets",
            json!({"metadata": {"name": "token"}, "data": {"key": "aHVudGVyMg==", "raw": "/w=="}}),
        );
        api.apply("configmaps", json!({"metadata": {"name": "settings"}, "data": {"mode": "fast"}}));
        let from = |kind: &str, name: &str, key: &str| json!({kind: {"name": name, "key": key}});
        let env = json!([
            {"name": "PLAIN", "value": "x"},
            {"name": "KEY", "valueFrom": from("secretKeyRef", "token", "key")},
            {"name": "MODE", "valueFrom": from("configMapKeyRef", "settings", "mode")},
            {"name": "MAYBE", "valueFrom": {"secretKeyRef": {"name": "none", "key": "k", "optional": true}}},
        ]);
        let pairs = |list: &[(&str, &str)]| -> Vec<(String, String)> {
            list.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
        };
        assert_eq!(
            resolved(&api, env).await.unwrap(),
            pairs(&[("PLAIN", "x"), ("KEY", "hunter2"), ("MODE", "fast")])
        );
        for (kind, name, key, reason, said) in [
            (
                "secretKeyRef",
                "token",
                "other",
                "EnvironmentIncomplete",
                "\"other\" of the Secret default/token",
            ),
            (
                "secretKeyRef",
                "absent",
                "key",
                "EnvironmentIncomplete",
                "Secret default/absent, which does not",
            ),
            ("configMapKeyRef", "absent", "k", "EnvironmentIncomplete", "ConfigMap default/absent"),
            ("secretKeyRef", "token", "raw", "EnvironmentInvalid", "no text"),
        ] {
            let missing =
                resolved(&api, json!([{"name": "V", "valueFrom": from(kind, name, key)}])).await.unwrap_err();
            assert_eq!(missing.reason, reason);
            assert!(missing.to_string().contains(said), "{missing}");
        }
    }
}
