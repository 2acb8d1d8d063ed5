//! Kinds as the server names them: discovery, and finding one by any of its names.

use serde_json::Value;

use crate::client::{Connection, escape};
use crate::exit::{Failure, Result};

const AGGREGATED: &str =
    "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json";

/// One kind that the server serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Resource {
    /// API group; empty for the core group.
    pub(crate) group: String,
    /// Version, such as `v1alpha1`.
    pub(crate) version: String,
    /// Kind, such as `Agent`.
    pub(crate) kind: String,
    /// Plural name, as in paths.
    pub(crate) plural: String,
    /// Singular name.
    pub(crate) singular: String,
    /// Short names.
    pub(crate) short_names: Vec<String>,
    /// Groups of kinds that it belongs to.
    pub(crate) categories: Vec<String>,
    /// Verbs it allows.
    pub(crate) verbs: Vec<String>,
    /// Whether its objects live in namespaces.
    pub(crate) namespaced: bool,
}

impl Resource {
    /// `agent.gcluster.dev`, as kubectl writes it in messages; core kinds have no group.
    pub(crate) fn qualified(&self) -> String {
        match self.group.as_str() {
            "" => self.singular.clone(),
            group => format!("{}.{group}", self.singular),
        }
    }

    /// `gcluster.dev/v1alpha1`.
    pub(crate) fn api_version(&self) -> String {
        match self.group.as_str() {
            "" => self.version.clone(),
            group => format!("{group}/{}", self.version),
        }
    }

    /// Path of the collection; every namespace when `namespace` is `None`.
    pub(crate) fn collection(&self, namespace: Option<&str>) -> String {
        let root = match self.group.as_str() {
            "" => format!("/api/{}", self.version),
            group => format!("/apis/{group}/{}", self.version),
        };
        match namespace.filter(|_| self.namespaced) {
            Some(namespace) => format!("{root}/namespaces/{}/{}", escape(namespace), self.plural),
            None => format!("{root}/{}", self.plural),
        }
    }

    /// Path of one object.
    pub(crate) fn object(&self, namespace: &str, name: &str) -> String {
        format!("{}/{}", self.collection(Some(namespace)), escape(name))
    }

    /// True for the agents of gcluster itself.
    pub(crate) fn is(&self, kind: &str) -> bool {
        self.group == gcluster_types::kinds::GROUP && self.kind == kind
    }

    /// The object name that is meant by what the user typed: an agent may be called as its author wrote it.
    pub(crate) fn object_name(&self, typed: &str) -> String {
        if self.is("Agent") && !gcluster_types::names::is_dns_label(typed) {
            return gcluster_types::names::object_name(typed).unwrap_or_else(|_| typed.to_owned());
        }
        typed.to_owned()
    }

    fn answers_to(&self, word: &str) -> bool {
        word == self.plural
            || word == self.singular
            || word == self.kind.to_lowercase()
            || self.short_names.iter().any(|name| name == word)
            || word.split_once('.').is_some_and(|(name, group)| {
                (name == self.plural || name == self.singular)
                    && (group == self.group || group == format!("{}.{}", self.version, self.group))
            })
    }
}

/// All kinds of one server.
#[derive(Clone, Debug, Default)]
pub(crate) struct Catalog(pub(crate) Vec<Resource>);

impl Catalog {
    /// Asks the server.
    pub(crate) async fn fetch(connection: &Connection) -> Result<Self> {
        let (core, groups) = futures::future::try_join(
            connection.get("/api", AGGREGATED),
            connection.get("/apis", AGGREGATED),
        )
        .await?;
        let mut resources = read(&core);
        resources.extend(read(&groups));
        if resources.is_empty() {
            return Err(Failure::failed(format!(
                "{} does not list the kinds that it serves",
                connection.address
            )));
        }
        // gcluster's own names win over those of other groups.
        resources.sort_by_key(|r| (r.group != gcluster_types::kinds::GROUP, !r.group.is_empty()));
        Ok(Self(resources))
    }

    /// The kind called `word`: plural, singular, kind, short name or `plural.group`, in any case.
    pub(crate) fn find(&self, word: &str) -> Result<&Resource> {
        let lower = word.to_lowercase();
        self.0.iter().find(|resource| resource.answers_to(&lower)).ok_or_else(|| self.unknown(word))
    }

    /// The kinds meant by a comma list; a category such as `gcluster` or `all` stands for its kinds.
    pub(crate) fn find_all(&self, words: &str) -> Result<Vec<&Resource>> {
        let mut found: Vec<&Resource> = Vec::new();
        for word in words.split(',').filter(|word| !word.is_empty()) {
            let category: Vec<&Resource> = self
                .0
                .iter()
                .filter(|r| r.categories.iter().any(|c| c == word || (word == "all" && c == "gcluster")))
                .collect();
            match category.is_empty() {
                true => found.push(self.find(word)?),
                false => found.extend(category),
            }
        }
        match found.is_empty() {
            true => Err(Failure::usage("name a kind, such as `agents`")),
            false => Ok(found),
        }
    }

    /// The kind of a manifest.
    pub(crate) fn of(&self, api_version: &str, kind: &str) -> Result<&Resource> {
        self.0.iter().find(|r| r.kind == kind && r.api_version() == api_version).ok_or_else(|| {
            Failure::failed(format!("the server has no kind {kind} in version {api_version}"))
                .hint(self.known())
        })
    }

    fn unknown(&self, word: &str) -> Failure {
        Failure::failed(format!("the server has no kind called {word:?}")).hint(self.known())
    }

    fn known(&self) -> String {
        let names: Vec<String> = self
            .0
            .iter()
            .filter(|r| r.verbs.iter().any(|verb| verb == "list"))
            .map(|r| match r.short_names.first() {
                Some(short) => format!("{} ({short})", r.plural),
                None => r.plural.clone(),
            })
            .collect();
        format!("it has {}", names.join(", "))
    }
}

/// Reads an aggregated discovery document. Parts that are not understood are left out.
fn read(document: &Value) -> Vec<Resource> {
    let mut found = Vec::new();
    for group in array(document, "items") {
        let name = group.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
        // The first version is the preferred one.
        for version in array(group, "versions").iter().take(1) {
            for resource in array(version, "resources") {
                let text = |key: &str| resource[key].as_str().unwrap_or_default().to_owned();
                let plural = text("resource");
                let kind = resource.pointer("/responseKind/kind").and_then(Value::as_str).unwrap_or_default();
                let singular = match text("singularResource") {
                    empty if empty.is_empty() => kind.to_lowercase(),
                    singular => singular,
                };
                found.push(Resource {
                    group: name.to_owned(),
                    version: version["version"].as_str().unwrap_or_default().to_owned(),
                    kind: kind.to_owned(),
                    plural,
                    singular,
                    short_names: strings(resource, "shortNames"),
                    categories: strings(resource, "categories"),
                    verbs: strings(resource, "verbs"),
                    namespaced: resource["scope"] == "Namespaced",
                });
            }
        }
    }
    found.retain(|resource| !resource.plural.is_empty());
    found
}

fn array<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().map(Vec::as_slice).unwrap_or_default()
}

fn strings(value: &Value, key: &str) -> Vec<String> {
    array(value, key).iter().filter_map(|v| v.as_str().map(str::to_owned)).collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use serde_json::json;

    /// A server with agents, revisions, namespaces and both kinds of events.
    pub(crate) fn catalog() -> Catalog {
        let resource =
            |plural: &str, singular: &str, kind: &str, short: &[&str], scope: &str, category: &[&str]| {
                json!({"resource": plural, "singularResource": singular, "responseKind": {"kind": kind},
                "shortNames": short, "scope": scope, "categories": category, "verbs": ["get", "list"]})
            };
        let mut all = read(&json!({"items": [
            {"metadata": {"name": "gcluster.dev"}, "versions": [{"version": "v1alpha1", "resources": [
                resource("agents", "agent", "Agent", &["ag"], "Namespaced", &["gcluster"]),
                resource("agentrevisions", "agentrevision", "AgentRevision", &["rev", "revisions"], "Namespaced",
                    &["gcluster"]),
            ]}]},
            {"metadata": {"name": "events.k8s.io"}, "versions": [{"version": "v1", "resources": [
                resource("events", "event", "Event", &["ev"], "Namespaced", &[]),
            ]}]},
        ]}));
        all.extend(read(&json!({"items": [{"metadata": {}, "versions": [{"version": "v1", "resources": [
            resource("namespaces", "namespace", "Namespace", &["ns"], "Cluster", &[]),
            resource("events", "", "Event", &["ev"], "Namespaced", &[]),
        ]}]}]})));
        all.sort_by_key(|r| (r.group != gcluster_types::kinds::GROUP, !r.group.is_empty()));
        Catalog(all)
    }

    #[test]
    fn a_kind_is_found_by_each_of_its_names() {
        let catalog = catalog();
        for word in [
            "agents",
            "agent",
            "ag",
            "Agent",
            "AGENTS",
            "agents.gcluster.dev",
            "agents.v1alpha1.gcluster.dev",
        ] {
            assert_eq!(catalog.find(word).unwrap().kind, "Agent", "{word}");
        }
        assert_eq!(catalog.find("revisions").unwrap().kind, "AgentRevision");
        assert_eq!(catalog.find("events").unwrap().group, "");
        assert_eq!(catalog.find("events.events.k8s.io").unwrap().group, "events.k8s.io");
        let failure = catalog.find("spaceships").unwrap_err();
        assert!(failure.message.contains("spaceships") && failure.hints[0].contains("agents (ag)"));
    }

    #[test]
    fn lists_and_categories_stand_for_several_kinds() {
        let catalog = catalog();
        let kinds = |words: &str| {
            catalog.find_all(words).unwrap().iter().map(|r| r.plural.clone()).collect::<Vec<_>>()
        };
        assert_eq!(kinds("ag,ns"), ["agents", "namespaces"]);
        assert_eq!(kinds("all"), ["agents", "agentrevisions"]);
        assert!(catalog.find_all(",").is_err());
    }

    #[test]
    fn paths_follow_the_conventions() {
        let catalog = catalog();
        let agent = catalog.find("ag").unwrap();
        assert_eq!(agent.object("x", "a/b"), "/apis/gcluster.dev/v1alpha1/namespaces/x/agents/a%2Fb");
        assert_eq!(agent.collection(None), "/apis/gcluster.dev/v1alpha1/agents");
        assert_eq!(catalog.find("ns").unwrap().object("x", "y"), "/api/v1/namespaces/y");
        assert_eq!(
            (agent.qualified().as_str(), agent.object_name("Release_Man")),
            ("agent.gcluster.dev", "release-man".into())
        );
    }
}
