//! A prompt of an agent replaced by another text: what steering edits.
//!
//! ```
//! use std::collections::BTreeMap;
//! use gcluster_types::sexpr::edit::{prompt, replace_prompt};
//! let agent = "(defagent \"fixer\"\n  (pipeline\n    (step \"fix\" (loop fix))))";
//! let methods = BTreeMap::from([("fix".to_owned(), "(defmethod fix ()\n  \"Fix a bug.\")".to_owned())]);
//! assert_eq!(prompt(agent, &methods, None).unwrap().text, "Fix a bug.");
//! let new = replace_prompt(agent, &methods, None, "Fix two bugs.\n").unwrap();
//! assert_eq!(new.methods["fix"], "(defmethod fix ()\n  \"Fix two bugs.\")");
//! ```

use std::collections::BTreeMap;

use thiserror::Error;

use super::print::print;
use super::program::{Body, Definition, ProgramError, check_agent, parse_definition};

/// An agent's texts after an edit; canonical and checked as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replaced {
    /// The agent's own form.
    pub definition: String,
    /// Every method that it reaches.
    pub methods: BTreeMap<String, String>,
    /// The method whose prompt was replaced; none for the agent's own prompt.
    pub method: Option<String>,
}

/// One prompt of an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prompt {
    /// The method that it is the body of; none for the agent's own prompt.
    pub method: Option<String>,
    /// The text, with its `[param]` slots.
    pub text: String,
}

/// Why a prompt cannot be found or replaced.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum EditError {
    /// The agent as it is, or as it would be, is malformed.
    #[error(transparent)]
    Program(#[from] ProgramError),
    /// The new prompt holds nothing but white space.
    #[error("the new prompt is empty")]
    Empty,
    /// No method of the name.
    #[error("the agent has no method {method:?}; its prompts are: {}", .known.join(", "))]
    NoMethod {
        /// What was asked for.
        method: String,
        /// Methods with a prompt.
        known: Vec<String>,
    },
    /// The method runs others and has no prompt of its own.
    #[error("{method:?} is a pipeline and has no prompt of its own; prompts are: {}", .known.join(", "))]
    Pipeline {
        /// What was asked for.
        method: String,
        /// Methods with a prompt.
        known: Vec<String>,
    },
    /// No method was named and there are several prompts.
    #[error("the agent has several prompts, name the method: {}", .known.join(", "))]
    Ambiguous {
        /// Methods with a prompt.
        known: Vec<String>,
    },
}

/// The prompt of a method, by name; of an agent that is one prompt, `agent-NAME` or no name. Without a name the
/// only prompt of the agent is meant.
///
/// # Errors
/// See [`EditError`].
pub fn prompt(
    definition: &str,
    methods: &BTreeMap<String, String>,
    method: Option<&str>,
) -> Result<Prompt, EditError> {
    let (found, text) = find(definition, methods, method)?;
    Ok(Prompt { method: found.agent_name.is_none().then_some(found.name), text })
}

/// The agent with another prompt in one of its methods, named as for [`prompt`]. The text is laid out as the
/// compiler does it: lines end in a newline, blank lines are empty, there are none at either end.
///
/// # Errors
/// See [`EditError`].
pub fn replace_prompt(
    definition: &str,
    methods: &BTreeMap<String, String>,
    method: Option<&str>,
    text: &str,
) -> Result<Replaced, EditError> {
    let text = laid_out(text);
    if text.is_empty() {
        return Err(EditError::Empty);
    }
    let (mut found, _) = find(definition, methods, method)?;
    found.body = Body::Prompt(text);
    let canonical = print(&found.form());
    let mut new = Replaced { definition: definition.to_owned(), methods: methods.clone(), method: None };
    if found.agent_name.is_some() {
        new.definition = canonical;
    } else {
        new.methods.insert(found.name.clone(), canonical);
        new.method = Some(found.name);
    }
    check_agent(&new.definition, &new.methods)?;
    Ok(new)
}

/// The definition that is meant, and its prompt.
fn find(
    definition: &str,
    methods: &BTreeMap<String, String>,
    method: Option<&str>,
) -> Result<(Definition, String), EditError> {
    let mut all = vec![parse_definition(definition)?];
    for text in methods.values() {
        all.push(parse_definition(text)?);
    }
    let text = |one: &Definition| match &one.body {
        Body::Prompt(text) => Some(text.clone()),
        Body::Pipeline(_) => None,
    };
    let known = || all.iter().filter(|one| text(one).is_some()).map(|one| one.name.clone()).collect();
    let found = match method {
        Some(name) => all.iter().find(|one| one.name == name),
        None => {
            let mut prompts = all.iter().filter(|one| text(one).is_some());
            match (prompts.next(), prompts.next()) {
                (Some(only), None) => Some(only),
                _ => return Err(EditError::Ambiguous { known: known() }),
            }
        }
    };
    let name = || method.unwrap_or_default().to_owned();
    let found = found.ok_or_else(|| EditError::NoMethod { method: name(), known: known() })?;
    let text = text(found).ok_or_else(|| EditError::Pipeline { method: name(), known: known() })?;
    Ok((found.clone(), text))
}

/// A prompt as the compiler lays it out: lines end in a newline, blank lines are empty, there are none at either end.
pub fn laid_out(text: &str) -> String {
    let lines = text.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line));
    let lines: Vec<&str> = lines.map(|line| if line.trim().is_empty() { "" } else { line }).collect();
    lines.join("\n").trim_matches('\n').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sexpr::digest::digest;

    const TEAM: &str = "(defagent \"a\"\n  (pipeline notes\n    (step \"plan\" (call plan))\n    (step \"build\" (loop build))))";

    fn methods() -> BTreeMap<String, String> {
        [
            ("build", "(defmethod build (notes)\n  \"Build [notes].\")"),
            ("plan", "(defmethod plan ()\n  \"Plan.\")"),
        ]
        .map(|(name, text)| (name.to_owned(), text.to_owned()))
        .into()
    }

    #[test]
    fn one_prompt_changes_and_everything_else_stays() {
        let new = replace_prompt(TEAM, &methods(), Some("build"), "\r\nBuild \"[notes]\"\r\n  \r\nnow.\n\n")
            .unwrap();
        assert_eq!(new.definition, TEAM);
        assert_eq!(new.methods["plan"], methods()["plan"]);
        assert_eq!(new.methods["build"], "(defmethod build (notes)\n  \"Build \\\"[notes]\\\"\\n\\nnow.\")");
        assert_eq!(prompt(TEAM, &new.methods, Some("build")).unwrap().text, "Build \"[notes]\"\n\nnow.");
        let none = BTreeMap::new();
        assert_ne!(digest(TEAM, &methods(), &none), digest(&new.definition, &new.methods, &none));
    }

    #[test]
    fn the_same_text_gives_the_same_agent() {
        let new = replace_prompt(TEAM, &methods(), Some("plan"), "Plan.\n").unwrap();
        assert_eq!((new.definition.as_str(), new.methods), (TEAM, methods()));
    }

    #[test]
    fn an_agent_that_is_one_prompt_is_edited_itself() {
        let agent = "(defagent \"a\"\n  \"Work.\")";
        for name in [None, Some("agent-a")] {
            let new = replace_prompt(agent, &BTreeMap::new(), name, "Rest.").unwrap();
            assert_eq!((new.definition.as_str(), new.method), ("(defagent \"a\"\n  \"Rest.\")", None));
        }
    }

    #[test]
    fn what_cannot_be_edited_says_what_can() {
        let edit = |method, text| replace_prompt(TEAM, &methods(), method, text).unwrap_err();
        assert_eq!(edit(Some("plan"), " \n"), EditError::Empty);
        let known: Vec<String> = vec!["build".into(), "plan".into()];
        assert_eq!(edit(None, "x"), EditError::Ambiguous { known: known.clone() });
        assert_eq!(edit(Some("z"), "x"), EditError::NoMethod { method: "z".into(), known: known.clone() });
        assert_eq!(edit(Some("agent-a"), "x"), EditError::Pipeline { method: "agent-a".into(), known });
        assert!(matches!(replace_prompt("(", &methods(), None, "x"), Err(EditError::Program(_))));
    }
}
