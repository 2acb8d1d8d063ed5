//! `gcluster wait`: until a condition holds, a field has a value, or an object is gone.

use std::time::Duration;

use clap::Args;
use serde_json::Value;

use super::kinds::Catalog;
use super::objects::{self, Selection, parse_timeout, poll};
use super::output::jsonpath::{Path, show};
use super::output::print;
use super::{Globals, complete};
use crate::client::JSON;
use crate::exit::{Failure, Kind, Result};

/// Wait until objects are as you want them
#[derive(Args, Debug)]
pub(crate) struct WaitArgs {
    /// KIND NAME… or KIND/NAME…
    #[arg(required = true, value_name = "KIND")]
    #[arg(add = complete::objects())]
    words: Vec<String>,
    /// delete, create, condition=NAME[=VALUE] or jsonpath={.status.phase}=VALUE
    #[arg(long = "for", value_name = "WHAT", value_parser = parse_goal)]
    goal: Goal,
    /// Longest time to wait
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = parse_timeout)]
    timeout: Duration,
}

/// What is waited for.
#[derive(Clone, Debug, PartialEq)]
enum Goal {
    Delete,
    Create,
    Condition { name: String, value: String },
    Field { path: Path, value: Option<String> },
}

fn parse_goal(text: &str) -> std::result::Result<Goal, String> {
    if let Some(condition) = text.strip_prefix("condition=") {
        let (name, value) = condition.split_once('=').unwrap_or((condition, "True"));
        return Ok(Goal::Condition { name: name.to_owned(), value: value.to_owned() });
    }
    if let Some(rest) = text.strip_prefix("jsonpath=") {
        let (path, value) = match rest.strip_prefix('{').and_then(|rest| rest.split_once('}')) {
            Some((path, after)) => (path, after.strip_prefix('=')),
            None => rest.split_once('=').map_or((rest, None), |(path, value)| (path, Some(value))),
        };
        return Ok(Goal::Field { path: Path::parse(path)?, value: value.map(str::to_owned) });
    }
    match text {
        "delete" => Ok(Goal::Delete),
        "create" => Ok(Goal::Create),
        _ => Err("use delete, create, condition=NAME[=VALUE] or jsonpath={PATH}=VALUE".into()),
    }
}

impl Goal {
    fn is_met(&self, object: &Value) -> bool {
        match self {
            Goal::Delete => false,
            Goal::Create => true,
            Goal::Condition { name, value } => {
                let conditions = object.pointer("/status/conditions").and_then(Value::as_array);
                conditions.into_iter().flatten().any(|condition| {
                    let same = |key: &str, wanted: &str| {
                        condition[key].as_str().is_some_and(|text| text.eq_ignore_ascii_case(wanted))
                    };
                    same("type", name) && same("status", value)
                })
            }
            Goal::Field { path, value } => {
                let found = path.select(object);
                match value {
                    Some(value) => found.iter().any(|found| show(found) == *value),
                    None => !found.is_empty(),
                }
            }
        }
    }

    fn said(&self) -> &'static str {
        match self {
            Goal::Delete => "deleted",
            Goal::Create => "created",
            Goal::Condition { .. } | Goal::Field { .. } => "condition met",
        }
    }
}

/// Does `gcluster wait`.
pub(crate) async fn run(globals: &Globals, args: WaitArgs) -> Result {
    let connection = globals.connect().await?;
    let catalog = Catalog::fetch(&connection).await?;
    let Selection::Objects(named) = objects::select(&catalog, &args.words)? else {
        return Err(Failure::usage("name the objects to wait for"));
    };
    for one in &named {
        let path = one.path(&connection.namespace);
        poll(args.timeout, &one.display(), async || match connection.get(&path, JSON).await {
            Ok(object) => Ok(args.goal.is_met(&object).then_some(())),
            Err(failure) if failure.kind == Kind::NotFound && args.goal == Goal::Delete => Ok(Some(())),
            Err(failure) if failure.kind == Kind::NotFound && args.goal == Goal::Create => Ok(None),
            Err(failure) => Err(failure),
        })
        .await?;
        print(&format!("{} {}\n", one.display(), args.goal.said()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn goals_are_read_and_met_as_kubectl_has_them() {
        let object =
            json!({"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}});
        for (goal, met) in [
            ("condition=Ready", true),
            ("condition=ready=true", true),
            ("condition=Ready=False", false),
            ("jsonpath={.status.phase}=Running", true),
            ("jsonpath=.status.phase=Done", false),
            ("jsonpath={.status.phase}", true),
            ("jsonpath={.status.other}", false),
            ("create", true),
            ("delete", false),
        ] {
            assert_eq!(parse_goal(goal).unwrap().is_met(&object), met, "{goal}");
        }
        assert!(parse_goal("happiness").is_err());
    }
}
