//! Label and field selectors of a list.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use http::StatusCode;
use serde_json::Value;

use super::requests::{Served, with_served};
use super::source::Source;

const PATH: &str = "/apis/gcluster.dev/v1alpha1/namespaces/default/agents?";

/// The names that are selected; none when the selector is refused.
fn selected(served: &Served, parameter: &str, selector: &str) -> Option<BTreeSet<String>> {
    let mut path = format!("{PATH}{parameter}=");
    for byte in selector.bytes() {
        let _ = write!(path, "%{byte:02x}");
    }
    let (code, body) = served.call("GET", &path, &[], String::new())?;
    if code == StatusCode::BAD_REQUEST {
        return None;
    }
    assert_eq!(code, StatusCode::OK, "{parameter} {selector:?}: {body}");
    let list: Value = serde_json::from_str(&body).expect("a list");
    let items = list["items"].as_array().expect("items");
    Some(items.iter().filter_map(|item| item["metadata"]["name"].as_str().map(str::to_owned)).collect())
}

/// A selector is refused or selects some of the objects; `!=` selects exactly what `=` does not, and `notin` what `in` does not.
pub(crate) fn run(data: &[u8]) {
    let mut source = Source::new(data);
    with_served(|served| {
        let all = selected(served, "labelSelector", "").expect("no selector selects everything");
        let parameter = *source.pick(&["labelSelector", "fieldSelector"]);
        let names =
            ["app", "tier", "metadata.name", "metadata.namespace", "status.runState", "spec.run", "nonsense"];
        let name = *source.pick(&names);
        let value = *source.pick(&["x", "y", "", "a", "default", "Stopped"]);
        let mut pairs = vec![(format!("{name}={value}"), format!("{name}!={value}"))];
        if parameter == "labelSelector" {
            pairs.push((format!("{name} in ({value})"), format!("{name} notin ({value})")));
            pairs.push((name.to_owned(), format!("!{name}")));
        }
        for (plain, negated) in pairs {
            let (plain, negated) =
                (selected(served, parameter, &plain), selected(served, parameter, &negated));
            let (Some(plain), Some(negated)) = (&plain, &negated) else {
                assert_eq!(plain.is_none(), negated.is_none(), "{name} {value:?}: only one is refused");
                continue;
            };
            assert!(plain.is_disjoint(negated), "{name} {value:?}");
            assert_eq!(&(plain | negated), &all, "{name} {value:?}");
        }
        let text = source.rest();
        if let Some(some) = selected(served, parameter, &text) {
            assert!(some.is_subset(&all), "{parameter} {text:?}");
        }
    });
}
