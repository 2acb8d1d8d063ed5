//! `gcluster get`: objects as a table or whole, once or as they change.

use clap::Args;
use gcluster_types::labels::LOCK;
use gcluster_types::tickets::lease_name;
use serde_json::Value;

use super::kinds::{Catalog, Resource};
use super::objects::{self, Named, Selection, Selectors, text};
use super::output::jsonpath::Path;
use super::output::table::{self, Natural, Printer, Show};
use super::output::{Format, note, print, psource, structured};
use super::{Globals, complete};
use crate::client::{Connection, JSON, TABLE, query};
use crate::exit::{Failure, Result};

/// Show objects: `get agents`, `get agent builder -o yaml`, `get iterations -w`
#[derive(Args, Debug)]
pub(crate) struct GetArgs {
    /// KIND[,KIND…] [NAME…] or KIND/NAME…: agents (ag), revisions (rev), iterations (it), events (ev), …
    #[arg(required = true, value_name = "KIND")]
    #[arg(add = complete::objects())]
    words: Vec<String>,
    /// Form: wide, yaml, json, name, p (source of agents and revisions), jsonpath=TEMPLATE or custom-columns=HEADER:PATH,…
    #[arg(short, long, value_name = "FORM")]
    output: Option<Format>,
    /// Go on and show every change
    #[arg(short, long)]
    watch: bool,
    /// Only objects with these labels, such as gcluster.dev/agent=builder
    #[arg(short = 'l', long, value_name = "LABELS")]
    selector: Option<String>,
    /// Only objects with these fields, such as status.phase=Running
    #[arg(long, value_name = "FIELDS")]
    field_selector: Option<String>,
    /// Of all namespaces
    #[arg(short = 'A', long)]
    all_namespaces: bool,
    /// Sort by the value at this JSONPath, such as .metadata.creationTimestamp
    #[arg(long, value_name = "PATH", value_parser = Path::parse_argument)]
    sort_by: Option<Path>,
    /// Leave the heading out
    #[arg(long)]
    no_headers: bool,
    /// Show labels as the last column
    #[arg(long)]
    show_labels: bool,
    /// Show in YAML and JSON who set which field
    #[arg(long)]
    show_managed_fields: bool,
    /// Succeed silently when a named object does not exist
    #[arg(long)]
    ignore_not_found: bool,
}

impl GetArgs {
    fn format(&self) -> Format {
        self.output.clone().unwrap_or_default()
    }

    /// Locks are Leases, and a table of them says who waits.
    fn means_locks(&self) -> bool {
        let plain = self.output.is_none() && !self.watch && !self.all_namespaces && self.selector.is_none();
        plain && self.field_selector.is_none() && matches!(&self.words[..], [word] if is_lock(word))
    }

    /// The same, asked in any other way: locks are the Leases with that label, named after them.
    fn with_leases(mut self) -> Self {
        match self.words.split_first() {
            Some((word, [])) if is_lock(word) => {
                let more = self.selector.take().map(|more| format!(",{more}")).unwrap_or_default();
                self.selector = Some(format!("{LOCK}{more}"));
                self.words = vec!["leases".to_owned()];
            }
            Some((word, names)) if is_lock(word) => {
                let names = names.iter().map(|name| lease_name(name));
                self.words = std::iter::once("leases".to_owned()).chain(names).collect();
            }
            _ => {
                for word in &mut self.words {
                    let lock = word
                        .split_once('/')
                        .filter(|(kind, _)| is_lock(kind))
                        .map(|(_, name)| lease_name(name));
                    *word = lock.map_or_else(|| std::mem::take(word), |lease| format!("leases/{lease}"));
                }
            }
        }
        self
    }

    fn selectors(&self) -> Selectors<'_> {
        Selectors { labels: self.selector.as_deref(), fields: self.field_selector.as_deref() }
    }

    fn show(&self, prefix: String) -> Show {
        Show {
            wide: self.format() == Format::Wide,
            no_headers: self.no_headers,
            namespace: self.all_namespaces,
            labels: self.show_labels,
            prefix,
        }
    }
}

fn is_lock(word: &str) -> bool {
    matches!(word, "lock" | "locks")
}

/// Does `gcluster get`.
pub(crate) async fn run(globals: &Globals, args: GetArgs) -> Result {
    if args.means_locks() {
        return super::locks::list(globals).await;
    }
    let args = args.with_leases();
    let connection = globals.connect().await?;
    let catalog = Catalog::fetch(&connection).await?;
    let selection = objects::select(&catalog, &args.words)?;
    if matches!(selection, Selection::Objects(_)) && (args.selector.is_some() || args.all_namespaces) {
        return Err(Failure::usage("a name cannot be combined with -l or -A"));
    }
    if args.watch {
        return watch(&connection, &selection, &args).await;
    }
    match args.format() {
        Format::Table | Format::Wide => tables(&connection, &selection, &args).await,
        format => whole(&connection, &selection, &args, &format).await,
    }
}

/// Where objects of the kind are looked for.
fn scope<'a>(connection: &'a Connection, resource: &Resource, args: &GetArgs) -> Option<&'a str> {
    (resource.namespaced && !args.all_namespaces).then_some(connection.namespace.as_str())
}

async fn tables(connection: &Connection, selection: &Selection<'_>, args: &GetArgs) -> Result {
    let mut tables: Vec<(&Resource, Value)> = Vec::new();
    match selection {
        Selection::Kinds(kinds) => {
            for resource in kinds {
                let mut pairs = args.selectors().pairs();
                if args.sort_by.is_some() {
                    pairs.push(("includeObject", "Object"));
                }
                let path =
                    format!("{}{}", resource.collection(scope(connection, resource, args)), query(&pairs));
                tables.push((resource, connection.get(&path, TABLE).await?));
            }
        }
        Selection::Objects(named) => {
            for one in named {
                let Some(table) =
                    found(connection.get(&one.path(&connection.namespace), TABLE).await, one, args)?
                else {
                    continue;
                };
                match tables.last_mut().filter(|(resource, _)| *resource == one.resource) {
                    Some((_, first)) => append_rows(first, &table),
                    None => tables.push((one.resource, table)),
                }
            }
        }
    }
    let several = tables.len() > 1;
    let named = matches!(selection, Selection::Objects(_));
    let mut out = Vec::new();
    for (resource, mut table) in tables {
        sort(&mut table, args, named);
        let prefix = if several { format!("{}/", resource.qualified()) } else { String::new() };
        let text = Printer::new(args.show(prefix)).render(&table);
        if !text.is_empty() {
            out.push(text);
        }
    }
    if out.is_empty() && !named {
        note(&nothing_found(connection, selection, args));
    }
    print(&out.join("\n"))
}

fn append_rows(table: &mut Value, more: &Value) {
    if let Some(rows) = table.get_mut("rows").and_then(Value::as_array_mut) {
        rows.extend(table::rows(more).iter().cloned());
    }
}

fn sort(table: &mut Value, args: &GetArgs, named: bool) {
    match &args.sort_by {
        Some(path) => {
            if let Some(rows) = table.get_mut("rows").and_then(Value::as_array_mut) {
                rows.sort_by_cached_key(|row| sort_key(&row["object"], path));
            }
        }
        None if named => {}
        None => table::sort_naturally(table),
    }
}

/// Numbers before texts, numbers by value, texts naturally; what has no such field comes first.
fn sort_key(object: &Value, path: &Path) -> (u8, i128, Natural) {
    match path.select(object).first() {
        None => (0, 0, Natural(String::new())),
        Some(Value::Number(number)) => {
            // Micro-units keep the order of fractions such as costs.
            let micros = number.as_f64().map_or(0, |value| (value * 1e6) as i128);
            (1, micros, Natural(String::new()))
        }
        Some(other) => (2, 0, Natural(super::output::jsonpath::show(other))),
    }
}

fn nothing_found(connection: &Connection, selection: &Selection<'_>, args: &GetArgs) -> String {
    let namespaced = match selection {
        Selection::Kinds(kinds) => kinds.iter().any(|kind| kind.namespaced),
        Selection::Objects(_) => true,
    };
    match namespaced && !args.all_namespaces {
        true => format!("No resources found in {} namespace.", connection.namespace),
        false => "No resources found.".into(),
    }
}

/// An answer about a named object; nothing when it may be missing.
fn found(answer: Result<Value>, named: &Named<'_>, args: &GetArgs) -> Result<Option<Value>> {
    match answer {
        Ok(value) => Ok(Some(value)),
        Err(failure) if failure.kind == crate::exit::Kind::NotFound && args.ignore_not_found => Ok(None),
        Err(failure) => Err(objects::not_found_hint(failure, named.resource)),
    }
}

async fn whole(
    connection: &Connection,
    selection: &Selection<'_>,
    args: &GetArgs,
    format: &Format,
) -> Result {
    let mut all = Vec::new();
    match selection {
        Selection::Kinds(kinds) => {
            for resource in kinds {
                let list =
                    objects::list(connection, resource, scope(connection, resource, args), args.selectors());
                let mut items = objects::items(list.await?);
                items.sort_by_cached_key(|object| {
                    let text = |path| Natural(text(object, path).to_owned());
                    (text("/metadata/namespace"), text("/metadata/name"))
                });
                all.append(&mut items);
            }
        }
        Selection::Objects(named) => {
            for one in named {
                all.extend(found(connection.get(&one.path(&connection.namespace), JSON).await, one, args)?);
            }
        }
    }
    if let Some(path) = &args.sort_by {
        all.sort_by_cached_key(|object| sort_key(object, path));
    }
    if *format == Format::P {
        return print_source(&all);
    }
    let one = matches!(selection, Selection::Objects(named) if named.len() == 1);
    print(&render(all, one, args, format)?)
}

/// P source of agents and revisions. What cannot be printed is told by a comment and on standard error: fails.
fn print_source(all: &[Value]) -> Result {
    let source = psource::source(all)?;
    print(&source.text)?;
    if source.missing.is_empty() {
        return Ok(());
    }
    source.missing.iter().for_each(|line| note(line));
    Err(Failure::reported())
}

fn render(mut all: Vec<Value>, one: bool, args: &GetArgs, format: &Format) -> Result<String> {
    if !args.show_managed_fields {
        all.iter_mut().for_each(structured::hide_managed_fields);
    }
    if one && all.is_empty() {
        return Ok(String::new());
    }
    let names = |all: &[Value]| all.iter().map(|object| name(object) + "\n").collect::<String>();
    let wrapped = |mut all: Vec<Value>| if one { all.remove(0) } else { structured::list(all) };
    match format {
        Format::Name => Ok(names(&all)),
        Format::Columns(columns) => Ok(columns.render(&all, !args.no_headers)),
        Format::JsonPath(template) => Ok(template.render(&wrapped(all))),
        Format::Json => structured::json(&wrapped(all)),
        Format::P => Ok(psource::source(&all)?.text),
        Format::Yaml | Format::Table | Format::Wide => structured::yaml(&wrapped(all)),
    }
}

/// `agent.gcluster.dev/builder`.
pub(crate) fn name(object: &Value) -> String {
    let kind = text(object, "/kind").to_lowercase();
    match text(object, "/apiVersion").split_once('/') {
        Some((group, _)) => format!("{kind}.{group}/{}", text(object, "/metadata/name")),
        None => format!("{kind}/{}", text(object, "/metadata/name")),
    }
}

/// Shows what is there, then every change, until Ctrl-C. A watch that the server ends is begun again.
async fn watch(connection: &Connection, selection: &Selection<'_>, args: &GetArgs) -> Result {
    let (resource, name) = match selection {
        Selection::Kinds(kinds) if kinds.len() == 1 => (kinds[0], None),
        Selection::Objects(named) if named.len() == 1 => (named[0].resource, Some(named[0].name.clone())),
        _ => return Err(Failure::usage("-w watches one kind or one object at a time")),
    };
    let mut fields = args.field_selector.clone().unwrap_or_default();
    if let Some(name) = &name {
        let comma = if fields.is_empty() { "" } else { "," };
        fields = format!("{fields}{comma}metadata.name={name}");
    }
    let fields = (!fields.is_empty()).then_some(fields);
    let selectors = Selectors { labels: args.selector.as_deref(), fields: fields.as_deref() };
    let path = resource.collection(scope(connection, resource, args));
    let as_table = matches!(args.format(), Format::Table | Format::Wide);
    let accept = if as_table { TABLE } else { JSON };
    let mut printer = Printer::new(args.show(String::new()));
    let mut seen: Option<String> = None;
    loop {
        let list = connection.get(&format!("{path}{}", query(&selectors.pairs())), accept).await?;
        let mut version = text(&list, "/metadata/resourceVersion").to_owned();
        let mut list = list;
        if let Some(seen) = seen.take() {
            keep_newer(&mut list, &seen);
        }
        if as_table {
            sort(&mut list, args, false);
            print(&printer.render_changed(list, false))?;
        } else {
            for object in objects::items(list) {
                print(&document(with_type(object, resource), args)?)?;
            }
        }
        version = follow(connection, &path, selectors, accept, version, |event, object| {
            print(&match as_table {
                true => printer.render_changed(object, event == "DELETED"),
                false => document(with_type(object, resource), args)?,
            })
        })
        .await?;
        seen = Some(version);
    }
}

/// After a gap in a watch: only what has changed since, for the rest was shown.
fn keep_newer(list: &mut Value, seen: &str) {
    let number = |text: &str| text.parse::<u64>().unwrap_or(u64::MAX);
    let seen = number(seen);
    for (key, path) in [("rows", "/object/metadata/resourceVersion"), ("items", "/metadata/resourceVersion")]
    {
        if let Some(all) = list.get_mut(key).and_then(Value::as_array_mut) {
            all.retain(|one| number(text(one, path)) > seen);
        }
    }
}

fn with_type(mut object: Value, resource: &Resource) -> Value {
    if let Some(map) = object.as_object_mut() {
        map.entry("apiVersion").or_insert_with(|| resource.api_version().into());
        map.entry("kind").or_insert_with(|| resource.kind.clone().into());
    }
    object
}

fn document(object: Value, args: &GetArgs) -> Result<String> {
    let format = args.format();
    let text = render(vec![object], true, args, &format)?;
    Ok(match format {
        Format::Yaml => format!("---\n{text}"),
        Format::JsonPath(_) => format!("{text}\n"),
        _ => text,
    })
}

/// Hands on every change after `version` until the history is no longer there; resumes when the server ends a
/// watch. Answers the newest version that was seen.
pub(crate) async fn follow(
    connection: &Connection,
    path: &str,
    selectors: Selectors<'_>,
    accept: &str,
    mut version: String,
    mut each: impl FnMut(&str, Value) -> Result,
) -> Result<String> {
    loop {
        let mut pairs = selectors.pairs();
        pairs.extend([
            ("watch", "true"),
            ("allowWatchBookmarks", "true"),
            ("resourceVersion", version.as_str()),
        ]);
        let path = format!("{path}{}", query(&pairs));
        let mut lines = connection.lines(&path, accept).await?;
        let mut newest = None;
        let ended = loop {
            // A cut connection shows itself as an error here; the next request tells whether the master is gone.
            let Ok(Some(line)) = lines.next().await else { break false };
            let Ok(mut event) = serde_json::from_str::<Value>(&line) else { continue };
            let object = event["object"].take();
            let kind = event["type"].as_str().unwrap_or_default();
            if kind == "ERROR" {
                break true;
            }
            let table_version =
                object.pointer("/rows/0/object/metadata/resourceVersion").and_then(Value::as_str);
            let own = match text(&object, "/metadata/resourceVersion") {
                "" => table_version,
                own => Some(own),
            };
            newest = own.map(str::to_owned).or(newest);
            if kind != "BOOKMARK" {
                each(kind, object)?;
            }
        };
        version = newest.unwrap_or(version);
        if ended {
            return Ok(version);
        }
        // A server that ends watches at once must not be asked in a tight loop.
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Canned, answer};
    use serde_json::json;

    #[test]
    fn numbers_are_sorted_by_value_and_missing_fields_come_first() {
        let path = Path::parse(".a").unwrap();
        let mut objects =
            [json!({"a": 10.5}), json!({"a": 9}), json!({}), json!({"a": "x10"}), json!({"a": "x9"})];
        objects.sort_by_cached_key(|object| sort_key(object, &path));
        assert_eq!(
            objects,
            [json!({}), json!({"a": 9}), json!({"a": 10.5}), json!({"a": "x9"}), json!({"a": "x10"})]
        );
    }

    #[test]
    fn after_a_gap_only_what_changed_is_shown() {
        let row = |version: &str| json!({"object": {"metadata": {"resourceVersion": version}}});
        let mut table = json!({"rows": [row("9"), row("10"), row("11")]});
        keep_newer(&mut table, "10");
        assert_eq!(table, json!({"rows": [row("11")]}));
    }

    #[tokio::test]
    async fn a_watch_that_the_server_ends_goes_on_after_the_last_event() {
        const PATH: &str = "/watched?watch=true";
        let event = |kind: &str, version: &str| {
            format!("{}\n", json!({"type": kind, "object": {"metadata": {"resourceVersion": version}}}))
        };
        let gone = format!("{}\n", json!({"type": "ERROR", "object": {"kind": "Status", "code": 410}}));
        let canned = Canned::start(vec![
            answer(PATH, event("ADDED", "5") + &event("BOOKMARK", "8")),
            answer(PATH, event("MODIFIED", "9") + &gone),
        ])
        .await;
        let mut seen = Vec::new();
        let each = |kind: &str, object: Value| {
            seen.push(format!("{kind} {}", text(&object, "/metadata/resourceVersion")));
            Ok(())
        };
        let last =
            follow(canned.connection(), "/watched", Selectors::default(), JSON, "3".into(), each).await;
        assert_eq!(last.as_deref(), Ok("9"));
        assert_eq!(seen, ["ADDED 5", "MODIFIED 9"]);
        let asked = canned.asked.lock().unwrap().clone();
        let versions: Vec<_> =
            asked.iter().filter_map(|line| line.split("resourceVersion=").nth(1)).collect();
        assert_eq!(versions, ["3", "8"]);
    }

    #[test]
    fn names_carry_kind_and_group() {
        let object =
            json!({"apiVersion": "gcluster.dev/v1alpha1", "kind": "Agent", "metadata": {"name": "a"}});
        assert_eq!(name(&object), "agent.gcluster.dev/a");
        assert_eq!(
            name(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "n"}})),
            "namespace/n"
        );
    }
}
