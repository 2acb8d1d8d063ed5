//! What several verbs share: the objects that a command line names, lists, events of an object.

use std::time::Duration;

use serde_json::Value;

use super::kinds::{Catalog, Resource};
use crate::client::{Connection, JSON, query};
use crate::exit::{Failure, Kind, Result};

/// One object that the user named.
#[derive(Clone, Debug)]
pub(crate) struct Named<'a> {
    /// Its kind.
    pub(crate) resource: &'a Resource,
    /// Its object name.
    pub(crate) name: String,
}

impl Named<'_> {
    /// Path of the object.
    pub(crate) fn path(&self, namespace: &str) -> String {
        self.resource.object(namespace, &self.name)
    }

    /// `agent.gcluster.dev/builder`.
    pub(crate) fn display(&self) -> String {
        format!("{}/{}", self.resource.qualified(), self.name)
    }
}

/// What the words after a verb mean.
#[derive(Debug)]
pub(crate) enum Selection<'a> {
    /// All objects of these kinds.
    Kinds(Vec<&'a Resource>),
    /// These objects.
    Objects(Vec<Named<'a>>),
}

/// Reads `KIND`, `KIND,KIND`, `KIND NAME…` or `KIND/NAME…`.
pub(crate) fn select<'a>(catalog: &'a Catalog, words: &[String]) -> Result<Selection<'a>> {
    let (first, rest) = words.split_first().ok_or_else(|| Failure::usage("name a kind, such as `agents`"))?;
    if words.iter().any(|word| word.contains('/')) {
        let objects = words.iter().map(|word| slashed(catalog, word)).collect::<Result<Vec<_>>>()?;
        return Ok(Selection::Objects(objects));
    }
    let kinds = catalog.find_all(first)?;
    if rest.is_empty() {
        return Ok(Selection::Kinds(kinds));
    }
    let objects = kinds
        .iter()
        .flat_map(|&resource| {
            rest.iter().map(move |name| Named { resource, name: resource.object_name(name) })
        })
        .collect();
    Ok(Selection::Objects(objects))
}

fn slashed<'a>(catalog: &'a Catalog, word: &str) -> Result<Named<'a>> {
    match word.split_once('/') {
        Some((kind, name)) if !kind.is_empty() && !name.is_empty() => {
            let resource = catalog.find(kind)?;
            Ok(Named { resource, name: resource.object_name(name) })
        }
        _ => Err(Failure::usage(format!("{word:?} should be KIND/NAME: the two forms cannot be mixed"))),
    }
}

/// Selectors of a list.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Selectors<'a> {
    /// Label selector.
    pub(crate) labels: Option<&'a str>,
    /// Field selector.
    pub(crate) fields: Option<&'a str>,
}

impl<'a> Selectors<'a> {
    /// Query parameters.
    pub(crate) fn pairs(self) -> Vec<(&'a str, &'a str)> {
        let labels = self.labels.map(|text| ("labelSelector", text));
        let fields = self.fields.map(|text| ("fieldSelector", text));
        labels.into_iter().chain(fields).collect()
    }
}

/// A list document; its items lack `apiVersion` and `kind` on some servers, which are put back.
pub(crate) async fn list(
    connection: &Connection,
    resource: &Resource,
    namespace: Option<&str>,
    selectors: Selectors<'_>,
) -> Result<Value> {
    let path = format!("{}{}", resource.collection(namespace), query(&selectors.pairs()));
    let mut list = connection.get(&path, JSON).await?;
    for item in list["items"].as_array_mut().into_iter().flatten() {
        if let Some(object) = item.as_object_mut() {
            object.entry("apiVersion").or_insert_with(|| resource.api_version().into());
            object.entry("kind").or_insert_with(|| resource.kind.clone().into());
        }
    }
    Ok(list)
}

/// Takes the items out of a list.
pub(crate) fn items(mut list: Value) -> Vec<Value> {
    match list["items"].take() {
        Value::Array(items) => items,
        _ => Vec::new(),
    }
}

/// A text at a JSON pointer; empty when there is none.
pub(crate) fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// Adds what helps to find an agent that was not found.
pub(crate) fn not_found_hint(failure: Failure, resource: &Resource) -> Failure {
    match failure.kind {
        Kind::NotFound if failure.hints.is_empty() => {
            let list = format!(
                "`gcluster get {}` lists what there is; -n chooses another namespace",
                resource.plural
            );
            failure.hint(list)
        }
        _ => failure,
    }
}

/// Asks again and again, with growing pauses, until `check` gives something or the time is over.
pub(crate) async fn poll<T, F>(limit: Duration, what: &str, mut check: F) -> Result<T>
where
    F: AsyncFnMut() -> Result<Option<T>>,
{
    let end = tokio::time::Instant::now() + limit;
    let mut pause = Duration::from_millis(20);
    loop {
        if let Some(found) = check().await? {
            return Ok(found);
        }
        if tokio::time::Instant::now() + pause > end {
            return Err(Failure::failed(format!("timed out after {}s waiting for {what}", limit.as_secs())));
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_millis(500));
    }
}

/// A time limit such as `90s`, `5m` or a plain number of seconds.
pub(crate) fn parse_timeout(text: &str) -> std::result::Result<Duration, String> {
    if let Ok(seconds) = text.parse::<u64>() {
        return Ok(Duration::from_secs(seconds));
    }
    gcluster_types::duration::parse(text).ok_or_else(|| "use a time such as 90s, 5m or 1h30m".to_owned())
}

#[cfg(test)]
mod tests {
    use super::super::kinds::tests::catalog;
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    fn names(text: &str) -> Vec<String> {
        let catalog = catalog();
        match select(&catalog, &words(text)).unwrap() {
            Selection::Objects(objects) => objects.iter().map(Named::display).collect(),
            Selection::Kinds(kinds) => kinds.iter().map(|kind| kind.plural.clone()).collect(),
        }
    }

    #[test]
    fn words_after_a_verb_name_kinds_or_objects() {
        assert_eq!(names("ag,rev"), ["agents", "agentrevisions"]);
        assert_eq!(names("agent a Big_One"), ["agent.gcluster.dev/a", "agent.gcluster.dev/big-one"]);
        assert_eq!(names("ag/a rev/b"), ["agent.gcluster.dev/a", "agentrevision.gcluster.dev/b"]);
    }

    #[test]
    fn the_two_forms_are_not_mixed() {
        let catalog = catalog();
        for bad in ["", "ag/a b", "ag a/b/", "/x"] {
            assert!(select(&catalog, &words(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn timeouts_are_durations_or_seconds() {
        assert_eq!(parse_timeout("90"), Ok(Duration::from_secs(90)));
        assert_eq!(parse_timeout("2m"), Ok(Duration::from_secs(120)));
        assert!(parse_timeout("soon").is_err());
    }

    #[tokio::test]
    async fn polling_ends_with_what_it_waited_for() {
        let failure = poll::<(), _>(Duration::ZERO, "rain", async || Ok(None)).await.unwrap_err();
        assert_eq!(failure.message, "timed out after 0s waiting for rain");
        let mut tries = 0;
        let found = poll(Duration::from_secs(5), "x", async || {
            tries += 1;
            Ok((tries == 3).then_some(7))
        });
        assert_eq!(found.await, Ok(7));
    }
}
