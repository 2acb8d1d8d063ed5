//! Conditions in words.

use gcluster_types::conditions;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

/// What a condition means, and whether that is well; none when it is not known yet.
pub(super) fn in_words(condition: &Condition) -> (Option<bool>, String) {
    let is = match condition.status.as_str() {
        "True" => Some(true),
        "False" => Some(false),
        _ => None,
    };
    let known = match (condition.type_.as_str(), is) {
        (conditions::READY, Some(true)) => (true, "its definition is recorded"),
        (conditions::READY, Some(false)) => (false, "its definition is not recorded"),
        (conditions::BACKEND_AVAILABLE, Some(true)) => (true, "its program can be started"),
        (conditions::BACKEND_AVAILABLE, Some(false)) => (false, "its program cannot be started"),
        (conditions::THROTTLED, Some(true)) => (false, "the provider's usage limit holds it"),
        (conditions::THROTTLED, Some(false)) => (true, "no usage limit holds it"),
        (conditions::PROVIDER_AVAILABLE, Some(true)) => (true, "the provider answers"),
        (conditions::PROVIDER_AVAILABLE, Some(false)) => (false, "the provider does not answer"),
        (conditions::CREDENTIAL_VALID, Some(true)) => (true, "the provider accepts its credential"),
        (conditions::CREDENTIAL_VALID, Some(false)) => (false, "the provider refuses its credential"),
        (conditions::WITHIN_LIMITS, Some(true)) => (true, "it is within its limits"),
        (conditions::WITHIN_LIMITS, Some(false)) => (false, "one of its limits is reached"),
        (conditions::BACKING_OFF, Some(true)) => (false, "the next iteration is held back"),
        (conditions::BACKING_OFF, Some(false)) => (true, "nothing is held back"),
        (conditions::PROGRESSING, Some(true)) => (true, "its definition is being executed"),
        (conditions::PROGRESSING, Some(false)) => (false, "its definition is not being executed"),
        (other, Some(is)) => return (Some(is), if is { other.to_owned() } else { format!("not {other}") }),
        (other, None) => return (None, format!("{other} is not known yet")),
    };
    (Some(known.0), known.1.to_owned())
}
