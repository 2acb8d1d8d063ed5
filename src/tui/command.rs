//! The command line: `:pause builder`, `:ns staging`, `:q`.

use gcluster_types::kinds::agent::RunPolicy;

use super::fleet::Sort;
use super::theme::Mode;

/// A command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Leave.
    Quit,
    /// The tree, with nothing hidden.
    Agents,
    /// The tickets, with nothing hidden.
    Tickets,
    /// Go to a ticket.
    Ticket(String),
    /// Another namespace; `None` for all.
    Namespace(Option<String>),
    /// Whether an agent should be at work; the selected one without a name.
    Run(RunPolicy, Option<String>),
    /// Begin an agent again.
    Restart(Option<String>),
    /// Delete an agent.
    Delete(Option<String>),
    /// Write to an agent.
    Message(Option<String>),
    /// Edit the prompt of what is selected.
    Edit,
    /// Go to an agent.
    Go(String),
    /// Messages.
    Messages,
    /// Events.
    Events,
    /// As YAML.
    Yaml,
    /// In words.
    Describe,
    /// Keys.
    Help,
    /// Another theme.
    Theme(Mode),
    /// Another order.
    Sort(Sort),
    /// The bell.
    Bell,
    /// The mouse.
    Mouse,
}

/// What follows a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Takes {
    Nothing,
    Agent,
    Ticket,
    Namespace,
    Theme,
    Sort,
}

/// Names, what follows, and what it does.
const COMMANDS: &[(&[&str], Takes, &str)] = &[
    (&["agents", "ag"], Takes::Nothing, "all agents"),
    (&["bell"], Takes::Nothing, "ring when an agent needs you, or do not"),
    (&["delete"], Takes::Agent, "delete an agent, after a question"),
    (&["describe"], Takes::Nothing, "in words"),
    (&["edit"], Takes::Nothing, "edit the prompt"),
    (&["events"], Takes::Nothing, "events of the agent"),
    (&["go"], Takes::Agent, "select an agent"),
    (&["help"], Takes::Nothing, "keys of this view"),
    (&["message", "send"], Takes::Agent, "write to an agent"),
    (&["messages"], Takes::Nothing, "messages of the agent"),
    (&["mouse"], Takes::Nothing, "release or take the mouse"),
    (&["ns", "namespace"], Takes::Namespace, "another namespace; all for all"),
    (&["pause"], Takes::Agent, "let the running iteration end, begin no new one"),
    (&["quit", "q"], Takes::Nothing, "leave; agents keep running"),
    (&["restart"], Takes::Agent, "begin the definition again"),
    (&["sort"], Takes::Sort, "state, name, age, cost or tokens"),
    (&["start"], Takes::Agent, "let an agent work again"),
    (&["stop"], Takes::Agent, "end what runs, begin no new one"),
    (&["theme"], Takes::Theme, "dark, light, high-contrast or plain"),
    (&["ticket"], Takes::Ticket, "select a ticket"),
    (&["tickets", "tk"], Takes::Nothing, "all tickets"),
    (&["yaml"], Takes::Nothing, "as YAML"),
];

/// Every command with its argument and what it does, for the help.
pub fn all() -> impl Iterator<Item = (String, &'static str)> {
    COMMANDS.iter().map(|(names, takes, help)| {
        let name = names.first().copied().unwrap_or_default();
        let argument = match takes {
            Takes::Nothing => "",
            Takes::Agent => " [AGENT]",
            Takes::Ticket => " TICKET",
            Takes::Namespace => " NAME",
            Takes::Theme => " NAME",
            Takes::Sort => " BY",
        };
        (format!(":{name}{argument}"), *help)
    })
}

/// Reads a command. An error says what would have been understood.
pub fn parse(line: &str) -> Result<Command, String> {
    let mut words = line.split_whitespace();
    let Some(name) = words.next() else { return Err("type a command; tab completes it".into()) };
    let argument = words.next().map(str::to_owned);
    if words.next().is_some() {
        return Err(format!(":{name} takes one word at most"));
    }
    let known = find(name).ok_or_else(|| unknown(name))?;
    if known.1 == Takes::Nothing && argument.is_some() {
        return Err(format!(":{name} takes nothing after it"));
    }
    let word = argument.clone().unwrap_or_default();
    Ok(match known.0.first().copied().unwrap_or_default() {
        "agents" => Command::Agents,
        "tickets" => Command::Tickets,
        "ticket" => Command::Ticket(argument.ok_or(":ticket needs the id of a ticket")?),
        "bell" => Command::Bell,
        "delete" => Command::Delete(argument),
        "describe" => Command::Describe,
        "edit" => Command::Edit,
        "events" => Command::Events,
        "go" => Command::Go(argument.ok_or(":go needs the name of an agent")?),
        "help" => Command::Help,
        "message" => Command::Message(argument),
        "messages" => Command::Messages,
        "mouse" => Command::Mouse,
        "ns" => match word.as_str() {
            "" => return Err(":ns needs a name, or `all`".into()),
            "all" | "-A" | "*" => Command::Namespace(None),
            _ => Command::Namespace(Some(word)),
        },
        "pause" => Command::Run(RunPolicy::Paused, argument),
        "start" => Command::Run(RunPolicy::Running, argument),
        "stop" => Command::Run(RunPolicy::Stopped, argument),
        "restart" => Command::Restart(argument),
        "sort" => Command::Sort(
            Sort::ALL
                .into_iter()
                .find(|sort| sort.name() == word)
                .ok_or(":sort takes state, name, age, cost or tokens")?,
        ),
        "theme" => {
            Command::Theme(Mode::parse(&word).ok_or(":theme takes dark, light, high-contrast or plain")?)
        }
        "yaml" => Command::Yaml,
        _ => Command::Quit,
    })
}

fn find(name: &str) -> Option<&'static (&'static [&'static str], Takes, &'static str)> {
    COMMANDS.iter().find(|(names, ..)| names.contains(&name)).or_else(|| {
        // The beginning of one command alone is enough.
        let mut fitting =
            COMMANDS.iter().filter(|(names, ..)| names.iter().any(|known| known.starts_with(name)));
        fitting.next().filter(|_| fitting.next().is_none())
    })
}

fn unknown(name: &str) -> String {
    let known = COMMANDS.iter().filter_map(|(names, ..)| names.first());
    let near = known.min_by_key(|known| distance(name, known));
    match near {
        Some(near) if distance(name, near) <= 2 => format!("no command {name:?}: do you mean :{near}?"),
        _ => format!("no command {name:?}: tab lists what there is"),
    }
}

/// Edit distance.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = i;
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
        for (j, y) in b.iter().enumerate() {
            let above = row.get(j + 1).copied().unwrap_or(0);
            let left = row.get(j).copied().unwrap_or(0);
            let cell = (diagonal + usize::from(x != *y)).min(above + 1).min(left + 1);
            diagonal = above;
            if let Some(place) = row.get_mut(j + 1) {
                *place = cell;
            }
        }
    }
    row.last().copied().unwrap_or(0)
}

/// What the line could become, whole lines; `agents` gives names of agents that begin with a text, `namespaces`
/// the known namespaces, `tickets` names of tickets.
pub fn complete(
    line: &str,
    agents: impl Fn(&str) -> Vec<String>,
    tickets: impl Fn(&str) -> Vec<String>,
    namespaces: &[String],
) -> Vec<String> {
    let Some((name, word)) = line.split_once(' ') else {
        let names = COMMANDS.iter().filter_map(|(names, takes, _)| {
            let name = names.iter().find(|known| known.starts_with(line))?;
            Some(if *takes == Takes::Nothing { (*name).to_owned() } else { format!("{name} ") })
        });
        return names.collect();
    };
    let Some((_, takes, _)) = find(name) else { return Vec::new() };
    let fixed = |all: &[&str]| -> Vec<String> {
        all.iter().filter(|one| one.starts_with(word)).map(|one| (*one).to_owned()).collect()
    };
    let words = match takes {
        Takes::Nothing => Vec::new(),
        Takes::Agent => agents(word),
        Takes::Ticket => tickets(word),
        Takes::Namespace => {
            let mut all: Vec<&str> = namespaces.iter().map(String::as_str).collect();
            all.push("all");
            fixed(&all)
        }
        Takes::Theme => fixed(&["dark", "light", "high-contrast", "plain"]),
        Takes::Sort => fixed(&Sort::ALL.map(Sort::name)),
    };
    words.into_iter().map(|word| format!("{name} {word}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_read_by_name_alias_and_beginning() {
        assert_eq!(parse("q"), Ok(Command::Quit));
        assert_eq!(parse("  pause builder "), Ok(Command::Run(RunPolicy::Paused, Some("builder".into()))));
        assert_eq!(parse("rest"), Ok(Command::Restart(None)));
        assert_eq!(parse("ns all"), Ok(Command::Namespace(None)));
        assert_eq!(parse("theme light"), Ok(Command::Theme(Mode::Light)));
        assert_eq!(parse("sort cost"), Ok(Command::Sort(Sort::Cost)));
    }

    #[test]
    fn what_is_not_understood_is_answered_with_what_would_be() {
        assert_eq!(parse("puase"), Err("no command \"puase\": do you mean :pause?".into()));
        assert_eq!(parse("q now"), Err(":q takes nothing after it".into()));
        assert!(parse("st").is_err(), "start or stop");
        for line in ["", "pause a b", "ns", "theme mauve", "sort", "go", "ticket", "xyzzyxy"] {
            assert!(parse(line).is_err(), "{line}");
        }
    }

    #[test]
    fn tab_completes_commands_and_what_follows_them() {
        let agents = |word: &str| -> Vec<String> {
            ["builder", "bugfixer"]
                .iter()
                .filter(|name| name.starts_with(word))
                .map(|n| (*n).to_owned())
                .collect()
        };
        let none = |_: &str| Vec::new();
        assert_eq!(complete("pa", agents, none, &[]), ["pause "]);
        assert_eq!(complete("pause b", agents, none, &[]), ["pause builder", "pause bugfixer"]);
        assert_eq!(complete("ns s", agents, none, &["staging".into()]), ["ns staging"]);
        assert_eq!(complete("q x", agents, none, &[]), Vec::<String>::new());
        assert_eq!(complete("theme h", agents, none, &[]), ["theme high-contrast"]);
    }

    #[test]
    fn every_command_in_the_help_is_understood_by_its_name() {
        for (line, _) in all() {
            let name = line.trim_start_matches(':').split(' ').next().unwrap_or_default().to_owned();
            assert!(find(&name).is_some());
            assert!(!matches!(parse(&name), Err(error) if error.starts_with("no command")));
        }
    }
}
