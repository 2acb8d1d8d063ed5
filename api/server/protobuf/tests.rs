use proptest::prelude::*;
use serde_json::json;

use super::wire::Writer;
use super::*;

fn envelope(api_version: &str, kind: &str, object: &Writer) -> Vec<u8> {
    let (mut meta, mut unknown) = (Writer::default(), Writer::default());
    meta.text(1, api_version);
    meta.text(2, kind);
    unknown.message(1, &meta);
    unknown.message(2, object);
    let mut body = MAGIC.to_vec();
    body.extend(unknown.finish());
    body
}

#[test]
fn a_lease_is_read_as_go_writes_it() {
    let (mut label, mut metadata, mut time, mut spec, mut lease) =
        (Writer::default(), Writer::default(), Writer::default(), Writer::default(), Writer::default());
    label.text(1, "team");
    label.text(2, "blue");
    metadata.text(1, "lock");
    metadata.text(2, "");
    metadata.number(7, 0);
    metadata.text(8, "");
    metadata.message(11, &label);
    metadata.text(14, "a.example/one");
    metadata.text(14, "a.example/two");
    time.number(1, 1_700_000_000);
    time.number(2, 5_000);
    spec.text(1, "me");
    spec.number(2, 15);
    spec.message(4, &time);
    spec.number(5, 0);
    lease.message(1, &metadata);
    lease.message(2, &spec);
    assert_eq!(
        decode(&envelope("coordination.k8s.io/v1", "Lease", &lease)).unwrap(),
        json!({
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": {
                "name": "lock", "labels": {"team": "blue"}, "finalizers": ["a.example/one", "a.example/two"],
            },
            "spec": {
                "holderIdentity": "me", "leaseDurationSeconds": 15, "leaseTransitions": 0,
                "renewTime": "2023-11-14T22:13:20.000005Z",
            },
        })
    );
}

#[test]
fn bytes_of_a_secret_become_base64() {
    let (mut entry, mut plain, mut metadata, mut secret) =
        (Writer::default(), Writer::default(), Writer::default(), Writer::default());
    metadata.text(1, "token");
    entry.text(1, "key");
    entry.raw(2, &[0, 255]);
    plain.text(1, "user");
    plain.text(2, "me");
    secret.message(1, &metadata);
    secret.message(2, &entry);
    secret.text(3, "Opaque");
    secret.message(4, &plain);
    secret.flag(5, true);
    assert_eq!(
        decode(&envelope("v1", "Secret", &secret)).unwrap(),
        json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "token"}, "type": "Opaque",
            "data": {"key": "AP8="}, "stringData": {"user": "me"}, "immutable": true,
        })
    );
    let mut map = Writer::default();
    map.message(1, &metadata);
    map.message(2, &plain);
    map.message(3, &entry);
    assert_eq!(
        decode(&envelope("v1", "ConfigMap", &map)).unwrap(),
        json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "token"},
            "data": {"user": "me"}, "binaryData": {"key": "AP8="},
        })
    );
}

#[test]
fn other_kinds_and_broken_bodies_are_refused() {
    let nothing = Writer::default();
    assert_eq!(decode(&envelope("v1", "Pod", &nothing)).unwrap_err().code(), 415);
    assert_eq!(decode(b"{}").unwrap_err().code(), 400);
    let whole = envelope("v1", "Namespace", &nothing);
    assert_eq!(decode(&whole[..whole.len() - 1]).unwrap_err().code(), 400);
    let mut wrong = Writer::default();
    wrong.number(1, 7);
    assert_eq!(decode(&envelope("v1", "Namespace", &wrong)).unwrap_err().code(), 400);
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut object = Writer::default();
        object.raw(1, &bytes);
        for kind in ["Namespace", "Event", "DeleteOptions"] {
            let _ = decode(&envelope("v1", kind, &object));
        }
        let _ = decode(&[MAGIC, &bytes].concat());
    }
}
