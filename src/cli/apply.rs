//! `gcluster apply`: makes what files say the desired state, all of it or nothing.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use gcluster_types::labels::MANAGER_APPLY;
use http::Method;
use serde_json::{Value, json};

use super::conflict;
use super::get::name;
use super::manifest::{self, Desired};
use super::objects::{parse_timeout, poll, text};
use super::output::{Format, note, print, structured, unsupported};
use super::replace;
use super::{Globals, kinds::Catalog, plain_tickets};
use crate::client::{APPLY, Connection, JSON, escape, query};
use crate::exit::{Failure, Kind, Result};

/// Apply .p files and manifests: make what they say the desired state
///
/// Everything in the files is sent as one transaction: all of it is stored, or nothing. An agent gets a new
/// revision exactly when something it reaches has changed. Agents that are no longer in a file stay.
#[derive(Args, Debug)]
pub(crate) struct ApplyArgs {
    /// File, directory (its .p, .yaml, .yml and .json files) or - for standard input; may be repeated
    #[arg(short, long = "filename", value_name = "FILE", value_hint = clap::ValueHint::AnyPath)]
    files: Vec<PathBuf>,
    /// The same, without -f
    #[arg(value_name = "FILE", value_hint = clap::ValueHint::AnyPath)]
    paths: Vec<PathBuf>,
    /// Change nothing: `client` only compiles, `server` asks the master what would happen
    #[arg(long, value_enum, value_name = "WHERE", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "client")]
    dry_run: Option<DryRun>,
    /// Print the objects instead: yaml, json or name
    #[arg(short, long, value_name = "FORM")]
    output: Option<Format>,
    /// Take over fields that somebody else has set
    #[arg(long)]
    force_conflicts: bool,
    /// End running iterations of older revisions instead of letting them finish
    #[arg(long)]
    now: bool,
    /// Return only when every agent's revision is recorded
    #[arg(long)]
    wait: bool,
    /// Longest time to wait
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = parse_timeout)]
    timeout: Duration,
}

/// Where a dry run ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum DryRun {
    /// Files are read and compiled; no master is needed.
    Client,
    /// The master checks everything and stores nothing.
    Server,
}

/// What became of one object.
#[derive(Clone, Debug)]
pub(crate) struct Applied {
    /// Name to print: an agent's as written, else `kind.group/name`.
    pub(crate) shown: String,
    /// `created`, `updated` or `unchanged`.
    pub(crate) result: String,
    /// The object as it is now.
    pub(crate) object: Value,
}

/// How to apply.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Options {
    /// Take over fields of others.
    pub(crate) force: bool,
    /// Let the server check and store nothing.
    pub(crate) dry_run: bool,
}

/// Does `gcluster apply`.
pub(crate) async fn run(globals: &Globals, args: ApplyArgs) -> Result {
    let inputs: Vec<PathBuf> = args.files.iter().chain(&args.paths).cloned().collect();
    if inputs.is_empty() {
        return Err(Failure::usage("name what to apply, as in `gcluster apply -f team.p`"));
    }
    if !matches!(args.output, None | Some(Format::Yaml | Format::Json | Format::Name)) {
        return Err(unsupported("apply", "yaml, json or name"));
    }
    let desired = manifest::load(&inputs)?;
    if args.dry_run == Some(DryRun::Client) {
        return report_client_dry_run(globals, desired, args.output.as_ref());
    }
    if desired.is_empty() {
        return print("no agents found, nothing to apply\n");
    }
    let connection = globals.connect().await?;
    check_tickets(&connection, &desired).await?;
    let options = Options { force: args.force_conflicts, dry_run: args.dry_run.is_some() };
    let applied = apply(&connection, desired, options).await?;
    match &args.output {
        Some(format) => print_objects(applied.iter().map(|a| a.object.clone()).collect(), format)?,
        None => print(&summary(&applied, options.dry_run))?,
    }
    super::sync::warn_stale(&applied).await;
    if args.now && !options.dry_run {
        for name in replace::replace(&connection, &applied).await? {
            note(&format!("{name}: iterations of older revisions are ended now"));
        }
    }
    if args.wait && !options.dry_run {
        wait_ready(&connection, &applied, args.timeout).await?;
    }
    Ok(())
}

/// Refuses tickets that would wait for each other for ever, with those that are there.
async fn check_tickets(connection: &Connection, desired: &[Desired]) -> Result {
    let mut namespaces: BTreeMap<&str, Vec<Desired>> = BTreeMap::new();
    for one in desired.iter().filter(|one| plain_tickets::is_ticket(&one.object)) {
        let namespace = match text(&one.object, "/metadata/namespace") {
            "" => connection.namespace.as_str(),
            namespace => namespace,
        };
        namespaces.entry(namespace).or_default().push(one.clone());
    }
    for (namespace, desired) in namespaces {
        let path = format!("/apis/gcluster.dev/v1alpha1/namespaces/{}/tickets", escape(namespace));
        let there = super::objects::items(connection.get(&path, JSON).await?);
        plain_tickets::check_cycles(&desired, &there)?;
    }
    Ok(())
}

/// Sends everything; objects of one namespace in one transaction.
pub(crate) async fn apply(
    connection: &Connection,
    desired: Vec<Desired>,
    options: Options,
) -> Result<Vec<Applied>> {
    let only_agents = desired.iter().all(|d| d.agent.is_some());
    // Agents are always namespaced and known; only manifests need the server's list of kinds.
    let catalog = if only_agents { Catalog::default() } else { Catalog::fetch(connection).await? };
    let mut order = Vec::new();
    let mut bundles: BTreeMap<String, Vec<(usize, Desired)>> = BTreeMap::new();
    let mut single = Vec::new();
    for (place, mut desired) in desired.into_iter().enumerate() {
        order.push(None);
        let namespaced = desired.agent.is_some()
            || catalog.of(text(&desired.object, "/apiVersion"), text(&desired.object, "/kind"))?.namespaced;
        if !namespaced {
            single.push((place, desired));
            continue;
        }
        let namespace = match text(&desired.object, "/metadata/namespace") {
            "" => connection.namespace.clone(),
            namespace => namespace.to_owned(),
        };
        desired.object["metadata"]["namespace"] = namespace.clone().into();
        bundles.entry(namespace).or_default().push((place, desired));
    }
    // More than one transaction is needed: find every refusal before anything is stored.
    if bundles.len() + single.len() > 1 && !options.dry_run {
        let rehearsal = Options { dry_run: true, ..options };
        for (_, desired) in &single {
            apply_alone(connection, &catalog, desired, rehearsal).await?;
        }
        let known: Vec<&str> = single.iter().map(|(_, d)| text(&d.object, "/metadata/name")).collect();
        for (namespace, items) in bundles.iter().filter(|(namespace, _)| !known.contains(&namespace.as_str()))
        {
            send_bundle(connection, namespace, items, rehearsal).await?;
        }
    }
    for (place, desired) in single {
        order[place] = Some(apply_alone(connection, &catalog, &desired, options).await?);
    }
    for (namespace, items) in bundles {
        for ((place, _), applied) in
            items.iter().zip(send_bundle(connection, &namespace, &items, options).await?)
        {
            order[*place] = Some(applied);
        }
    }
    Ok(order.into_iter().flatten().collect())
}

fn parameters(options: Options) -> String {
    let mut pairs = vec![("fieldManager", MANAGER_APPLY), ("fieldValidation", "Strict")];
    if options.force {
        pairs.push(("force", "true"));
    }
    if options.dry_run {
        pairs.push(("dryRun", "All"));
    }
    query(&pairs)
}

async fn send_bundle(
    connection: &Connection,
    namespace: &str,
    items: &[(usize, Desired)],
    options: Options,
) -> Result<Vec<Applied>> {
    let path = format!(
        "/apis/gcluster.dev/v1alpha1/namespaces/{}/bundles{}",
        escape(namespace),
        parameters(options)
    );
    let objects: Vec<&Value> = items.iter().map(|(_, desired)| &desired.object).collect();
    let body = json!({"apiVersion": "gcluster.dev/v1alpha1", "kind": "Bundle", "items": objects});
    let answer = match connection.send(Method::POST, &path, JSON, &body).await {
        // A Kubernetes that has gcluster's kinds but not its bundles.
        Err(failure) if failure.kind == Kind::NotFound => {
            let catalog = Catalog::fetch(connection).await?;
            if catalog.find("bundles").is_ok() {
                return Err(failure);
            }
            return send_singly(connection, &catalog, items, options).await;
        }
        Err(failure) => {
            let desired: Vec<&Desired> = items.iter().map(|(_, desired)| desired).collect();
            return Err(conflict::explain(connection, failure, &desired).await);
        }
        Ok(answer) => answer,
    };
    let results = answer["results"].as_array().map(Vec::as_slice).unwrap_or_default();
    if results.len() != items.len() {
        return Err(Failure::failed(format!(
            "the master answered for {} of {} objects: it may be another version",
            results.len(),
            items.len()
        )));
    }
    Ok(results
        .iter()
        .zip(items)
        .map(|(result, (_, desired))| Applied {
            shown: shown(desired),
            result: result["result"].as_str().unwrap_or("unchanged").to_owned(),
            object: result["object"].clone(),
        })
        .collect())
}

/// For a server without bundles: everything is tried as a dry run first, then sent one after another.
async fn send_singly(
    connection: &Connection,
    catalog: &Catalog,
    items: &[(usize, Desired)],
    options: Options,
) -> Result<Vec<Applied>> {
    let mut applied = Vec::new();
    for rehearsal in [true, false] {
        if !rehearsal && options.dry_run {
            break;
        }
        applied.clear();
        for (_, desired) in items {
            applied.push(
                apply_alone(connection, catalog, desired, Options { dry_run: rehearsal, ..options }).await?,
            );
        }
    }
    Ok(applied)
}

/// Server-side apply of one object by itself.
async fn apply_alone(
    connection: &Connection,
    catalog: &Catalog,
    desired: &Desired,
    options: Options,
) -> Result<Applied> {
    let resource = catalog.of(text(&desired.object, "/apiVersion"), text(&desired.object, "/kind"))?;
    let namespace = text(&desired.object, "/metadata/namespace");
    let path = resource.object(namespace, text(&desired.object, "/metadata/name"));
    let before = match connection.get(&path, JSON).await {
        Ok(object) => Some(object),
        Err(failure) if failure.kind == Kind::NotFound => None,
        Err(failure) => return Err(failure),
    };
    let path = format!("{path}{}", parameters(options));
    let object = match connection.send(Method::PATCH, &path, APPLY, &desired.object).await {
        Ok(object) => object,
        Err(failure) => return Err(conflict::explain(connection, failure, &[desired]).await),
    };
    let result = match before {
        None => "created",
        Some(before) if desired_part(&before) == desired_part(&object) => "unchanged",
        Some(_) => "updated",
    };
    Ok(Applied { shown: shown(desired), result: result.into(), object })
}

fn desired_part(object: &Value) -> Value {
    let mut object = object.clone();
    manifest::strip(&mut object);
    object
}

fn shown(desired: &Desired) -> String {
    match &desired.agent {
        Some(name) => name.clone(),
        None => name(&desired.object),
    }
}

/// One line per object and the totals.
pub(crate) fn summary(applied: &[Applied], dry_run: bool) -> String {
    let suffix = if dry_run { " (dry run)" } else { "" };
    let mut out = String::new();
    for one in applied {
        out.push_str(&format!("{} {}{suffix}\n", crate::render::visible(&one.shown), one.result));
    }
    let count = |result: &str| applied.iter().filter(|one| one.result == result).count();
    out + &format!(
        "{} created, {} updated, {} unchanged{suffix}\n",
        count("created"),
        count("updated"),
        count("unchanged")
    )
}

fn report_client_dry_run(globals: &Globals, desired: Vec<Desired>, output: Option<&Format>) -> Result {
    if let Some(format) = output {
        let with_namespace = desired.into_iter().map(|desired| {
            let mut object = desired.object;
            if let (Some(namespace), Some(metadata)) =
                (&globals.namespace, object["metadata"].as_object_mut())
            {
                metadata.entry("namespace").or_insert_with(|| namespace.clone().into());
            }
            object
        });
        return print_objects(with_namespace.collect(), format);
    }
    if desired.is_empty() {
        return print("no agents found, nothing to apply (dry run)\n");
    }
    let mut out = String::new();
    for one in &desired {
        out.push_str(&format!("{} checked (dry run)\n", crate::render::visible(&shown(one))));
    }
    let count = desired.len();
    print(&format!("{out}{count} checked, nothing sent (dry run)\n"))
}

fn print_objects(mut objects: Vec<Value>, format: &Format) -> Result {
    objects.iter_mut().for_each(structured::hide_managed_fields);
    if *format == Format::Name {
        return print(&objects.iter().map(|object| name(object) + "\n").collect::<String>());
    }
    let whole = match <[Value; 1]>::try_from(objects) {
        Ok([one]) => one,
        Err(many) => structured::list(many),
    };
    print(&if *format == Format::Json { structured::json(&whole)? } else { structured::yaml(&whole)? })
}

/// Waits until the revision of every applied agent is recorded.
pub(crate) async fn wait_ready(connection: &Connection, applied: &[Applied], limit: Duration) -> Result {
    for one in applied.iter().filter(|one| text(&one.object, "/kind") == "Agent") {
        let path = format!(
            "/apis/gcluster.dev/v1alpha1/namespaces/{}/agents/{}",
            escape(text(&one.object, "/metadata/namespace")),
            escape(text(&one.object, "/metadata/name"))
        );
        let generation = one.object["metadata"]["generation"].as_i64().unwrap_or(0);
        poll(limit, &format!("the revision of {} to be recorded", one.shown), async || {
            let status = connection.get(&path, JSON).await?["status"].take();
            let seen = status["observedGeneration"].as_i64().unwrap_or(-1);
            let conditions = status["conditions"].as_array().map(Vec::as_slice).unwrap_or_default();
            let ready = conditions.iter().find(|condition| condition["type"] == "Ready");
            match ready {
                Some(condition) if seen >= generation && condition["status"] == "False" => Err(
                    Failure::failed(format!("{} is not ready: {}", one.shown, text(condition, "/message"))),
                ),
                Some(condition) => Ok((seen >= generation && condition["status"] == "True").then_some(())),
                None => Ok(None),
            }
        })
        .await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_counts_what_happened() {
        let one = |shown: &str, result: &str| Applied {
            shown: shown.into(),
            result: result.into(),
            object: Value::Null,
        };
        let applied =
            [one("builder", "created"), one("agent.gcluster.dev/x", "unchanged"), one("fix", "unchanged")];
        assert_eq!(
            summary(&applied, false),
            "builder created\nagent.gcluster.dev/x unchanged\nfix unchanged\n1 created, 0 updated, 2 unchanged\n"
        );
        assert!(summary(&applied, true).lines().all(|line| line.ends_with(" (dry run)")));
    }
}
