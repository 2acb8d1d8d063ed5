//! `gcluster diff`: what an apply would change.

use std::path::PathBuf;

use clap::Args;
use serde_json::Value;

use super::apply::{self, Options};
use super::objects::text;
use super::output::{note, print, structured};
use super::{Globals, conflict, get, manifest};
use crate::client::{JSON, escape};
use crate::exit::{Failure, Kind, Result};

/// Show what `apply` would change; exits with 1 when something would
#[derive(Args, Debug)]
pub(crate) struct DiffArgs {
    /// File, directory or - for standard input; may be repeated
    #[arg(short, long = "filename", value_name = "FILE", value_hint = clap::ValueHint::AnyPath)]
    files: Vec<PathBuf>,
    /// The same, without -f
    #[arg(value_name = "FILE", value_hint = clap::ValueHint::AnyPath)]
    paths: Vec<PathBuf>,
}

/// Does `gcluster diff`.
pub(crate) async fn run(globals: &Globals, args: DiffArgs) -> Result {
    let inputs: Vec<PathBuf> = args.files.iter().chain(&args.paths).cloned().collect();
    if inputs.is_empty() {
        return Err(Failure::usage("name what to compare, as in `gcluster diff -f team.p`"));
    }
    let desired = manifest::load(&inputs)?;
    let connection = globals.connect().await?;
    if desired.is_empty() {
        return Ok(());
    }
    let files = desired.clone();
    let applied = apply::apply(&connection, desired, Options { dry_run: true, force: true }).await?;
    let mut differs = false;
    for (one, file) in applied.iter().zip(&files).filter(|(one, _)| one.result != "unchanged") {
        let live = match text(&one.object, "/kind") {
            "Agent" => {
                let path = format!(
                    "/apis/gcluster.dev/v1alpha1/namespaces/{}/agents/{}",
                    escape(text(&one.object, "/metadata/namespace")),
                    escape(text(&one.object, "/metadata/name"))
                );
                connection.get(&path, JSON).await
            }
            _ => live(&connection, &one.object).await,
        };
        let mut live = match live {
            Ok(object) => Some(object),
            Err(failure) if failure.kind == Kind::NotFound => None,
            Err(failure) => return Err(failure),
        };
        if let (Some(live), "Agent") = (&live, text(&one.object, "/kind")) {
            for conflict in conflict::of(live, &file.object) {
                let sentence = conflict.sentence(k8s_openapi::jiff::Timestamp::now());
                note(&format!("conflict: {}, {sentence}", one.shown));
                note("hint: apply refuses this; --force-conflicts makes the file's text the desired one");
            }
        }
        let mut applied = one.object.clone();
        mask(live.as_mut(), &mut applied);
        let before = live.map_or_else(|| Ok(String::new()), comparable)?;
        let after = comparable(applied)?;
        if before != after {
            differs = true;
            let name = get::name(&one.object);
            print(&format!("--- live {name}\n+++ applied {name}\n{}", unified(&before, &after)))?;
        }
    }
    if differs { Err(Failure::reported()) } else { Ok(()) }
}

async fn live(connection: &crate::client::Connection, object: &Value) -> Result<Value> {
    let catalog = super::kinds::Catalog::fetch(connection).await?;
    let resource = catalog.of(text(object, "/apiVersion"), text(object, "/kind"))?;
    connection
        .get(&resource.object(text(object, "/metadata/namespace"), text(object, "/metadata/name")), JSON)
        .await
}

/// Hides the values of a Secret, as kubectl does: only whether one changes is shown.
fn mask(before: Option<&mut Value>, after: &mut Value) {
    if text(after, "/kind") != "Secret" || text(after, "/apiVersion") != "v1" {
        return;
    }
    let mut nothing = Value::Null;
    let before = before.unwrap_or(&mut nothing);
    let old = before["data"].as_object().cloned().unwrap_or_default();
    let new = after["data"].as_object().cloned().unwrap_or_default();
    for (object, own, other, word) in [(before, &old, &new, "before"), (after, &new, &old, "after")] {
        for (key, value) in object.get_mut("data").and_then(Value::as_object_mut).into_iter().flatten() {
            let changed = other.get(key).is_some_and(|there| Some(there) != own.get(key));
            *value = if changed { format!("*** ({word})").into() } else { "***".into() };
        }
        if let Some(annotations) = object.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut)
        {
            annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
        }
    }
}

fn comparable(mut object: Value) -> Result<String> {
    manifest::strip(&mut object);
    Ok(crate::render::visible(&structured::yaml(&object)?).into_owned())
}

/// Lines with ` `, `-` and `+`; three lines of context, `@@` between parts that are apart.
fn unified(before: &str, after: &str) -> String {
    let (old, new): (Vec<&str>, Vec<&str>) = (before.lines().collect(), after.lines().collect());
    let marked = compare(&old, &new);
    let near = |at: usize| {
        let from = at.saturating_sub(3);
        marked[from..marked.len().min(at + 4)].iter().any(|(mark, _)| *mark != ' ')
    };
    let mut out = String::new();
    let mut gap = false;
    for (at, (mark, line)) in marked.iter().enumerate() {
        if near(at) {
            if gap || out.is_empty() {
                out.push_str("@@\n");
            }
            gap = false;
            out.push(*mark);
            out.push_str(line);
            out.push('\n');
        } else {
            gap = true;
        }
    }
    out
}

/// A shortest edit script. What both have at the start and at the end is set aside first; between, texts of
/// thousands of lines are shown as replaced rather than compared in quadratic time.
fn compare<'a>(old: &[&'a str], new: &[&'a str]) -> Vec<(char, &'a str)> {
    let head = old.iter().zip(new).take_while(|(a, b)| a == b).count();
    let tail = old[head..].iter().rev().zip(new[head..].iter().rev()).take_while(|(a, b)| a == b).count();
    let (a, b) = (&old[head..old.len() - tail], &new[head..new.len() - tail]);
    let mut out: Vec<(char, &str)> = old[..head].iter().map(|line| (' ', *line)).collect();
    if a.len().saturating_mul(b.len()) > 4_000_000 {
        out.extend(a.iter().map(|line| ('-', *line)));
        out.extend(b.iter().map(|line| ('+', *line)));
    } else {
        let width = b.len() + 1;
        let mut common = vec![0_u32; (a.len() + 1) * width];
        for i in (0..a.len()).rev() {
            for j in (0..b.len()).rev() {
                common[i * width + j] = if a[i] == b[j] {
                    common[(i + 1) * width + j + 1] + 1
                } else {
                    common[(i + 1) * width + j].max(common[i * width + j + 1])
                };
            }
        }
        let (mut i, mut j) = (0, 0);
        while i < a.len() || j < b.len() {
            if i < a.len() && j < b.len() && a[i] == b[j] {
                out.push((' ', a[i]));
                (i, j) = (i + 1, j + 1);
            } else if j == b.len()
                || (i < a.len() && common[(i + 1) * width + j] >= common[i * width + j + 1])
            {
                out.push(('-', a[i]));
                i += 1;
            } else {
                out.push(('+', b[j]));
                j += 1;
            }
        }
    }
    out.extend(old[old.len() - tail..].iter().map(|line| (' ', *line)));
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn of_a_secret_only_what_changes_is_shown() {
        let secret = |data: Value| serde_json::json!({"apiVersion": "v1", "kind": "Secret", "data": data});
        let mut before = secret(serde_json::json!({"same": "YQ==", "other": "Yg==", "old": "Yw=="}));
        let mut after = secret(serde_json::json!({"same": "YQ==", "other": "ZA==", "new": "ZQ=="}));
        mask(Some(&mut before), &mut after);
        assert_eq!(before["data"], serde_json::json!({"same": "***", "other": "*** (before)", "old": "***"}));
        assert_eq!(after["data"], serde_json::json!({"same": "***", "other": "*** (after)", "new": "***"}));
        let mut map = serde_json::json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"a": "b"}});
        mask(None, &mut map);
        assert_eq!(map["data"]["a"], "b");
    }

    #[test]
    fn changed_lines_are_marked_with_context() {
        let before = "a\nb\nc\nd\ne\nf\ng\nh\n";
        assert_eq!(unified(before, &before.replace("e\n", "E\n")), "@@\n b\n c\n d\n-e\n+E\n f\n g\n h\n");
        assert_eq!(unified("", "x\n"), "@@\n+x\n");
        assert_eq!(unified("x\n", "x\n"), "");
    }

    proptest! {
        #[test]
        fn an_edit_script_holds_both_texts(
            old in proptest::collection::vec("[abc]", 0..12),
            new in proptest::collection::vec("[abc]", 0..12),
        ) {
            let (old, new): (Vec<&str>, Vec<&str>) =
                (old.iter().map(String::as_str).collect(), new.iter().map(String::as_str).collect());
            let script = compare(&old, &new);
            let side = |skip: char| script.iter().filter(|(m, _)| *m != skip).map(|(_, l)| *l).collect::<Vec<_>>();
            prop_assert_eq!(side('+'), old);
            prop_assert_eq!(side('-'), new);
        }
    }
}
