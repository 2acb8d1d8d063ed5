//! `--now`: iterations of older revisions are ended instead of finishing.

use gcluster_types::labels::MANAGER_RUN;
use gcluster_types::names::revision_name;
use gcluster_types::sexpr::digest::digest;
use gcluster_types::{Agent, Iteration};
use http::Method;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt as _;
use serde_json::json;

use super::apply::Applied;
use super::objects::{items, text};
use crate::client::{Connection, JSON, MERGE, escape, query};
use crate::exit::{Failure, Result};

/// Asks for it for every applied agent that was changed, or that still runs an older revision. Answers which.
///
/// The request is a field of the agent: whoever comes after a master that dies carries it out.
pub(crate) async fn replace(connection: &Connection, applied: &[Applied]) -> Result<Vec<String>> {
    let now = Timestamp::now().to_string();
    let mut asked = Vec::new();
    for one in applied.iter().filter(|one| text(&one.object, "/kind") == "Agent" && one.result != "created") {
        let namespace = text(&one.object, "/metadata/namespace");
        let root = format!("/apis/gcluster.dev/v1alpha1/namespaces/{}", escape(namespace));
        if one.result == "unchanged" && !runs_older(connection, &root, one).await? {
            continue;
        }
        let name = escape(text(&one.object, "/metadata/name"));
        let path = format!("{root}/agents/{name}{}", query(&[("fieldManager", MANAGER_RUN)]));
        connection.send(Method::PATCH, &path, MERGE, &json!({"spec": {"replacedAt": now}})).await?;
        asked.push(one.shown.clone());
    }
    Ok(asked)
}

/// Whether an iteration of another text than the present one is running.
async fn runs_older(connection: &Connection, root: &str, one: &Applied) -> Result<bool> {
    let unreadable = |error| Failure::failed(format!("{} cannot be read: {error}", one.shown));
    let agent: Agent = serde_json::from_value(one.object.clone()).map_err(unreadable)?;
    let spec = &agent.spec;
    let digest = digest(&spec.definition, &spec.methods, &spec.arguments);
    let current = revision_name(&agent.name_any(), &digest);
    let fields = format!("spec.agent={},status.phase=Running", agent.name_any());
    let running =
        connection.get(&format!("{root}/iterations{}", query(&[("fieldSelector", &fields)])), JSON).await?;
    let running =
        items(running).into_iter().filter_map(|item| serde_json::from_value::<Iteration>(item).ok());
    Ok(running.into_iter().any(|iteration| iteration.spec.revision != current))
}
