//! `apply_request`: manifests, or the text of a program, as one bundle.

use http::Method;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use gcluster_types::labels::MANAGER_APPLY;

use super::caller::{Caller, JSON, Refused, objects, segment};
use super::envelope::Envelope;
use super::program::{Compile, Compiled, Problem, Source};
use crate::status::ApiError;

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Apply {
    objects: Option<Box<RawValue>>,
    source: Option<String>,
    path: Option<String>,
    working_directory: Option<String>,
    namespace: Option<String>,
    field_manager: Option<String>,
    #[serde(default)]
    dry_run: bool,
    #[serde(default)]
    force: bool,
}

/// The part of a manifest that says where it belongs.
#[derive(Deserialize, Default)]
struct Head {
    #[serde(default)]
    metadata: HeadMetadata,
}

#[derive(Deserialize, Default)]
struct HeadMetadata {
    namespace: Option<String>,
}

/// The bundle's answer without the objects in it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Bundle {
    resource_version: String,
    results: Vec<ItemResult>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ItemResult {
    api_version: String,
    kind: String,
    name: String,
    result: String,
}

/// Applies all of it or nothing.
pub(super) async fn apply(
    caller: Caller,
    compile: Option<Compile>,
    envelope: Envelope,
) -> Result<Value, Refused> {
    let apply: Apply = envelope.payload()?;
    drop(envelope);
    let mut warnings = Vec::new();
    let (items, own_namespace) = match (&apply.objects, &apply.source) {
        (Some(objects), None) => {
            if apply.path.is_some() || apply.working_directory.is_some() {
                return refuse("path and workingDirectory belong to source, not to objects");
            }
            // A map would read as a list of nothing in particular.
            let heads: Vec<Head> = match objects.get().starts_with('[') {
                true => serde_json::from_str(objects.get())
                    .map_err(|error| ApiError::bad_request(format!("objects: {error}")))?,
                false => return refuse("objects: must be a list of manifests"),
            };
            (objects.get().to_owned(), heads.into_iter().find_map(|head| head.metadata.namespace))
        }
        (None, Some(text)) => {
            let namespace = apply.namespace.as_deref().unwrap_or("default");
            // Compiling reads files, which a reader has no business with.
            caller.may("create", "bundles", namespace).await?;
            let source = Source {
                text: text.clone(),
                path: absolute("path", apply.path.as_deref())?,
                working_directory: absolute("workingDirectory", apply.working_directory.as_deref())?,
            };
            let compiled = compiled(compile, source).await?;
            warnings = compiled.warnings;
            (Value::Array(compiled.objects).to_string(), None)
        }
        _ => return refuse("give either objects, a list of manifests, or source, the text of a program"),
    };
    let namespace = apply.namespace.as_deref().or(own_namespace.as_deref()).unwrap_or("default");
    if namespace.is_empty() {
        return refuse("namespace: must not be empty");
    }
    let manager = apply.field_manager.as_deref().unwrap_or(MANAGER_APPLY);
    let dry_run = if apply.dry_run { "&dryRun=All" } else { "" };
    let path = format!(
        "{}?fieldValidation=Strict&fieldManager={}&force={}{dry_run}",
        objects(namespace, "bundles"),
        segment(manager),
        apply.force
    );
    let body = format!(r#"{{"apiVersion":"gcluster.dev/v1alpha1","kind":"Bundle","items":{items}}}"#);
    drop(items);
    let answer = caller.call(Method::POST, &path, JSON, body).await?;
    let bundle: Bundle =
        serde_json::from_slice(&answer.bytes).map_err(|error| ApiError::internal(error.to_string()))?;
    let with = |result: &str| -> Vec<String> {
        bundle.results.iter().filter(|item| item.result == result).map(ItemResult::shown).collect()
    };
    warnings.extend(answer.warnings);
    Ok(json!({
        "created": with("created"), "updated": with("updated"), "unchanged": with("unchanged"),
        "resourceVersion": bundle.resource_version, "warnings": warnings,
    }))
}

impl ItemResult {
    /// An agent by its name, anything else as `kind.group/name`.
    fn shown(&self) -> String {
        let kind = self.kind.to_lowercase();
        match self.api_version.split_once('/') {
            Some(("gcluster.dev", _)) if kind == "agent" => self.name.clone(),
            Some((group, _)) => format!("{kind}.{group}/{}", self.name),
            None => format!("{kind}/{}", self.name),
        }
    }
}

fn refuse<T>(why: &str) -> Result<T, Refused> {
    Err(ApiError::bad_request(why).into())
}

fn absolute(field: &str, path: Option<&str>) -> Result<Option<std::path::PathBuf>, Refused> {
    let path = path.map(std::path::PathBuf::from);
    match path.as_ref().is_none_or(|path| path.is_absolute()) {
        true => Ok(path),
        false => refuse(&format!("{field}: must be an absolute path")),
    }
}

async fn compiled(compile: Option<Compile>, source: Source) -> Result<Compiled, Refused> {
    let Some(compile) = compile else {
        return refuse("this master compiles no programs: give objects");
    };
    let done = tokio::task::spawn_blocking(move || compile(&source)).await;
    match done {
        Ok(Ok(compiled)) => Ok(compiled),
        Ok(Err(problems)) => Err(Box::new(invalid(&problems))),
        Err(error) => Err(ApiError::internal(format!("the compiler ended badly: {error}")).into()),
    }
}

/// A Status with one cause per problem; its `field` is `file:line:column`.
fn invalid(problems: &[Problem]) -> Value {
    let causes: Vec<Value> = problems
        .iter()
        .map(|problem| json!({"reason": "CompileError", "field": problem.place, "message": problem.text}))
        .collect();
    let message = problems.iter().map(|problem| problem.text.as_str()).collect::<Vec<_>>().join("\n");
    json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "reason": "Invalid",
        "code": 422, "message": message, "details": {"causes": causes},
    })
}
