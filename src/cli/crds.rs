//! `gcluster crds`: the definitions of gcluster's kinds, for a Kubernetes cluster to serve them.

use clap::{Args, ValueEnum};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use serde_json::json;

use super::output::print;
use crate::exit::{Failure, Result};

/// Print the CustomResourceDefinitions of gcluster's kinds, ready for `kubectl apply -f -`
#[derive(Args, Debug)]
pub(crate) struct CrdsArgs {
    /// Form of the output
    #[arg(short, long, value_enum, default_value_t = Form::Yaml)]
    output: Form,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Form {
    /// One document per definition
    Yaml,
    /// One list
    Json,
}

/// Does `gcluster crds`. Asks no master.
pub(crate) fn run(args: &CrdsArgs) -> Result {
    let definitions = gcluster_types::kinds::crds();
    print(&match args.output {
        Form::Yaml => yaml(&definitions)?,
        Form::Json => {
            let list = json!({"apiVersion": "v1", "kind": "List", "items": definitions});
            let text =
                serde_json::to_string_pretty(&list).map_err(|error| Failure::failed(error.to_string()))?;
            format!("{text}\n")
        }
    })
}

fn yaml(definitions: &[CustomResourceDefinition]) -> Result<String> {
    let mut text = String::new();
    for definition in definitions {
        let document =
            serde_yaml::to_string(definition).map_err(|error| Failure::failed(error.to_string()))?;
        text.push_str("---\n");
        text.push_str(&document);
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_yaml_is_one_document_per_kind_and_reads_back() {
        let definitions = gcluster_types::kinds::crds();
        let text = yaml(&definitions).unwrap();
        let read: Vec<CustomResourceDefinition> = text
            .split("---\n")
            .filter(|document| !document.is_empty())
            .map(|document| serde_yaml::from_str(document).unwrap())
            .collect();
        assert_eq!(read, definitions);
        assert!(
            text.starts_with("---\napiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\n")
        );
    }
}
