//! From what a client wants to what is stored: fields that belong to the server, schema, admission.

use serde_json::{Map, Value, json};

use super::{Live, Write, text};
use crate::admission;
use crate::crd;
use crate::patch::managed::{ManagerCtx, track_update};
use crate::query::FieldValidation;
use crate::schema;
use crate::selector::{is_label_key, is_label_value};
use crate::status::{ApiError, ApiResult, Cause};

/// Metadata that only the server sets.
const KEPT: [&str; 5] =
    ["uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation"];

impl Write {
    /// Makes a new object complete and refuses what must not be stored. `tracked`: the owners of fields are
    /// already recorded, as an apply does. Answers the warnings.
    pub(super) fn prepare(
        &self,
        before: Option<&Live>,
        object: &mut Value,
        tracked: bool,
    ) -> ApiResult<Vec<String>> {
        self.identify(object)?;
        crd::permit(&self.kind, &self.name)?;
        if schema::too_deep(object) {
            return Err(ApiError::bad_request("the object nests too deep"));
        }
        let warnings = self.prune(object)?;
        admission::normalise(&self.kind, object)?;
        match before {
            Some(before) => self.keep(&before.object, object)?,
            None => self.begin(object),
        }
        crd::default(&self.kind, object);
        self.kind.schema.default(object);
        admission::complete(&self.kind, object);
        let mut causes = metadata_causes(object);
        let old = before.map(|before| &before.object);
        causes.extend(self.kind.schema.validate_update(object, old).into_iter().map(Cause::from));
        if causes.is_empty() {
            causes =
                admission::check(&self.kind, before.map(|b| &b.object), object, self.subresource.is_some());
        }
        if causes.is_empty() {
            let before = before.map(|b| &b.object);
            causes = crd::check(&self.kind, before, object, self.subresource.is_some());
            causes.extend(self.kind.schema.check_rules(object, before).into_iter().map(Cause::from));
        }
        if !causes.is_empty() {
            return Err(ApiError::invalid(&self.kind, &self.name, &causes));
        }
        if let Some(before) = before {
            self.count_generation(&before.object, object);
        }
        if !tracked {
            track_update(before.map(|b| &b.object), object, &self.manager_ctx(), &self.kind.schema);
        }
        Ok(warnings)
    }

    pub(super) fn manager_ctx(&self) -> ManagerCtx<'_> {
        ManagerCtx {
            manager: &self.manager,
            subresource: self.subresource.as_deref(),
            now: &self.now,
            api_version: &self.api_version,
            has_status: self.kind.status,
        }
    }

    /// The body must be about the object that the path names.
    pub(super) fn identify(&self, object: &mut Value) -> ApiResult<()> {
        let kind = &self.kind;
        let Some(map) = object.as_object_mut() else {
            return Err(ApiError::bad_request("the body must be an object"));
        };
        for (field, expected) in [("apiVersion", self.api_version.as_str()), ("kind", kind.kind.as_str())] {
            let found = map.get(field).and_then(Value::as_str).unwrap_or_default();
            if !found.is_empty() && found != expected {
                return Err(ApiError::bad_request(format!(
                    "the {field} in the data ({found}) does not match the expected {field} ({expected})"
                )));
            }
            map.insert(field.into(), expected.into());
        }
        let metadata = map.entry("metadata").or_insert_with(|| json!({}));
        if metadata.is_null() {
            *metadata = json!({});
        }
        let Some(metadata) = metadata.as_object_mut() else {
            return Err(ApiError::bad_request("metadata must be an object"));
        };
        identify_in(metadata, "name", &self.name, "the name of the object")?;
        if kind.namespaced {
            identify_in(metadata, "namespace", &self.namespace, "the namespace of the provided object")?;
        } else {
            metadata.remove("namespace");
        }
        metadata.remove("selfLink");
        Ok(())
    }

    /// Removes unknown fields, as the client asks with a warning or a refusal.
    pub(super) fn prune(&self, object: &mut Value) -> ApiResult<Vec<String>> {
        let unknown = self.kind.schema.prune(object);
        let twice = self.duplicates.iter().map(|path| format!("duplicate field {path:?}"));
        let texts = twice.chain(unknown.iter().map(|path| format!("unknown field {path:?}"))).collect();
        self.remark(texts)
    }

    /// What is done about fields that are unknown or come twice, as the client asks.
    pub(super) fn remark(&self, texts: Vec<String>) -> ApiResult<Vec<String>> {
        match self.validation {
            FieldValidation::Ignore => Ok(Vec::new()),
            FieldValidation::Strict if !texts.is_empty() => Err(ApiError::bad_request(format!(
                "{kind} in version {version:?} cannot be handled as a {kind}: strict decoding error: {}",
                texts.join(", "),
                kind = self.kind.kind,
                version = self.kind.version,
            ))),
            FieldValidation::Warn | FieldValidation::Strict => Ok(texts),
        }
    }

    /// A new object: what the server sets.
    fn begin(&self, object: &mut Value) {
        if self.kind.status
            && let Some(map) = object.as_object_mut()
        {
            map.remove("status");
        }
        if let Some(status) = self.kind.initial_status() {
            object["status"] = status;
        }
        if self.kind.builtin && self.kind.kind == "Namespace" {
            object["spec"] = json!({"finalizers": ["kubernetes"]});
            object["metadata"]["labels"]["kubernetes.io/metadata.name"] = self.name.as_str().into();
        }
        let Some(metadata) = object["metadata"].as_object_mut() else { return };
        for field in KEPT.iter().chain(&["resourceVersion"]) {
            metadata.remove(*field);
        }
        metadata.insert("uid".into(), uuid::Uuid::new_v4().to_string().into());
        metadata.insert("creationTimestamp".into(), self.now.as_str().into());
        if self.kind.has_generation() {
            metadata.insert("generation".into(), 1.into());
        }
    }

    /// An object that exists: what this door must not change stays.
    fn keep(&self, before: &Value, object: &mut Value) -> ApiResult<()> {
        let sent = object["metadata"]["uid"].as_str().unwrap_or_default();
        let uid = text(before, "/metadata/uid");
        if !sent.is_empty() && sent != uid {
            let why = format!("Precondition failed: UID in precondition: {sent}, UID in object meta: {uid}");
            return Err(ApiError::conflict(&self.kind, &self.name, &why));
        }
        let version = match &object["metadata"]["resourceVersion"] {
            Value::String(version) => version.as_str(),
            Value::Null => "",
            _ => return Err(ApiError::bad_request("metadata.resourceVersion must be a string")),
        };
        if !matches!(version, "" | "0") && version != text(before, "/metadata/resourceVersion") {
            return Err(ApiError::stale(&self.kind, &self.name));
        }
        match self.subresource.as_deref() {
            Some(own) => {
                // The other way round: all of the old object, and of the new one this part.
                let part = if own == "finalize" { "spec" } else { "status" };
                let mut kept = before.clone();
                match object.get_mut(part).map(Value::take) {
                    None | Some(Value::Null) => {
                        if let Some(map) = kept.as_object_mut() {
                            map.remove(part);
                        }
                    }
                    Some(value) => kept[part] = value,
                }
                if let Some(managed) = object["metadata"].get_mut("managedFields").map(Value::take) {
                    kept["metadata"]["managedFields"] = managed;
                }
                *object = kept;
            }
            None => {
                if self.kind.status {
                    copy(before, object, "status");
                }
                if self.kind.builtin && self.kind.kind == "Namespace" {
                    copy(before, object, "spec");
                }
            }
        }
        for field in KEPT.iter().chain(&["resourceVersion"]) {
            copy_metadata(before, object, field);
        }
        if !text(before, "/metadata/deletionTimestamp").is_empty() {
            self.no_new_finalizers(before, object)?;
        }
        Ok(())
    }

    fn no_new_finalizers(&self, before: &Value, object: &Value) -> ApiResult<()> {
        let list = |object: &Value| -> Vec<String> {
            let list = object.pointer("/metadata/finalizers").and_then(Value::as_array);
            list.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
        };
        let old = list(before);
        let new: Vec<String> = list(object).into_iter().filter(|name| !old.contains(name)).collect();
        if new.is_empty() {
            return Ok(());
        }
        let why = format!(
            "no new finalizers can be added if the object is being deleted, found new finalizers {new:?}"
        );
        Err(ApiError::invalid(&self.kind, &self.name, &[Cause::forbidden("metadata.finalizers", &why)]))
    }

    fn count_generation(&self, before: &Value, object: &mut Value) {
        if !self.kind.has_generation() || self.subresource.is_some() {
            return;
        }
        let counts = |key: &str| key != "metadata" && !(self.kind.status && key == "status");
        let empty = Map::new();
        let (old, new) = (before.as_object().unwrap_or(&empty), object.as_object().unwrap_or(&empty));
        let changed = old.keys().chain(new.keys()).any(|key| counts(key) && old.get(key) != new.get(key));
        if changed {
            let generation = before["metadata"]["generation"].as_i64().unwrap_or(1);
            object["metadata"]["generation"] = generation.saturating_add(1).into();
        }
    }
}

fn identify_in(metadata: &mut Map<String, Value>, field: &str, expected: &str, what: &str) -> ApiResult<()> {
    let found = metadata.get(field).and_then(Value::as_str).unwrap_or_default();
    if !found.is_empty() && found != expected {
        return Err(ApiError::bad_request(format!(
            "{what} ({found}) does not match the {field} on the URL ({expected})"
        )));
    }
    metadata.insert(field.into(), expected.into());
    Ok(())
}

fn copy(from: &Value, to: &mut Value, field: &str) {
    let Some(map) = to.as_object_mut() else { return };
    match from.get(field) {
        Some(value) => map.insert(field.into(), value.clone()),
        None => map.remove(field),
    };
}

fn copy_metadata(from: &Value, to: &mut Value, field: &str) {
    let Some(map) = to.get_mut("metadata").and_then(Value::as_object_mut) else { return };
    match from["metadata"].get(field) {
        Some(value) => map.insert(field.into(), value.clone()),
        None => map.remove(field),
    };
}

/// What the schema of metadata cannot say.
fn metadata_causes(object: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    let metadata = &object["metadata"];
    for (name, value) in metadata["labels"].as_object().into_iter().flatten() {
        if !is_label_key(name) {
            causes.push(Cause::invalid("metadata.labels", name, "must be a qualified name: an optional DNS subdomain and '/', then at most 63 letters, digits, '-', '_' or '.'"));
        }
        if let Some(value) = value.as_str().filter(|value| !is_label_value(value)) {
            causes.push(Cause::invalid("metadata.labels", value, "must be empty or at most 63 letters, digits, '-', '_' or '.', with a letter or digit at both ends"));
        }
    }
    let mut size = 0;
    for (name, value) in metadata["annotations"].as_object().into_iter().flatten() {
        size += name.len() + value.as_str().map_or(0, str::len);
        if !is_label_key(&name.to_ascii_lowercase()) {
            causes.push(Cause::invalid("metadata.annotations", name, "must be a qualified name"));
        }
    }
    if size > 256 << 10 {
        causes.push(Cause::new(
            "metadata.annotations",
            "FieldValueTooLong",
            "Too long: may not be more than 262144 bytes",
        ));
    }
    for name in metadata["finalizers"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        if !is_label_key(name) {
            causes.push(Cause::invalid("metadata.finalizers", name, "must be a qualified name"));
        }
    }
    let mut controllers = 0;
    for (index, owner) in metadata["ownerReferences"].as_array().into_iter().flatten().enumerate() {
        for field in ["apiVersion", "kind", "name", "uid"] {
            if owner[field].as_str().unwrap_or_default().is_empty() {
                let field = format!("metadata.ownerReferences[{index}].{field}");
                causes.push(Cause::new(field, "FieldValueRequired", "Required value: must not be empty"));
            }
        }
        controllers += usize::from(owner["controller"] == true);
    }
    if controllers > 1 {
        causes.push(Cause::invalid(
            "metadata.ownerReferences",
            "",
            "only one reference can have controller set to true",
        ));
    }
    causes
}
