//! No acknowledged write is ever lost: a real master, several clients, SIGKILL at random moments.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::support::cli::Sandbox;
use crate::support::http::{request, token};
use crate::support::master::Master;

/// Rounds of write and kill; the environment may ask for more.
fn rounds() -> usize {
    std::env::var("GCLUSTER_TEST_KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(50)
}

const CLIENTS: usize = 4;
const NAMESPACES: &str = "/api/v1/namespaces";

/// What the clients know to be written: name → the value of its label.
type Acknowledged = Arc<Mutex<BTreeMap<String, u64>>>;

#[test]
fn every_acknowledged_write_is_there_after_fifty_kills() {
    let sandbox = Sandbox::new();
    let acknowledged: Acknowledged = Arc::default();
    let mut next = 0_u64;
    for round in 0..rounds() {
        let mut master = Master::start(&sandbox);
        let token = token(&sandbox);
        verify(master.address(), &token, &acknowledged, round);
        let stop = Arc::new(AtomicBool::new(false));
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| {
                let (address, token) = (master.address().to_owned(), token.clone());
                let (acknowledged, stop) = (Arc::clone(&acknowledged), Arc::clone(&stop));
                let first = next + client as u64 * 1_000_000;
                std::thread::spawn(move || write_until(&address, &token, first, &acknowledged, &stop))
            })
            .collect();
        next += 1_000;
        // A different moment each round: in the first commits, in the middle of many.
        std::thread::sleep(Duration::from_micros(500 + (round as u64 * 7919) % 40_000));
        master.kill();
        stop.store(true, Ordering::SeqCst);
        for client in clients {
            client.join().expect("client");
        }
    }
    let master = Master::start(&sandbox);
    verify(master.address(), &token(&sandbox), &acknowledged, rounds());
    let written = acknowledged.lock().expect("lock").len();
    assert!(written > rounds(), "only {written} writes were acknowledged: the test tested nothing");
}

/// Creates objects and then changes each once; remembers what was answered with success.
fn write_until(address: &str, token: &str, first: u64, acknowledged: &Acknowledged, stop: &AtomicBool) {
    let auth = format!("Bearer {token}");
    let mut n = first;
    while !stop.load(Ordering::SeqCst) {
        n += 1;
        let name = format!("n{n}");
        let body = format!(
            r#"{{"apiVersion":"v1","kind":"Namespace","metadata":{{"name":"{name}","labels":{{"value":"1"}}}}}}"#
        );
        if attempt(address, "POST", NAMESPACES, &auth, "application/json", &body) == Some(201) {
            acknowledged.lock().expect("lock").insert(name.clone(), 1);
        }
        let path = format!("{NAMESPACES}/{name}");
        let patch = r#"{"metadata":{"labels":{"value":"2"}}}"#;
        if attempt(address, "PATCH", &path, &auth, "application/merge-patch+json", patch) == Some(200) {
            acknowledged.lock().expect("lock").insert(name, 2);
        }
    }
}

/// One request; `None` when the connection failed, so that nothing is known of the write.
fn attempt(address: &str, method: &str, path: &str, auth: &str, kind: &str, body: &str) -> Option<u16> {
    let headers = [("Authorization", auth), ("Content-Type", kind)];
    request(address, method, path, &headers, body.as_bytes()).ok().map(|answer| answer.status)
}

fn verify(address: &str, token: &str, acknowledged: &Acknowledged, round: usize) {
    let auth = format!("Bearer {token}");
    let answer = request(address, "GET", NAMESPACES, &[("Authorization", &auth)], b"").expect("an answer");
    assert_eq!(answer.status, 200, "{}", answer.body);
    let list: serde_json::Value = serde_json::from_str(&answer.body).expect("a list");
    let found: BTreeMap<&str, u64> = list["items"]
        .as_array()
        .expect("items")
        .iter()
        .map(|o| {
            let value = o["metadata"]["labels"]["value"].as_str().and_then(|v| v.parse().ok()).unwrap_or(0);
            (o["metadata"]["name"].as_str().expect("name"), value)
        })
        .collect();
    for (name, value) in acknowledged.lock().expect("lock").iter() {
        let is = found.get(name.as_str());
        assert!(is >= Some(value), "after kill {round}: {name} was acknowledged at {value} and is {is:?}");
    }
}
