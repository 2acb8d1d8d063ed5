//! What any HTTP client may ask for, by curl: HTTP/2 with and without TLS, compression, JSON where protobuf is
//! wanted more.

use std::process::Command;

use crate::support::cli::{Ran, Sandbox, ran};
use crate::support::http::token;
use crate::support::master::Master;
use crate::support::skip::{program_or_skip, say_skipped};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

struct Curl {
    program: std::path::PathBuf,
    sandbox: Sandbox,
    master: Master,
}

impl Curl {
    fn start(test: &str, feature: &str) -> Option<Curl> {
        let program = program_or_skip("curl", test)?;
        let features = ran(Command::new(&program).arg("--version")).stdout;
        if !features.contains(feature) {
            say_skipped(test, &format!("curl has no {feature}"));
            return None;
        }
        let sandbox = Sandbox::new();
        let master = Master::start(&sandbox);
        Some(Curl { program, sandbox, master })
    }

    /// Asks for a path; what comes is the body, then the version of HTTP, then the headers.
    fn ask(&self, scheme: &str, args: &[&str], path: &str) -> Ran {
        let mut command = Command::new(&self.program);
        self.sandbox.seal(&mut command);
        command
            .args(["--silent", "--show-error", "--insecure", "--fail-with-body", "--max-time", "60"])
            .args(["--write-out", "\n%{http_version}\n%{header_json}"])
            .args(["--header", &format!("Authorization: Bearer {}", token(&self.sandbox))])
            .args(args)
            .arg(format!("{scheme}://{}{path}", self.master.address()));
        ran(&mut command).ok()
    }
}

#[test]
fn http_2_is_spoken_by_prior_knowledge_and_over_tls() {
    let test = "http_2_is_spoken_by_prior_knowledge_and_over_tls";
    let Some(curl) = Curl::start(test, "HTTP2") else { return };
    for (scheme, how, version) in [
        ("http", "--http2-prior-knowledge", "2"),
        ("https", "--http2", "2"),
        ("http", "--http1.1", "1.1"),
        ("https", "--http1.1", "1.1"),
    ] {
        let made = format!(r#"{{"metadata":{{"name":"{scheme}-{}"}}}}"#, version.replace('.', "-"));
        let posted = curl.ask(scheme, &[how, "--json", &made], MAPS).stdout;
        assert!(
            posted.contains("\"uid\"") && posted.contains(&format!("\n{version}\n")),
            "{scheme} {how}: {posted}"
        );
        let listed = curl.ask(scheme, &[how], MAPS).stdout;
        assert!(listed.contains("ConfigMapList") && listed.contains(&format!("\n{version}\n")), "{listed}");
        let watched = curl.ask(scheme, &[how], &format!("{MAPS}?watch=true&timeoutSeconds=1")).stdout;
        assert!(watched.contains("\"ADDED\""), "{watched}");
    }
}

#[test]
fn answers_are_compressed_where_that_is_wanted() {
    let Some(curl) = Curl::start("answers_are_compressed_where_that_is_wanted", "libz") else { return };
    let text = "a line that says nothing new\\n".repeat(20_000);
    curl.sandbox.write("big.json", &format!(r#"{{"metadata":{{"name":"big"}},"data":{{"text":"{text}"}}}}"#));
    let file = format!("@{}", curl.sandbox.work().join("big.json").display());
    curl.ask("https", &["--json", &file, "--output", "/dev/null"], MAPS);
    let path = format!("{MAPS}/big");
    let plain = curl.ask("https", &[], &path).stdout;
    assert!(!plain.contains("\"content-encoding\""));
    let small = curl.ask("https", &["--compressed"], &path).stdout;
    assert!(small.contains("\"content-encoding\":[\"gzip\"]"), "{}", &small[small.len() - 400..]);
    let body = |answer: &str| answer.lines().next().unwrap_or_default().to_owned();
    assert!(body(&small) == body(&plain), "the same object");
}

#[test]
fn json_is_answered_where_protobuf_is_wanted_more() {
    let Some(curl) = Curl::start("json_is_answered_where_protobuf_is_wanted_more", "libz") else { return };
    let accept = "Accept: application/vnd.kubernetes.protobuf, application/json";
    let listed = curl.ask("https", &["--header", accept], MAPS).stdout;
    assert!(
        listed.contains("ConfigMapList") && listed.contains("\"content-type\":[\"application/json\"]"),
        "{listed}"
    );
}
