//! What `eval` shows: canonical forms with their ids.

use gcluster_types::sexpr::print::{id_comment, print, print_program};
use gcluster_types::sexpr::program::AGENT_PREFIX;

use crate::lower::execution_form;
use crate::{Compiled, ProgramForm};

/// The forms of the program's own file in order, as `(program …)` without a newline at the end.
///
/// Methods of imports and of the standard library are not part of it; a definition that a later one replaces
/// is left out, the later one stands in its own place.
pub fn eval_program(compiled: &Compiled) -> String {
    let texts: Vec<_> = compiled
        .program
        .forms
        .iter()
        .filter_map(|form| {
            let printed = execution_form(form).map(|form| print(&form));
            match (printed, form) {
                (Some(text), _) => Some(text.into()),
                (None, ProgramForm::Agent(n)) => {
                    Some(std::borrow::Cow::Borrowed(compiled.agents.get(*n)?.definition.as_str()))
                }
                (None, ProgramForm::Method(name)) => {
                    Some(compiled.program.methods.get(name)?.as_str().into())
                }
                (None, _) => None,
            }
        })
        .collect();
    print_program(texts.iter().map(AsRef::as_ref))
}

/// One form with its id comment: a method by its name, an agent by `NAME` or `agent-NAME`.
///
/// Imports and the standard library are searched too. A method goes before an agent of the same name. None when
/// nothing has the name.
pub fn eval_one(compiled: &Compiled, name: &str) -> Option<String> {
    let agent =
        |name: &str| compiled.agents.iter().find(|agent| agent.name == name).map(|agent| &agent.definition);
    let text = name
        .strip_prefix(AGENT_PREFIX)
        .and_then(agent)
        .or_else(|| compiled.program.methods.get(name))
        .or_else(|| agent(name))?;
    Some(format!("{}\n{text}", id_comment(text)))
}
