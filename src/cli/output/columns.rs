//! `-o custom-columns=NAME:.metadata.name,PHASE:.status.phase`.

use serde_json::Value;

use super::jsonpath::{Path, show};
use crate::render::{fields, visible};

/// Columns of the user's choice.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Columns(Vec<(String, Path)>);

impl Columns {
    /// Reads `HEADER:PATH` pairs, separated by commas.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut columns = Vec::new();
        for part in text.split(',') {
            let (header, path) = part
                .split_once(':')
                .ok_or_else(|| format!("{part:?} should be HEADER:PATH, as in NAME:.metadata.name"))?;
            columns.push((header.to_owned(), Path::parse_argument(path)?));
        }
        Ok(Self(columns))
    }

    /// The table of the objects; `<none>` where an object has no such field.
    pub(crate) fn render(&self, objects: &[Value], headers: bool) -> String {
        let mut rows: Vec<Vec<String>> = Vec::new();
        if headers {
            rows.push(self.0.iter().map(|(header, _)| header.clone()).collect());
        }
        for object in objects {
            rows.push(self.0.iter().map(|(_, path)| cell(&path.select(object))).collect());
        }
        fields::align(&rows, &mut Vec::new())
    }
}

fn cell(values: &[&Value]) -> String {
    if values.is_empty() {
        return "<none>".into();
    }
    let text = values.iter().map(|value| show(value)).collect::<Vec<_>>().join(",");
    visible(&text).replace(['\n', '\t'], " ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn chosen_columns_are_shown_and_missing_fields_say_so() {
        let columns = Columns::parse("NAME:.metadata.name,TAGS:{.spec.tags[*]}").unwrap();
        let objects = [
            json!({"metadata": {"name": "a"}, "spec": {"tags": ["x", "y"]}}),
            json!({"metadata": {"name": "b"}}),
        ];
        assert_eq!(columns.render(&objects, true), "NAME   TAGS\na      x,y\nb      <none>\n");
        assert!(Columns::parse("NAME").is_err());
    }
}
