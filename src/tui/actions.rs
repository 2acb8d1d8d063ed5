//! Asking the master for something, each in one request that the command line could send too.

use gcluster_types::kinds::agent::RunPolicy;
use gcluster_types::kinds::ticket::{HumanVerdict, TicketState};
use gcluster_types::labels::{MANAGER_RUN, MANAGER_STEER};
use gcluster_types::sexpr::edit::laid_out;
use gcluster_types::sexpr::print::print;
use gcluster_types::sexpr::program::{Body, parse_definition};
use http::Method;
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use super::fleet::Key;
use super::msg::{Action, Draft, Fetch, Refusal};
use crate::changes;
use crate::client::{Connection, JSON, MERGE, escape, query};
use crate::config::{self, person};
use crate::describe;
use crate::exit::{Failure, Kind, Result};
use crate::rollback::{self, Goal, How};

/// Content type of a JSON patch.
const JSON_PATCH: &str = "application/json-patch+json";

/// Does what was asked for, and says what was done.
pub(crate) async fn perform(
    connection: &Connection,
    action: &Action,
) -> std::result::Result<String, Refusal> {
    let done = match action {
        Action::Run(key, run) => set_run(connection, key, *run).await,
        Action::Restart(key) => {
            let patch = json!({"spec": {"restartedAt": Timestamp::now().to_string(), "run": "Running"}});
            patch_run(connection, key, &patch).await.map(|()| format!("{} restarted", key.name()))
        }
        Action::Delete(key) => {
            let options =
                json!({"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background"});
            let deleted = connection.delete(&object("agents", key), &options).await;
            deleted.map(|_| format!("{} is being deleted", key.name()))
        }
        Action::Send(draft) => send(connection, draft).await,
        Action::Edit { agent, method, before, prompt } => {
            return edit(connection, agent, method.as_deref(), before, prompt).await;
        }
        Action::Rollback(key, revision) => roll_back(connection, key, revision).await,
        Action::Decide { ticket, verdict, text } => decide(connection, ticket, *verdict, text).await,
        Action::Want(ticket, state) => want(connection, ticket, *state).await,
        Action::DeleteTicket(ticket) => {
            let options =
                json!({"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background"});
            let deleted = connection.delete(&object("tickets", ticket), &options).await;
            deleted.map(|_| format!("{} is being deleted", ticket.name()))
        }
    };
    done.map_err(|failure| refusal(&failure))
}

/// A failure as one line.
fn refusal(failure: &Failure) -> Refusal {
    let mut text = failure.message.clone();
    for cause in &failure.causes {
        text.push_str(": ");
        text.push_str(cause);
    }
    Refusal { text, theirs: None }
}

/// Path of an object.
pub(crate) fn object(plural: &str, key: &Key) -> String {
    format!("{}/{}", collection(plural, key), escape(key.name()))
}

fn collection(plural: &str, key: &Key) -> String {
    format!("/apis/gcluster.dev/v1alpha1/namespaces/{}/{plural}", escape(key.namespace()))
}

async fn set_run(connection: &Connection, key: &Key, run: RunPolicy) -> Result<String> {
    patch_run(connection, key, &json!({"spec": {"run": run}})).await?;
    let word = match run {
        RunPolicy::Running => "started",
        RunPolicy::Paused => "paused: what runs may end, nothing new begins",
        RunPolicy::Stopped => "stopped",
    };
    Ok(format!("{} {word}", key.name()))
}

async fn patch_run(connection: &Connection, key: &Key, patch: &Value) -> Result {
    let path = format!("{}{}", object("agents", key), query(&[("fieldManager", MANAGER_RUN)]));
    connection.send(Method::PATCH, &path, MERGE, patch).await.map(|_| ())
}

/// A decision is one field that is replaced whole: nothing of an older one stays.
async fn decide(connection: &Connection, key: &Key, verdict: HumanVerdict, text: &str) -> Result<String> {
    let decision =
        json!({"verdict": verdict, "text": text, "by": person(), "at": Timestamp::now().to_string()});
    patch_ticket(connection, key, &json!({"spec": {"decision": decision}})).await?;
    let word = match verdict {
        HumanVerdict::Approve => "approved: its checks and the merge come next",
        HumanVerdict::SendBack if text.is_empty() => "goes on",
        HumanVerdict::SendBack => "sent back to its worker",
        HumanVerdict::Stop => "is being stopped",
    };
    Ok(format!("{} {word}", key.name()))
}

async fn want(connection: &Connection, key: &Key, state: TicketState) -> Result<String> {
    patch_ticket(connection, key, &json!({"spec": {"state": state}})).await?;
    let word = match state {
        TicketState::Open => "is open again",
        TicketState::Held => "is held: z opens it again",
        TicketState::Cancelled => "is cancelled",
    };
    Ok(format!("{} {word}", key.name()))
}

async fn patch_ticket(connection: &Connection, key: &Key, patch: &Value) -> Result {
    let manager = config::manager(MANAGER_STEER);
    let path = format!("{}{}", object("tickets", key), query(&[("fieldManager", &manager)]));
    connection.send(Method::PATCH, &path, MERGE, patch).await.map(|_| ())
}

async fn send(connection: &Connection, draft: &Draft) -> Result<String> {
    let mut spec = json!({"agent": draft.agent.name(), "text": draft.text, "delivery": draft.delivery});
    if let Some(iteration) = &draft.iteration {
        spec["iteration"] = iteration.clone().into();
    }
    spec["from"] = person().into();
    let body = json!({
        "apiVersion": "gcluster.dev/v1alpha1", "kind": "Message", "metadata": {"name": draft.name}, "spec": spec,
    });
    let path =
        format!("{}{}", collection("messages", &draft.agent), query(&[("fieldManager", "gcluster-send")]));
    match connection.send(Method::POST, &path, JSON, &body).await {
        Ok(_) => Ok(String::new()),
        // The name is chosen at random: who has it is this very message, sent over a connection that broke.
        Err(failure) if failure.kind == Kind::Conflict => Ok(String::new()),
        Err(failure) => Err(failure),
    }
}

/// Replaces one prompt if it still is what was edited.
async fn edit(
    connection: &Connection,
    agent: &Key,
    method: Option<&str>,
    before: &str,
    prompt: &str,
) -> std::result::Result<String, Refusal> {
    let form = with_prompt(before, prompt).ok_or_else(|| Refusal {
        text: "this definition is no prompt: edit it in its file and apply it".into(),
        theirs: None,
    })?;
    let path = match method {
        Some(method) => format!("/spec/methods/{}", method.replace('~', "~0").replace('/', "~1")),
        None => "/spec/definition".to_owned(),
    };
    // The test makes it one step: either what was edited is still there, or nothing is changed.
    let patch = json!([
        {"op": "test", "path": path, "value": before},
        {"op": "replace", "path": path, "value": form},
    ]);
    let manager = config::manager(MANAGER_STEER);
    let url = format!("{}{}", object("agents", agent), query(&[("fieldManager", &manager)]));
    match connection.send(Method::PATCH, &url, JSON_PATCH, &patch).await {
        Ok(_) => Ok(format!("{} has a new prompt; its next iteration uses it", agent.name())),
        Err(failure) => {
            // Which of the two it was, the object itself tells.
            let now = connection.get(&object("agents", agent), JSON).await.ok();
            let now = now.as_ref().and_then(|now| now.pointer(&path)).and_then(Value::as_str);
            match now.filter(|now| *now != before) {
                Some(theirs) => Err(Refusal {
                    text: "somebody else has changed this prompt meanwhile".into(),
                    theirs: Some(theirs.to_owned()),
                }),
                None => Err(refusal(&failure)),
            }
        }
    }
}

/// The canonical form with another prompt; nothing when the form is no prompt.
pub(crate) fn with_prompt(form: &str, prompt: &str) -> Option<String> {
    let mut definition = parse_definition(form).ok()?;
    if !matches!(definition.body, Body::Prompt(_)) {
        return None;
    }
    // Laid out as a file would be, so that the edit can be taken over into one.
    let prompt = laid_out(prompt);
    definition.body = Body::Prompt(prompt);
    Some(print(&definition.form()))
}

async fn roll_back(connection: &Connection, key: &Key, revision: &str) -> Result<String> {
    let manager = config::manager(MANAGER_STEER);
    let how = How { manager: &manager, replaced_at: None };
    let done =
        rollback::roll_back(connection, key.namespace(), key.name(), Goal::Name(revision), how).await?;
    Ok(match done.written {
        true => format!("{} is back at the text of revision {}", key.name(), done.revision),
        false => format!("{} has the text of revision {} already", key.name(), done.revision),
    })
}

/// Reads a text: its title and its lines.
pub(crate) async fn fetch(connection: &Connection, fetch: &Fetch) -> Result<(String, String)> {
    match fetch {
        Fetch::Yaml(plural, key) => {
            let mut value = connection.get(&object(plural, key), JSON).await?;
            if let Some(metadata) = value["metadata"].as_object_mut() {
                metadata.remove("managedFields");
            }
            let text = serde_yaml::to_string(&value).map_err(|error| {
                Failure::failed(format!("{} cannot be shown as YAML: {error}", key.name()))
            })?;
            Ok((format!("{plural}/{}", key.name()), text))
        }
        Fetch::Describe(plural, key) => {
            let value = connection.get(&object(plural, key), JSON).await?;
            Ok((title(&value, key), describe::describe(connection, &value).await?))
        }
        Fetch::Check(key) => {
            let value = connection.get(&object("checks", key), JSON).await?;
            Ok((title(&value, key), describe::with_log(connection, value).await?))
        }
        Fetch::Changes(key) => {
            let text = changes::of_ticket(connection, key.namespace(), key.name()).await?;
            Ok((format!("changes of {}", key.name()), text))
        }
    }
}

/// `ticket/t-5`.
fn title(object: &Value, key: &Key) -> String {
    format!("{}/{}", object["kind"].as_str().unwrap_or_default().to_lowercase(), key.name())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prompt_is_replaced_in_its_form_and_a_pipeline_is_not() {
        let form = "(defmethod build (notes)\n  \"Old \\\"text\\\".\")";
        let edited = with_prompt(form, "New\n\"text\" [notes].").unwrap();
        let Body::Prompt(prompt) = parse_definition(&edited).unwrap().body else { panic!("a prompt") };
        assert_eq!(prompt, "New\n\"text\" [notes].");
        assert!(edited.starts_with("(defmethod build (notes)"));
        assert_eq!(with_prompt("(defpipeline p ()\n  (pipeline\n    (step \"a\" (loop a))))", "x"), None);
    }
}
