//! Numbers and names of the fields of the built-in kinds, as Kubernetes publishes them.

use Kind::{Blobs, Bool, Int, IntOrZero, Json, Map, Message, Messages, Micros, Seconds, Text, Texts};

/// Number, name in JSON, and type of a field.
pub(super) struct Field(pub(super) u64, pub(super) &'static str, pub(super) Kind);

/// Type of a field.
pub(super) enum Kind {
    /// Absent when empty.
    Text,
    /// Absent when zero.
    Int,
    /// A pointer in Go: zero counts.
    IntOrZero,
    Bool,
    /// A time to the second, absent when zero.
    Seconds,
    /// A time to the microsecond, absent when zero.
    Micros,
    /// JSON in a message of one field.
    Json,
    Message(&'static [Field]),
    Texts,
    Messages(&'static [Field]),
    Map,
    /// A map to bytes, which JSON writes in base64.
    Blobs,
}

/// The fields of a kind that is read as protobuf.
pub(super) fn message_of(api_version: &str, kind: &str) -> Option<&'static [Field]> {
    Some(match (api_version, kind) {
        ("v1", "Namespace") => NAMESPACE,
        ("v1", "ConfigMap") => CONFIG_MAP,
        ("v1", "Secret") => SECRET,
        ("v1", "Event") => CORE_EVENT,
        ("events.k8s.io/v1", "Event") => EVENT,
        ("coordination.k8s.io/v1", "Lease") => LEASE,
        ("authorization.k8s.io/v1", "SelfSubjectAccessReview") => ACCESS_REVIEW,
        ("authorization.k8s.io/v1", "SelfSubjectRulesReview") => RULES_REVIEW,
        ("authentication.k8s.io/v1", "SelfSubjectReview") => &[],
        // Clients write the options of a deletion in the version of what they delete.
        (_, "DeleteOptions") => DELETE_OPTIONS,
        _ => return None,
    })
}

const METADATA: &[Field] = &[
    Field(1, "name", Text),
    Field(2, "generateName", Text),
    Field(3, "namespace", Text),
    Field(5, "uid", Text),
    Field(6, "resourceVersion", Text),
    Field(7, "generation", Int),
    Field(8, "creationTimestamp", Seconds),
    Field(9, "deletionTimestamp", Seconds),
    Field(10, "deletionGracePeriodSeconds", IntOrZero),
    Field(11, "labels", Map),
    Field(12, "annotations", Map),
    Field(13, "ownerReferences", Messages(OWNER)),
    Field(14, "finalizers", Texts),
    Field(17, "managedFields", Messages(MANAGED)),
];
const OWNER: &[Field] = &[
    Field(1, "kind", Text),
    Field(3, "name", Text),
    Field(4, "uid", Text),
    Field(5, "apiVersion", Text),
    Field(6, "controller", Bool),
    Field(7, "blockOwnerDeletion", Bool),
];
const MANAGED: &[Field] = &[
    Field(1, "manager", Text),
    Field(2, "operation", Text),
    Field(3, "apiVersion", Text),
    Field(4, "time", Seconds),
    Field(6, "fieldsType", Text),
    Field(7, "fieldsV1", Json),
    Field(8, "subresource", Text),
];
const NAMESPACE: &[Field] = &[
    Field(1, "metadata", Message(METADATA)),
    Field(2, "spec", Message(&[Field(1, "finalizers", Texts)])),
    Field(3, "status", Message(&[Field(1, "phase", Text), Field(2, "conditions", Messages(CONDITION))])),
];
const CONFIG_MAP: &[Field] = &[
    Field(1, "metadata", Message(METADATA)),
    Field(2, "data", Map),
    Field(3, "binaryData", Blobs),
    Field(4, "immutable", Bool),
];
const SECRET: &[Field] = &[
    Field(1, "metadata", Message(METADATA)),
    Field(2, "data", Blobs),
    Field(3, "type", Text),
    Field(4, "stringData", Map),
    Field(5, "immutable", Bool),
];
const CONDITION: &[Field] = &[
    Field(1, "type", Text),
    Field(2, "status", Text),
    Field(4, "lastTransitionTime", Seconds),
    Field(5, "reason", Text),
    Field(6, "message", Text),
];
const LEASE: &[Field] = &[
    Field(1, "metadata", Message(METADATA)),
    Field(
        2,
        "spec",
        Message(&[
            Field(1, "holderIdentity", Text),
            Field(2, "leaseDurationSeconds", IntOrZero),
            Field(3, "acquireTime", Micros),
            Field(4, "renewTime", Micros),
            Field(5, "leaseTransitions", IntOrZero),
            Field(6, "strategy", Text),
            Field(7, "preferredHolder", Text),
        ]),
    ),
];
const REFERENCE: &[Field] = &[
    Field(1, "kind", Text),
    Field(2, "namespace", Text),
    Field(3, "name", Text),
    Field(4, "uid", Text),
    Field(5, "apiVersion", Text),
    Field(6, "resourceVersion", Text),
    Field(7, "fieldPath", Text),
];
const SOURCE: &[Field] = &[Field(1, "component", Text), Field(2, "host", Text)];
const SERIES: &[Field] = &[Field(1, "count", Int), Field(2, "lastObservedTime", Micros)];
const CORE_EVENT: &[Field] = &[
    Field(1, "metadata", Message(METADATA)),
    Field(2, "involvedObject", Message(REFERENCE)),
    Field(3, "reason", Text),
    Field(4, "message", Text),
    Field(5, "source", Message(SOURCE)),
    Field(6, "firstTimestamp", Seconds),
    Field(7, "lastTimestamp", Seconds),
    Field(8, "count", Int),
    Field(9, "type", Text),
    Field(10, "eventTime", Micros),
    Field(11, "series", Message(SERIES)),
    Field(12, "action", Text),
    Field(13, "related", Message(REFERENCE)),
    Field(14, "reportingComponent", Text),
    Field(15, "reportingInstance", Text),
];
const EVENT: &[Field] = &[
    Field(1, "metadata", Message(METADATA)),
    Field(2, "eventTime", Micros),
    Field(3, "series", Message(SERIES)),
    Field(4, "reportingController", Text),
    Field(5, "reportingInstance", Text),
    Field(6, "action", Text),
    Field(7, "reason", Text),
    Field(8, "regarding", Message(REFERENCE)),
    Field(9, "related", Message(REFERENCE)),
    Field(10, "note", Text),
    Field(11, "type", Text),
    Field(12, "deprecatedSource", Message(SOURCE)),
    Field(13, "deprecatedFirstTimestamp", Seconds),
    Field(14, "deprecatedLastTimestamp", Seconds),
    Field(15, "deprecatedCount", Int),
];
const RULES_REVIEW: &[Field] = &[Field(2, "spec", Message(&[Field(1, "namespace", Text)]))];
const ACCESS_REVIEW: &[Field] = &[Field(
    2,
    "spec",
    Message(&[
        Field(
            1,
            "resourceAttributes",
            Message(&[
                Field(1, "namespace", Text),
                Field(2, "verb", Text),
                Field(3, "group", Text),
                Field(4, "version", Text),
                Field(5, "resource", Text),
                Field(6, "subresource", Text),
                Field(7, "name", Text),
            ]),
        ),
        Field(2, "nonResourceAttributes", Message(&[Field(1, "path", Text), Field(2, "verb", Text)])),
    ]),
)];
const DELETE_OPTIONS: &[Field] = &[
    Field(1, "gracePeriodSeconds", IntOrZero),
    Field(2, "preconditions", Message(&[Field(1, "uid", Text), Field(2, "resourceVersion", Text)])),
    Field(3, "orphanDependents", Bool),
    Field(4, "propagationPolicy", Text),
    Field(5, "dryRun", Texts),
];
