//! Update: PUT of an object or of one of its subresources.

use serde_json::Value;

use super::early::Early;
use super::{Live, Write, Written, after, text, transact};
use crate::Api;
use crate::status::{ApiError, ApiResult, Cause};

/// Replaces an object, or one part of it.
pub(crate) async fn update(api: &Api, write: Write, mut object: Value) -> ApiResult<Written> {
    write.identify(&mut object)?;
    let version = text(&object, "/metadata/resourceVersion");
    let blind = version.is_empty() && !write.kind.builtin && write.subresource.is_none();
    let work = |live: Option<&Live>| {
        let live = live.ok_or_else(|| write.not_found())?;
        if blind {
            let cause = Cause::invalid("metadata.resourceVersion", "0", "must be specified for an update");
            return Err(ApiError::invalid(&write.kind, &write.name, &[cause]));
        }
        let mut object = object.clone();
        let warnings = write.prepare(Some(live), &mut object, false)?;
        Ok((object, warnings))
    };
    let early = Early::prepare(api, &write, work);
    let written = transact(api, write.dry_run, |tx| early.settle(tx, &write, work)).await?;
    after(api, &write.kind, &written, write.dry_run).await;
    Ok(written)
}
