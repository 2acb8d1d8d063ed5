//! Reading a document once, as a value and as a list of the keys that it gives twice.
//!
//! ```text
//! {"spec": {"run": "Paused", "run": "Running"}}  ─▶  {"spec": {"run": "Running"}},  ["spec.run"]
//! ```

use std::cell::RefCell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use crate::path::Path;

/// More of them help nobody.
const MAX_FOUND: usize = 100;

/// Reads a document; of a key that comes twice the last value counts, and its path is reported.
pub(super) fn read<'de, D: Deserializer<'de>>(document: D) -> Result<(Value, Vec<String>), D::Error> {
    let found = RefCell::default();
    let value = Reader { path: &Path::Root, found: &found }.deserialize(document)?;
    Ok((value, found.into_inner()))
}

#[derive(Clone, Copy)]
struct Reader<'p> {
    path: &'p Path<'p>,
    found: &'p RefCell<Vec<String>>,
}

impl<'de> DeserializeSeed<'de> for Reader<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, document: D) -> Result<Value, D::Error> {
        document.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Reader<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, inner: D) -> Result<Value, D::Error> {
        self.deserialize(inner)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        loop {
            let path = Path::Index(self.path, list.len());
            match items.next_element_seed(Reader { path: &path, ..self })? {
                Some(item) => list.push(item),
                None => return Ok(list.into()),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            let path = Path::Key(self.path, &key);
            let value = entries.next_value_seed(Reader { path: &path, ..self })?;
            if map.contains_key(&key) {
                let mut found = self.found.borrow_mut();
                let text = path.to_string();
                if found.len() < MAX_FOUND && !found.contains(&text) {
                    found.push(text);
                }
            }
            map.insert(key, value);
        }
        Ok(map.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn json_of(text: &str) -> Result<(Value, Vec<String>), serde_json::Error> {
        let mut reader = serde_json::Deserializer::from_str(text);
        let read = read(&mut reader)?;
        reader.end().map(|()| read)
    }

    #[test]
    fn keys_that_come_twice_are_named_and_the_last_counts() {
        let text = r#"{"a": 1, "b": [{"c": 1, "c": 2.5, "c": null}], "a": {"x": "y", "x": true}}"#;
        let (value, found) = json_of(text).unwrap();
        assert_eq!(value, json!({"a": {"x": true}, "b": [{"c": null}]}));
        assert_eq!(found, ["b[0].c", "a.x", "a"]);
        let yaml = serde_yaml::Deserializer::from_str("a: 1\nb:\n  c: x\n  c: y\n");
        assert_eq!(read(yaml).unwrap(), (json!({"a": 1, "b": {"c": "y"}}), vec!["b.c".to_owned()]));
    }

    #[test]
    fn what_is_no_document_is_refused() {
        for text in ["", "{", "[1,", "{\"a\" 1}", "1 2", "{1: 2}", &"[".repeat(500)] {
            assert!(json_of(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn it_reads_what_the_plain_reader_reads(text in r#"[\[\]{}:,"a-c0-9.e\- tfnulrse]{0,40}"#) {
            match serde_json::from_str::<Value>(&text) {
                Ok(value) => prop_assert_eq!(json_of(&text).unwrap().0, value),
                Err(_) => prop_assert!(json_of(&text).is_err()),
            }
        }
    }
}
