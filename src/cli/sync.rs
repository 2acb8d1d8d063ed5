//! `gcluster sync`: commits between the hubs and the user's own repositories.

use std::collections::BTreeMap;
use std::path::Path;

use clap::{Args, Subcommand, ValueEnum};
use gcluster_git::sync::{self, Pulled, Pushed, Standing};
use gcluster_git::{Hub, Source};
use gcluster_types::Repository;
use serde_json::{Value, json};

use super::Globals;
use super::apply::Applied;
use super::objects;
use super::output::{note, print, structured};
use crate::client::{Connection, JSON, escape};
use crate::exit::{Failure, Result};
use crate::render::{fields, visible};

/// Bring commits from your checkout into the hub, and what was merged there back
///
/// Workers build on the hub, a copy of your repository that gcluster keeps; your checkout is yours. Commits go forwards
/// only, in both directions, and nothing that is not committed is ever touched.
#[derive(Args, Debug)]
pub(crate) struct SyncArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Show what is ahead where: base branches and branches of tickets
    Status(NamesArgs),
    /// Bring commits of your checkout's base branch into the hub
    Pull(NamesArgs),
    /// Bring what was merged in the hub into your checkout
    Push(PushArgs),
}

#[derive(Args, Debug)]
struct NamesArgs {
    /// Repositories [default: all of the namespace]
    #[arg(value_name = "REPOSITORY")]
    names: Vec<String>,
    /// Print as json or yaml
    #[arg(short, long, value_name = "FORMAT", value_enum)]
    output: Option<Form>,
}

#[derive(Args, Debug)]
struct PushArgs {
    /// Repositories [default: all of the namespace]
    #[arg(value_name = "REPOSITORY")]
    names: Vec<String>,
    /// The branches of tickets, too
    #[arg(long)]
    branches: bool,
    /// Print as json or yaml
    #[arg(short, long, value_name = "FORMAT", value_enum)]
    output: Option<Form>,
}

/// A form for programs.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// JSON
    Json,
    /// YAML
    Yaml,
}

/// What was found or done: for people as it comes, for programs as one list at the end.
struct Answer {
    form: Option<Form>,
    items: Vec<Value>,
    problems: Vec<String>,
}

impl Answer {
    fn new(form: Option<Form>, problems: Vec<String>) -> Answer {
        let items = problems.iter().map(|problem| json!({ "error": problem })).collect();
        Answer { form, items, problems }
    }

    fn done(&mut self, item: Value, text: &str) -> Result {
        self.items.push(item);
        if self.form.is_none() { print(text) } else { Ok(()) }
    }

    fn failed(&mut self, mut item: Value, problem: String) {
        item["error"] = json!(problem);
        self.items.push(item);
        self.problems.push(problem);
    }

    /// Prints the list, and fails when something did.
    fn end(self, what: &str) -> Result {
        let list = Value::Array(self.items);
        match self.form {
            None => {}
            Some(Form::Json) => print(&structured::json(&list)?)?,
            Some(Form::Yaml) => print(&structured::yaml(&list)?)?,
        }
        ended(self.problems, what)
    }
}

/// A repository with its hub on this machine.
struct Synced {
    name: String,
    base: String,
    hub: Hub,
    source: Source,
}

/// Does `gcluster sync`.
pub(crate) async fn run(globals: &Globals, args: SyncArgs) -> Result {
    let connection = globals.connect().await?;
    match args.verb {
        Verb::Status(args) => status(&connection, &args.names, args.output).await,
        Verb::Pull(args) => pull(&connection, &args.names, args.output).await,
        Verb::Push(args) => push(&connection, &args).await,
    }
}

async fn status(connection: &Connection, names: &[String], form: Option<Form>) -> Result {
    let (repositories, problems) = repositories(connection, names).await?;
    let mut answer = Answer::new(form, problems);
    let tickets = tickets(connection).await?;
    let mut bases = vec![["REPOSITORY", "BASE", "HUB", "CHECKOUT", "STATE"].map(str::to_owned).to_vec()];
    let mut branches =
        vec![["REPOSITORY", "BRANCH", "TICKET", "COMMITS", "CHECKOUT"].map(str::to_owned).to_vec()];
    let mut hints = Vec::new();
    for repository in &repositories {
        let mut item = json!({"repository": repository.name, "base": repository.base});
        let standing = match sync::standing(&repository.hub, &repository.source, &repository.base).await {
            Ok(standing) => standing,
            Err(error) => {
                answer.failed(item, format!("{}: {error}", repository.name));
                continue;
            }
        };
        let (state, hint) = state(repository, &standing);
        item["hub"] = json!(standing.hub);
        item["checkout"] = json!(standing.host);
        item["ahead"] = json!(standing.apart.map(|(ahead, _)| ahead));
        item["behind"] = json!(standing.apart.map(|(_, behind)| behind));
        let mut others = Vec::new();
        hints.extend(hint);
        bases.push(vec![
            repository.name.clone(),
            visible(&repository.base).into_owned(),
            short(&standing.hub),
            short(&standing.host),
            state,
        ]);
        let there = sync::branches(&repository.source).await.map_err(told)?;
        for (branch, commit) in repository.hub.branches(&repository.base).await.map_err(told)? {
            let commits = repository.hub.apart(&commit, &standing.hub).await.map_err(told)?;
            let ticket = tickets.get(&branch);
            let ahead = commits.map(|(ahead, _)| ahead);
            others.push(json!({"branch": branch, "ticket": ticket, "commit": commit, "ahead": ahead,
                "checkout": there.get(&branch)}));
            let in_checkout = match there.get(&branch) {
                Some(other) if *other == commit => "the same",
                Some(_) => "another commit",
                None => "-",
            };
            branches.push(vec![
                repository.name.clone(),
                visible(&branch).into_owned(),
                ticket.cloned().unwrap_or_else(|| "-".to_owned()),
                ahead.map_or_else(|| "?".to_owned(), |ahead| ahead.to_string()),
                in_checkout.to_owned(),
            ]);
        }
        item["branches"] = json!(others);
        answer.done(item, "")?;
    }
    if form.is_some() {
        return answer.end("cannot be compared");
    }
    if bases.len() > 1 {
        print(&fields::align(&bases, &mut Vec::new()))?;
    }
    if branches.len() > 1 {
        print(&format!("\n{}", fields::align(&branches, &mut Vec::new())))?;
    }
    if !hints.is_empty() {
        print(&format!("\n{}\n", hints.join("\n")))?;
    }
    answer.end("cannot be compared")
}

/// How hub and checkout stand to each other in a few words, and what to do about it.
fn state(repository: &Synced, standing: &Standing) -> (String, Option<String>) {
    let name = &repository.name;
    match standing.apart {
        Some((0, 0)) => ("the same".to_owned(), None),
        Some((ahead, 0)) => (
            format!("{} to push", commits(ahead)),
            Some(format!("gcluster sync push {name:<12} # into your checkout")),
        ),
        Some((0, behind)) => (
            format!("{} to pull", commits(behind)),
            Some(format!("gcluster sync pull {name:<12} # into the hub")),
        ),
        Some((ahead, behind)) => (
            format!("two ways: {ahead} in the hub, {behind} in the checkout"),
            Some(format!("{}   # joins both", rebase(repository))),
        ),
        None => ("nothing in common".to_owned(), None),
    }
}

async fn pull(connection: &Connection, names: &[String], form: Option<Form>) -> Result {
    if std::env::var_os("GCLUSTER_WORKSPACE").is_some_and(|workspace| !workspace.is_empty()) {
        return Err(Failure::failed("the base branch of a hub is not moved from a workspace")
            .hint("commit on the branch of the workspace; the rest is done for you"));
    }
    let (repositories, problems) = repositories(connection, names).await?;
    let mut answer = Answer::new(form, problems);
    for repository in repositories {
        let (name, base) = (&repository.name, &repository.base);
        let item = |result: &str| json!({"repository": name, "branch": base, "result": result});
        match sync::pull(&repository.hub, &repository.source, base).await {
            Ok(Pulled::UpToDate) => {
                answer.done(item("UpToDate"), &format!("{name}: {base} of the hub is up to date\n"))?;
            }
            Ok(Pulled::NothingNew(ahead)) => {
                let text = format!(
                    "{name}: nothing to pull; the hub has {} that the checkout lacks (gcluster sync push {name})\n",
                    commits(ahead)
                );
                let mut item = item("NothingNew");
                item["ahead"] = json!(ahead);
                answer.done(item, &text)?;
            }
            Ok(Pulled::Moved { commits: n, to }) => {
                let text = format!("{name}: {} pulled, {base} of the hub is at {}\n", commits(n), short(&to));
                let mut item = item("Moved");
                (item["commits"], item["commit"]) = (json!(n), json!(to));
                answer.done(item, &text)?;
            }
            Ok(Pulled::Diverged(standing)) => {
                answer.failed(item("Diverged"), diverged(&repository, standing.apart));
            }
            Err(error) => answer.failed(item("Failed"), format!("{name}: {error}")),
        }
    }
    answer.end("was not pulled")
}

async fn push(connection: &Connection, args: &PushArgs) -> Result {
    let (repositories, problems) = repositories(connection, &args.names).await?;
    let mut answer = Answer::new(args.output, problems);
    for repository in repositories {
        let mut branches = vec![repository.base.clone()];
        if args.branches {
            let others = repository.hub.branches(&repository.base).await.map_err(told)?;
            branches.extend(others.into_iter().map(|(branch, _)| branch));
        }
        for branch in branches {
            push_one(&repository, &branch, &mut answer).await?;
        }
    }
    answer.end("was not pushed")
}

async fn push_one(repository: &Synced, branch: &str, answer: &mut Answer) -> Result {
    let (name, shown) = (&repository.name, visible(branch));
    let item = |result: &str| json!({"repository": name, "branch": branch, "result": result});
    match sync::push(&repository.hub, &repository.source, branch).await {
        Ok(Pushed::UpToDate) => answer.done(item("UpToDate"), &format!("{name}: {shown} has nothing new\n"))?,
        Ok(Pushed::Created) => {
            answer.done(item("Created"), &format!("{name}: {shown} is in the checkout now\n"))?;
        }
        Ok(Pushed::Moved { commits: n, checkout }) => {
            let what = n.map_or_else(|| "pushed".to_owned(), |n| format!("{} pushed", commits(n)));
            let mut item = item("Moved");
            (item["commits"], item["folder"]) = (json!(n), json!(checkout));
            let files = checkout
                .map(|checkout| format!(", with the files in {}", checkout.display()))
                .unwrap_or_default();
            answer.done(item, &format!("{name}: {shown}: {what}{files}\n"))?;
        }
        Ok(Pushed::Dirty(checkout)) => answer.failed(
            item("Dirty"),
            format!(
                "{name}: {shown} is checked out in {} with changes that are not committed: commit or stash them and \
                 push again",
                checkout.display()
            ),
        ),
        Ok(Pushed::Diverged) if branch == repository.base => {
            answer.failed(item("Diverged"), diverged(repository, None));
        }
        Ok(Pushed::Diverged) => answer.failed(
            item("Diverged"),
            format!(
                "{name}: {shown} of the checkout has commits of its own: rename it there (git branch -m {shown} OTHER) \
                 and push again"
            ),
        ),
        Err(error) => answer.failed(item("Failed"), format!("{name}: {shown}: {error}")),
    }
    Ok(())
}

fn diverged(repository: &Synced, apart: Option<(i64, i64)>) -> String {
    let (name, base) = (&repository.name, &repository.base);
    let how = match apart {
        Some((ahead, behind)) => format!(" ({ahead} in the hub, {behind} in the checkout)"),
        None => String::new(),
    };
    format!(
        "{name}: {base} has gone two ways{how}. Put your commits on top of the hub's, in your checkout, then pull: {}",
        rebase(repository)
    )
}

/// The command that puts the user's commits on top of the hub's.
fn rebase(repository: &Synced) -> String {
    let hub = repository.hub.path().display();
    format!("git pull --rebase '{hub}' {} && gcluster sync pull {}", repository.base, repository.name)
}

fn ended(problems: Vec<String>, what: &str) -> Result {
    match problems.len() {
        0 => Ok(()),
        n => {
            let message =
                if n == 1 { format!("1 branch {what}") } else { format!("{n} branches: each {what}") };
            Err(problems.into_iter().fold(Failure::failed(message), Failure::cause))
        }
    }
}

/// The named repositories, or all; with a hub that can be reached from here. And why others have none: they do not keep
/// the rest from being seen to.
async fn repositories(connection: &Connection, names: &[String]) -> Result<(Vec<Synced>, Vec<String>)> {
    let collection =
        format!("/apis/gcluster.dev/v1alpha1/namespaces/{}/repositories", escape(&connection.namespace));
    let mut found = Vec::new();
    if names.is_empty() {
        found = objects::items(connection.get(&collection, JSON).await?);
        if found.is_empty() {
            note(&format!(
                "no repository in namespace {}; `gcluster init` writes one to begin with",
                connection.namespace
            ));
        }
    }
    for name in names {
        let path = format!("{collection}/{}", escape(name));
        let repository = connection.get(&path, JSON).await;
        found.push(
            repository.map_err(|failure| failure.hint("`gcluster get repositories` lists what there is"))?,
        );
    }
    let (mut repositories, mut problems) = (Vec::new(), Vec::new());
    for object in found {
        match synced(&object) {
            Ok(repository) => repositories.push(repository),
            Err(failure) if names.len() == 1 => return Err(failure),
            Err(failure) => problems.push(failure.message),
        }
    }
    Ok((repositories, problems))
}

/// What is needed of a Repository object.
fn synced(object: &Value) -> Result<Synced> {
    let repository: Repository = serde_json::from_value(object.clone()).map_err(|error| {
        Failure::failed(format!("the master answered with a repository of an unknown shape: {error}"))
    })?;
    let name = repository.metadata.name.unwrap_or_default();
    let status = repository.status.unwrap_or_default();
    let Some(hub) = status.hub.filter(|_| status.base_commit.is_some()) else {
        return Err(Failure::failed(format!("the hub of {name} is not made yet"))
            .hint(format!("`gcluster describe repository {name}` says why")));
    };
    if !Path::new(&hub).is_dir() {
        return Err(Failure::failed(format!("the hub of {name}, {hub}, is not on this machine"))
            .hint("run this where the master runs"));
    }
    let source = Source::of(&repository.spec.path);
    Ok(Synced { hub: Hub::new(Path::new(&hub), "sync"), base: repository.spec.base, source, name })
}

/// Tickets by their branch.
async fn tickets(connection: &Connection) -> Result<BTreeMap<String, String>> {
    let path = format!("/apis/gcluster.dev/v1alpha1/namespaces/{}/tickets", escape(&connection.namespace));
    let tickets = objects::items(connection.get(&path, JSON).await?);
    let pair = |ticket: &Value| {
        let branch = objects::text(ticket, "/status/branch").to_owned();
        (!branch.is_empty()).then(|| (branch, objects::text(ticket, "/metadata/name").to_owned()))
    };
    Ok(tickets.iter().filter_map(pair).collect())
}

/// Says of every applied repository whether its hub lacks commits of the checkout.
pub(crate) async fn warn_stale(applied: &[Applied]) {
    for one in stale(applied).await {
        note(&format!("warning: the hub of {one}; `gcluster sync pull` brings them in"));
    }
}

/// The same as an error, unless it is forced.
pub(crate) async fn refuse_stale(applied: &[Applied], force: bool) -> Result {
    if force {
        warn_stale(applied).await;
        return Ok(());
    }
    match stale(applied).await {
        stale if stale.is_empty() => Ok(()),
        stale => Err(stale
            .into_iter()
            .fold(Failure::failed("workers would begin from an old state"), |failure, one| {
                failure.cause(format!("the hub of {one}"))
            })
            .hint("`gcluster sync pull` brings them in; `gcluster up --force` goes on without them")),
    }
}

/// `app lacks 3 commits of your checkout` for each repository of which that is so.
async fn stale(applied: &[Applied]) -> Vec<String> {
    let mut stale = Vec::new();
    for object in applied.iter().map(|one| &one.object) {
        if objects::text(object, "/kind") != "Repository" {
            continue;
        }
        // One whose hub is made only now has all of it; one that is elsewhere is not looked at.
        let Ok(repository) = synced(object) else { continue };
        let standing = sync::standing(&repository.hub, &repository.source, &repository.base).await;
        if let Ok(Standing { apart: Some((_, behind @ 1..)), .. }) = standing {
            stale.push(format!("{} lacks {} of your checkout", repository.name, commits(behind)));
        }
    }
    stale
}

fn commits(n: i64) -> String {
    if n == 1 { "1 commit".to_owned() } else { format!("{n} commits") }
}

fn short(commit: &str) -> String {
    commit.chars().take(12).collect()
}

fn told(error: gcluster_git::Error) -> Failure {
    Failure::failed(error.to_string())
}
