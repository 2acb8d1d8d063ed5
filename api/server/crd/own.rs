//! gcluster's own definitions as objects, so that clients can list and read them like any other.

use gcluster_store::{Key, TransactError, Transaction};
use gcluster_types::kinds;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use super::{KIND, STORED};
use crate::Api;
use crate::write::seconds;

/// Writes the definitions that come with this version of gcluster, and removes those that it has no more.
///
/// # Errors
/// When they cannot be written.
pub(crate) async fn install(api: &Api) -> Result<(), String> {
    let own = kinds::crds();
    let outcome = api.store().transact(|tx| {
        for crd in &own {
            put(tx, crd)?;
        }
        for entry in tx.list(STORED, None) {
            let group = entry.key.name.split_once('.').map(|(_, group)| group);
            let known = own.iter().any(|crd| crd.metadata.name.as_deref() == Some(&*entry.key.name));
            if group == Some(kinds::GROUP) && !known {
                tx.delete(&entry.key, entry.value.clone());
            }
        }
        Ok::<(), String>(())
    });
    outcome.await.map_err(|error| match error {
        TransactError::Rejected(reason) => reason,
        TransactError::Storage(reason) => reason.to_string(),
        TransactError::Closed => "the master is stopping".into(),
    })
}

fn put(tx: &mut Transaction<'_>, crd: &CustomResourceDefinition) -> Result<(), String> {
    let name = crd.metadata.name.as_deref().unwrap_or_default();
    let key = Key::new(STORED, "", name);
    let mut object = serde_json::to_value(crd).map_err(|error| error.to_string())?;
    object["kind"] = KIND.into();
    super::default_spec(&mut object);
    let before: Option<Value> = tx.get(&key).and_then(|entry| serde_json::from_slice(&entry.value).ok());
    if before.as_ref().is_some_and(|before| before["spec"] == object["spec"]) {
        return Ok(());
    }
    let now = seconds(Timestamp::now());
    object["metadata"] = match before {
        Some(mut before) => {
            let generation = before["metadata"]["generation"].as_i64().unwrap_or(1);
            before["metadata"]["generation"] = generation.saturating_add(1).into();
            before["metadata"].take()
        }
        None => json!({
            "name": name, "uid": uuid::Uuid::new_v4().to_string(), "creationTimestamp": now, "generation": 1,
        }),
    };
    object["metadata"]["resourceVersion"] = tx.revision().to_string().into();
    let condition = |name: &str, reason: &str, message: &str| json!({"type": name, "status": "True", "reason": reason, "message": message, "lastTransitionTime": now});
    object["status"] = json!({
        "acceptedNames": object["spec"]["names"],
        "conditions": [
            condition("NamesAccepted", "NoConflicts", "no conflicts found"),
            condition("Established", "InitialNamesAccepted", "the initial names have been accepted"),
        ],
        "storedVersions": [kinds::VERSION],
    });
    let bytes = serde_json::to_vec(&object).map_err(|error| error.to_string())?;
    tx.put(key, bytes.into());
    Ok(())
}
