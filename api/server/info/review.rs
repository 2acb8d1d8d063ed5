//! Who asks, and what they may do: the reviews that `kubectl auth` sends.

use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use super::Page;
use crate::Api;
use crate::identity::{AgentIdentity, Asked, Identity};
use crate::write::seconds;

/// Answers a SelfSubjectReview.
pub(super) fn who(identity: &Identity) -> Value {
    let mut user = json!({"username": identity.user(), "groups": identity.groups()});
    if let Identity::Agent(agent) = identity {
        user["uid"] = agent.uid.as_str().into();
    }
    json!({
        "kind": "SelfSubjectReview", "apiVersion": "authentication.k8s.io/v1",
        "metadata": {"creationTimestamp": seconds(Timestamp::now())},
        "status": {"userInfo": user},
    })
}

/// Answers a SelfSubjectRulesReview: everything that the caller may do in the namespace that it names.
pub(super) fn rules(api: &Api, identity: &Identity, review: &Value) -> Value {
    let namespace = review.pointer("/spec/namespace").and_then(Value::as_str).unwrap_or_default();
    let verbs = json!(["get", "list", "watch"]);
    let (resources, incomplete) = match identity {
        Identity::Agent(agent) => (agent_rules(api, agent, namespace), false),
        _ if identity.is_admin() => {
            (vec![json!({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]})], false)
        }
        _ => {
            // Rules only add up, so what a viewer may see of the core group is named: everything but Secrets.
            let core = ["configmaps", "events", "namespaces", "services"];
            let groups = ["gcluster.dev", "events.k8s.io", "coordination.k8s.io", "apiextensions.k8s.io"];
            let rules = vec![
                json!({"verbs": verbs, "apiGroups": groups, "resources": ["*"]}),
                json!({"verbs": verbs, "apiGroups": [""], "resources": core}),
            ];
            // A viewer may see the kinds of users too, whose groups are not listed here.
            (rules, true)
        }
    };
    let pages = match identity {
        Identity::Agent(_) => json!([
            "/api",
            "/api/*",
            "/apis",
            "/apis/*",
            "/healthz",
            "/livez",
            "/openapi",
            "/openapi/*",
            "/readyz",
            "/version",
        ]),
        _ => json!(["*"]),
    };
    json!({
        "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectRulesReview",
        "metadata": {}, "spec": review.get("spec").filter(|spec| spec.is_object()).unwrap_or(&json!({})),
        "status": {
            "incomplete": incomplete,
            "resourceRules": resources,
            "nonResourceRules": [{"verbs": ["get"], "nonResourceURLs": pages}],
        },
    })
}

/// What an agent may do in a namespace, kind by kind, as it is asked of [`Identity::may`].
fn agent_rules(api: &Api, agent: &AgentIdentity, namespace: &str) -> Vec<Value> {
    let mut rules = vec![
        json!({"verbs": ["get"], "apiGroups": [""], "resources": ["namespaces"], "resourceNames": [agent.namespace]}),
    ];
    if namespace != agent.namespace {
        return rules;
    }
    let registry = api.registry();
    for (group, _) in registry.groups() {
        let mut resources: Vec<String> = Vec::new();
        for kind in
            registry.iter().filter(|kind| kind.group == group && kind.namespaced && kind.allows("get"))
        {
            let asked = Asked {
                verb: "get",
                group,
                resource: &kind.plural,
                subresource: "",
                namespace: Some(namespace),
                name: "",
            };
            if agent.may(&asked) {
                resources.push(kind.plural.clone());
                let parts = kind.subresources.iter().filter(|part| part.verbs.contains(&"get"));
                resources.extend(parts.map(|part| format!("{}/{}", kind.plural, part.name)));
            }
        }
        resources.sort();
        resources.dedup();
        if !resources.is_empty() {
            rules.push(
                json!({"verbs": ["get", "list", "watch"], "apiGroups": [group], "resources": resources}),
            );
        }
    }
    rules.push(json!({"verbs": ["create"], "apiGroups": ["gcluster.dev"], "resources": ["messages"]}));
    rules
}

/// Answers a SelfSubjectAccessReview.
pub(super) fn access(api: &Api, identity: &Identity, mut review: Value) -> Value {
    let status = match allowed(api, identity, &review) {
        true => json!({"allowed": true}),
        false => {
            let why = match identity {
                Identity::Agent(_) => identity.rights(),
                _ => format!("{} may only get, list and watch, and no secrets", identity.user()),
            };
            json!({"allowed": false, "reason": why})
        }
    };
    if !review.is_object() {
        review = json!({});
    }
    review["apiVersion"] = "authorization.k8s.io/v1".into();
    review["kind"] = "SelfSubjectAccessReview".into();
    review["status"] = status;
    review
}

fn allowed(api: &Api, identity: &Identity, review: &Value) -> bool {
    let of = |part: &str, field: &str| {
        review.pointer(&format!("/spec/{part}/{field}")).and_then(Value::as_str).unwrap_or_default()
    };
    let resource = |field: &str| of("resourceAttributes", field);
    let is_page = review.pointer("/spec/resourceAttributes").is_none_or(Value::is_null);
    let verb = if is_page { of("nonResourceAttributes", "verb") } else { resource("verb") };
    let mut asked = Asked {
        verb,
        group: resource("group"),
        resource: resource("resource"),
        subresource: resource("subresource"),
        namespace: Some(resource("namespace")).filter(|namespace| !namespace.is_empty()),
        name: resource("name"),
    };
    let Identity::Agent(_) = identity else { return identity.may(&asked) };
    if is_page {
        let path = of("nonResourceAttributes", "path");
        let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
        return verb == "get" && Page::parse(&segments).is_some_and(|page| page.is_for(identity));
    }
    // What a client says of the namespace of a kind that has none says nothing; of unknown kinds there is nothing.
    let registry = api.registry();
    let mut kinds = registry.iter();
    let known = kinds.find(|kind| kind.group == asked.group && kind.plural == asked.resource);
    if known.is_some_and(|kind| !kind.namespaced) {
        asked.namespace = None;
    }
    known.is_some() && identity.may(&asked)
}
