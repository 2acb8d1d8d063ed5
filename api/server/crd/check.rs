//! What is wrong with a definition that its schema accepts: names, versions, columns, subresources, and what must
//! not change once its kind is served.

use gcluster_types::names::{is_dns_label, is_dns_subdomain};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, CustomResourceDefinitionVersion,
};
use serde_json::Value;

use super::{names, structural};
use crate::kinds::Kind;
use crate::status::Cause;
use crate::table::JsonPath;

/// Groups that the server itself serves.
const RESERVED: [&str; 7] = [
    super::GROUP,
    "apidiscovery.k8s.io",
    "authentication.k8s.io",
    "authorization.k8s.io",
    "autoscaling",
    "coordination.k8s.io",
    "events.k8s.io",
];
/// Most fields that selectors may name.
const MAX_SELECTABLE: usize = 8;

/// All that is wrong with a definition; nothing for objects of other kinds.
pub(crate) fn check(kind: &Kind, before: Option<&Value>, object: &Value, subresource: bool) -> Vec<Cause> {
    if !kind.is_definition() || subresource {
        return Vec::new();
    }
    let crd: CustomResourceDefinition = match serde_json::from_value(object.clone()) {
        Ok(crd) => crd,
        Err(error) => return vec![Cause::invalid("spec", "", &error.to_string())],
    };
    let before = before.and_then(|before| serde_json::from_value(before.clone()).ok());
    // What goes away is not held up by rules that came later.
    if crd.metadata.deletion_timestamp.is_some() {
        return Vec::new();
    }
    let mut causes = Vec::new();
    identity(&crd, &mut causes);
    versions(&crd, object, &mut causes);
    if let Some(before) = before {
        unchanged(&before, &crd, &mut causes);
    }
    causes
}

fn required(field: impl Into<String>, why: &str) -> Cause {
    Cause::new(field, "FieldValueRequired", format!("Required value: {why}"))
}

fn identity(crd: &CustomResourceDefinition, causes: &mut Vec<Cause>) {
    let (spec, names) = (&crd.spec, &crd.spec.names);
    let name = crd.metadata.name.as_deref().unwrap_or_default();
    if name != format!("{}.{}", names.plural, spec.group) {
        causes.push(Cause::invalid("metadata.name", name, "must be spec.names.plural+\".\"+spec.group"));
    }
    if !is_dns_subdomain(&spec.group) || !spec.group.contains('.') {
        causes.push(Cause::invalid("spec.group", &spec.group, "should be a domain with at least one dot"));
    }
    if RESERVED.contains(&spec.group.as_str()) {
        let why = format!("the group {:?} comes with the server: use a group of your own", spec.group);
        causes.push(Cause::forbidden("spec.group", &why));
    }
    let protected = ["k8s.io", "kubernetes.io"]
        .iter()
        .any(|own| spec.group == *own || spec.group.ends_with(&format!(".{own}")));
    let approval = "api-approved.kubernetes.io";
    let approved = crd.metadata.annotations.as_ref().and_then(|all| all.get(approval));
    if protected && approved.is_none_or(String::is_empty) {
        causes.push(required(
            format!("metadata.annotations[{approval}]"),
            "protected groups must have approval annotation \"api-approved.kubernetes.io\", see https://github.com/kubernetes/enhancements/pull/1111",
        ));
    }
    if !matches!(spec.scope.as_str(), "Namespaced" | "Cluster") {
        causes.push(not_supported("spec.scope", &spec.scope, &["Cluster", "Namespaced"]));
    }
    let mut label = |field: &str, value: &str, lower: bool| {
        let folded = value.to_lowercase();
        if !is_dns_label(&folded)
            || lower && folded != value
            || value.starts_with(|c: char| c.is_ascii_digit())
        {
            causes.push(Cause::invalid(
                format!("spec.names.{field}"),
                value,
                "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123')",
            ));
        }
    };
    label("plural", &names.plural, true);
    label("kind", &names.kind, false);
    for (field, value) in [("singular", &names.singular), ("listKind", &names.list_kind)] {
        if let Some(value) = value.as_deref().filter(|value| !value.is_empty()) {
            label(field, value, field == "singular");
        }
    }
    for (field, all) in [("shortNames", &names.short_names), ("categories", &names.categories)] {
        for (index, value) in all.iter().flatten().enumerate() {
            label(&format!("{field}[{index}]"), value, true);
        }
    }
    if names.list_kind.as_deref() == Some(&names.kind) {
        causes.push(Cause::invalid(
            "spec.names.listKind",
            &names.kind,
            "kind and listKind may not be the same",
        ));
    }
    if crd.spec.preserve_unknown_fields == Some(true) {
        causes.push(Cause::invalid(
            "spec.preserveUnknownFields",
            "true",
            "must be set to false; set x-kubernetes-preserve-unknown-fields in the schema instead",
        ));
    }
    if let Some(conversion) = &spec.conversion {
        match conversion.strategy.as_str() {
            "None" if conversion.webhook.is_some() => causes.push(Cause::forbidden(
                "spec.conversion.webhook",
                "should not be set when strategy is not set to Webhook",
            )),
            "None" => {}
            "Webhook" => causes.push(Cause::forbidden(
                "spec.conversion.strategy",
                "gcluster calls no conversion webhooks: use the strategy \"None\", with which versions differ in apiVersion alone",
            )),
            other => causes.push(not_supported("spec.conversion.strategy", other, &["None"])),
        }
    }
}

fn not_supported(field: &str, value: &str, supported: &[&str]) -> Cause {
    let supported: Vec<String> = supported.iter().map(|value| format!("{value:?}")).collect();
    let message = format!("Unsupported value: {value:?}: supported values: {}", supported.join(", "));
    Cause::new(field, "FieldValueNotSupported", message)
}

fn versions(crd: &CustomResourceDefinition, object: &Value, causes: &mut Vec<Cause>) {
    let versions = &crd.spec.versions;
    if versions.iter().filter(|version| version.storage).count() != 1 {
        let names: Vec<&str> = versions.iter().map(|version| version.name.as_str()).collect();
        causes.push(Cause::invalid(
            "spec.versions",
            &names.join(","),
            "must have exactly one version marked as storage version",
        ));
    }
    for (index, version) in versions.iter().enumerate() {
        let at = format!("spec.versions[{index}]");
        if !is_dns_label(&version.name) || version.name.starts_with(|c: char| c.is_ascii_digit()) {
            causes.push(Cause::invalid(format!("{at}.name"), &version.name, "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character"));
        }
        if versions.iter().take(index).any(|other| other.name == version.name) {
            causes.push(Cause::invalid(
                format!("{at}.name"),
                &version.name,
                "must contain unique version names",
            ));
        }
        let source = object.pointer(&format!("/spec/versions/{index}/schema/openAPIV3Schema"));
        match source {
            Some(source) => {
                structural::check(source, &format!("{at}.schema.openAPIV3Schema"), causes);
            }
            None => causes.push(required(format!("{at}.schema.openAPIV3Schema"), "schemas are required")),
        }
        columns(version, &at, causes);
        selectable(version, source.unwrap_or(&Value::Null), &at, causes);
        scale(version, &at, causes);
    }
}

fn columns(version: &CustomResourceDefinitionVersion, at: &str, causes: &mut Vec<Cause>) {
    const TYPES: [&str; 5] = ["boolean", "date", "integer", "number", "string"];
    for (index, column) in version.additional_printer_columns.iter().flatten().enumerate() {
        let at = format!("{at}.additionalPrinterColumns[{index}]");
        if column.name.is_empty() {
            causes.push(required(format!("{at}.name"), ""));
        }
        if !TYPES.contains(&column.type_.as_str()) {
            causes.push(not_supported(&format!("{at}.type"), &column.type_, &TYPES));
        }
        if !column.json_path.starts_with('.') || !JsonPath::parse(&column.json_path).is_valid() {
            let why = "must be a simple json path starting with \".\"";
            causes.push(Cause::invalid(format!("{at}.jsonPath"), &column.json_path, why));
        }
    }
}

/// The names of the fields of a path without indices or filters.
fn simple(path: &str) -> Option<Vec<&str>> {
    let rest = path.strip_prefix('.')?;
    let names: Vec<&str> = rest.split('.').collect();
    let plain = |name: &&str| !name.is_empty() && !name.contains(['[', ']', '*', '\\', '(', '{', '\'', '"']);
    names.iter().all(plain).then_some(names)
}

fn selectable(version: &CustomResourceDefinitionVersion, schema: &Value, at: &str, causes: &mut Vec<Cause>) {
    let fields = version.selectable_fields.as_deref().unwrap_or_default();
    if fields.len() > MAX_SELECTABLE {
        let message = format!("Too many: {}: must have at most {MAX_SELECTABLE} items", fields.len());
        causes.push(Cause::new(format!("{at}.selectableFields"), "FieldValueTooMany", message));
    }
    for (index, field) in fields.iter().enumerate() {
        let at = format!("{at}.selectableFields[{index}].jsonPath");
        let path = &field.json_path;
        let mut refuse = |why: &str| causes.push(Cause::invalid(at.clone(), path, why));
        match simple(path) {
            None => refuse("must be a simple json path starting with \".\""),
            Some(names) if names.first() == Some(&"metadata") => {
                refuse("must not point to fields in metadata")
            }
            Some(names) => {
                let found = names.iter().try_fold(schema, |schema, name| schema["properties"].get(name));
                match found.and_then(|field| field["type"].as_str()) {
                    Some("string" | "integer" | "boolean") => {}
                    Some(_) => refuse(
                        "must point to a field of type string, boolean or integer. Enum string fields and strings with formats are allowed.",
                    ),
                    None => refuse("must point to a field that is defined in the schema"),
                }
            }
        }
        if fields.iter().take(index).any(|other| other.json_path == *path) {
            causes.push(Cause::new(at, "FieldValueDuplicate", format!("Duplicate value: {path:?}")));
        }
    }
}

fn scale(version: &CustomResourceDefinitionVersion, at: &str, causes: &mut Vec<Cause>) {
    let Some(scale) = version.subresources.as_ref().and_then(|all| all.scale.as_ref()) else { return };
    let mut path = |field: &str, value: &str, roots: &[&str]| {
        let under = simple(value).is_some_and(|names| names.len() > 1 && roots.contains(&names[0]));
        if !under {
            let roots: Vec<String> = roots.iter().map(|root| format!(".{root}")).collect();
            let why = format!("should be a json path under {}", roots.join(" or "));
            causes.push(Cause::invalid(format!("{at}.subresources.scale.{field}"), value, &why));
        }
    };
    path("specReplicasPath", &scale.spec_replicas_path, &["spec"]);
    path("statusReplicasPath", &scale.status_replicas_path, &["status"]);
    if let Some(selector) = &scale.label_selector_path {
        path("labelSelectorPath", selector, &["spec", "status"]);
    }
}

/// What must stay as it was.
fn unchanged(before: &CustomResourceDefinition, after: &CustomResourceDefinition, causes: &mut Vec<Cause>) {
    let mut field = |field: &str, old: &str, new: &str| {
        if old != new {
            causes.push(Cause::invalid(field, new, "field is immutable"));
        }
    };
    field("spec.group", &before.spec.group, &after.spec.group);
    field("spec.names.plural", &before.spec.names.plural, &after.spec.names.plural);
    if names::holds(before, "Established") {
        field("spec.scope", &before.spec.scope, &after.spec.scope);
        field("spec.names.kind", &before.spec.names.kind, &after.spec.names.kind);
    }
    let stored = before.status.as_ref().and_then(|status| status.stored_versions.as_deref());
    for (index, stored) in stored.into_iter().flatten().enumerate() {
        if !after.spec.versions.iter().any(|version| version.name == *stored) {
            causes.push(Cause::invalid(
                format!("status.storedVersions[{index}]"),
                stored,
                "must appear in spec.versions: objects may still be stored in it",
            ));
        }
    }
}
