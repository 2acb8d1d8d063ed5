//! Create.

use serde_json::Value;

use super::{Write, Written, check_namespace, text, transact};
use crate::Api;
use crate::admission;
use crate::status::{ApiError, ApiResult, Cause};

/// Longest part of a `generateName` that is used; five characters follow.
const MAX_GENERATED: usize = 58;
/// Characters of generated names: no vowels and nothing that looks like something else.
const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

/// Creates an object; a `generateName` that is taken by chance is tried again.
pub(crate) async fn create(api: &Api, mut write: Write, mut object: Value) -> ApiResult<Written> {
    if !text(&object, "/metadata/resourceVersion").is_empty() {
        return Err(ApiError::bad_request("resourceVersion should not be set on objects to be created"));
    }
    let name = text(&object, "/metadata/name").to_owned();
    let prefix = text(&object, "/metadata/generateName").to_owned();
    if name.is_empty() && prefix.is_empty() {
        let cause = Cause::new(
            "metadata.name",
            "FieldValueRequired",
            "Required value: name or generateName is required",
        );
        return Err(ApiError::invalid(&write.kind, "", &[cause]));
    }
    let mut attempts = 0;
    loop {
        write.name = if name.is_empty() { generated(&prefix) } else { name.clone() };
        // Only a generated name is tried again.
        let mut object = if name.is_empty() { object.clone() } else { std::mem::take(&mut object) };
        let causes = admission::check_name(&write.kind, &write.name);
        if !causes.is_empty() {
            return Err(ApiError::invalid(&write.kind, &write.name, &causes));
        }
        // Nothing of this depends on other objects, so it is done before the transaction.
        let warnings = write.prepare(None, &mut object, false)?;
        let created = transact(api, write.dry_run, |tx| {
            if tx.get(&write.key()).is_some() {
                return Err(ApiError::already_exists(&write.kind, &write.name));
            }
            check_namespace(tx, &write.kind, &write.namespace, &write.name)?;
            write.store(tx, None, object, warnings)
        });
        match created.await {
            Err(error) if name.is_empty() && error.code() == http::StatusCode::CONFLICT && attempts < 8 => {
                attempts += 1
            }
            other => return other,
        }
    }
}

fn generated(prefix: &str) -> String {
    let mut name: String = prefix.chars().take(MAX_GENERATED).collect();
    for _ in 0..5 {
        name.push(char::from(ALPHABET.get(fastrand::usize(..ALPHABET.len())).copied().unwrap_or(b'x')));
    }
    name
}
