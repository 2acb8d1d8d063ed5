//! Patches: merge, JSON, server-side apply, and strategic merge for the built-in kinds.

use serde_json::Value;

use super::early::{Early, Made};
use super::{Live, Write, Written, after, text, transact};
use crate::admission;
use crate::patch::apply::ApplyError;
use crate::patch::strategic::{self, StrategicError};
use crate::patch::{apply, json, merge};
use crate::status::{ApiError, ApiResult};
use crate::{Api, negotiate};

/// A patch as it came.
#[derive(Clone, Debug)]
pub(crate) enum Patch {
    Merge(Value),
    Json(Value),
    Strategic(Value),
    Apply { object: Value, force: bool },
}

impl Patch {
    /// Reads the body of a PATCH by its media type.
    pub(crate) fn parse(
        write: &mut Write,
        media: &str,
        body: &[u8],
        force: bool,
        named: bool,
    ) -> ApiResult<Self> {
        let builtin = write.kind.builtin;
        let mut read = || {
            let (value, twice) = negotiate::parse_strictly(media, body)?;
            write.duplicates = twice;
            Ok::<_, ApiError>(value)
        };
        match media {
            "application/merge-patch+json" | "application/json" => Ok(Self::Merge(read()?)),
            "application/json-patch+json" => Ok(Self::Json(read()?)),
            "application/strategic-merge-patch+json" if builtin => Ok(Self::Strategic(read()?)),
            "application/apply-patch+yaml" | "application/apply-patch+json" => {
                if !named {
                    return Err(ApiError::bad_request(
                        "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required for apply patch",
                    ));
                }
                Ok(Self::Apply { object: read()?, force })
            }
            _ => Err(ApiError::unsupported_media_type(
                "the body of the request was in an unknown format - accepted media types include: application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml",
            )),
        }
    }
}

/// Patches an object, or one part of it; an apply creates what is not there.
pub(crate) async fn patch(api: &Api, write: Write, patch: Patch) -> ApiResult<Written> {
    let work = |live: Option<&Live>| match &patch {
        Patch::Apply { object, force } => applied(&write, live, object, *force),
        Patch::Merge(_) | Patch::Json(_) | Patch::Strategic(_) => patched(&write, live, &patch),
    };
    let early = Early::prepare(api, &write, work);
    let written = transact(api, write.dry_run, |tx| early.settle(tx, &write, work)).await?;
    after(api, &write.kind, &written, write.dry_run).await;
    Ok(written)
}

fn patched(write: &Write, live: Option<&Live>, patch: &Patch) -> Made {
    let live = live.ok_or_else(|| write.not_found())?;
    let mut object = live.object.clone();
    match patch {
        Patch::Json(patch) => json::apply(&mut object, patch).map_err(|error| {
            // The reason may repeat a part of the patch, and so a value.
            let secret = admission::is_secret(&write.kind);
            let why = if secret { "an operation is not valid or does not fit".into() } else { error };
            ApiError::invalid_patch(&write.kind, &write.name, why)
        })?,
        Patch::Strategic(patch) => {
            strategic::apply(&write.kind.kind, &mut object, patch).map_err(|error| match error {
                StrategicError::Malformed(why) => ApiError::bad_request(why),
                StrategicError::Unfit(why) => ApiError::invalid_patch(&write.kind, &write.name, why),
            })?;
        }
        Patch::Merge(patch) | Patch::Apply { object: patch, .. } => {
            if !patch.is_object() {
                return Err(ApiError::bad_request("a merge patch must be an object"));
            }
            merge::apply(&mut object, patch);
        }
    }
    let warnings = write.prepare(Some(live), &mut object, false)?;
    Ok((object, warnings))
}

/// What a server-side apply makes of an object.
pub(super) fn applied(write: &Write, live: Option<&Live>, applied: &Value, force: bool) -> Made {
    let mut applied = applied.clone();
    write.identify(&mut applied)?;
    if live.is_none() {
        if write.subresource.is_some() {
            return Err(write.not_found());
        }
        if !text(&applied, "/metadata/uid").is_empty() {
            return Err(ApiError::conflict(
                &write.kind,
                &write.name,
                "uid mismatch: the provided object specified a uid, and no existing object was found",
            ));
        }
        let causes = admission::check_name(&write.kind, &write.name);
        if !causes.is_empty() {
            return Err(ApiError::invalid(&write.kind, &write.name, &causes));
        }
    }
    let version = text(&applied, "/metadata/resourceVersion");
    if let Some(live) = live
        && !matches!(version, "" | "0")
        && version != text(&live.object, "/metadata/resourceVersion")
    {
        return Err(ApiError::stale(&write.kind, &write.name));
    }
    let mut warnings = write.prune(&mut applied)?;
    admission::normalise(&write.kind, &mut applied)?;
    let before = live.map(|live| &live.object);
    let merged = apply::apply(before, &applied, &write.manager_ctx(), force, &write.kind.schema);
    let mut merged = merged.map_err(|error| match &error {
        ApplyError::Conflicts(conflicts) => ApiError::apply_conflict(error.to_string(), conflicts),
        ApplyError::Invalid(reason) => ApiError::bad_request(reason.clone()),
    })?;
    for text in write.prepare(live, &mut merged, true)? {
        if !warnings.contains(&text) {
            warnings.push(text);
        }
    }
    Ok((merged, warnings))
}
