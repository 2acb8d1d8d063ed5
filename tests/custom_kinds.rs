//! Kinds that users define, through the real binary: defined, used, collected, removed.

use crate::support::cli::Sandbox;
use crate::support::master::{Master, object, objects, wait_object};
use crate::support::wait::wait;

const DEFINITION: &str = r#"
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  name: critiques.example.com
spec:
  group: example.com
  scope: Namespaced
  names: {plural: critiques, kind: Critique, shortNames: [crq]}
  versions:
  - name: v1
    served: true
    storage: true
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec:
            type: object
            properties:
              text: {type: string, default: fine}
    additionalPrinterColumns:
    - {name: Text, type: string, jsonPath: .spec.text}
"#;

fn critique(name: &str, owner: Option<(&str, &str)>) -> String {
    let owners = owner.map_or(String::new(), |(name, uid)| {
        format!(
            "\n  ownerReferences:\n  - {{apiVersion: example.com/v1, kind: Critique, name: {name}, uid: {uid}}}"
        )
    });
    format!("apiVersion: example.com/v1\nkind: Critique\nmetadata:\n  name: {name}{owners}\nspec: {{}}\n")
}

#[test]
fn a_kind_of_a_user_is_applied_listed_collected_and_removed() {
    let sandbox = Sandbox::new();
    let mut master = Master::start(&sandbox);
    sandbox.write("definition.yaml", DEFINITION);
    sandbox.write("parent.yaml", &critique("parent", None));
    sandbox.run(["apply", "-f", "definition.yaml"]).ok();
    sandbox.run(["apply", "-f", "parent.yaml"]).ok();
    let parent = object(&sandbox, "crq", "parent").unwrap();
    assert_eq!(parent["spec"]["text"], "fine");
    let table = sandbox.run(["get", "critiques"]).ok().stdout;
    assert!(table.lines().next().unwrap().contains("TEXT") && table.contains("fine"), "{table}");
    assert!(sandbox.run(["describe", "critique", "parent"]).ok().stdout.contains("parent"));

    let uid = parent["metadata"]["uid"].as_str().unwrap();
    sandbox.write("child.yaml", &critique("child", Some(("parent", uid))));
    sandbox.run(["apply", "-f", "child.yaml"]).ok();
    sandbox.write("orphan.yaml", &critique("orphan", Some(("parent", "another-uid"))));
    sandbox.run(["apply", "-f", "orphan.yaml"]).ok();
    wait("the object of a gone owner to go", || {
        object(&sandbox, "critique", "orphan").is_none().then_some(())
    });
    sandbox.run(["delete", "critique", "parent"]).ok();
    wait("the owned object to go", || object(&sandbox, "critique", "child").is_none().then_some(()));

    sandbox.run(["apply", "-f", "parent.yaml"]).ok();
    master.kill();
    drop(master);
    let _master = Master::start(&sandbox);
    assert_eq!(objects(&sandbox, "critiques").len(), 1, "a restart forgets nothing");
    sandbox.run(["delete", "crd", "critiques.example.com"]).ok();
    wait("the definition to go", || object(&sandbox, "crd", "critiques.example.com").is_none().then_some(()));
    let gone = sandbox.run(["get", "critiques"]);
    assert!(gone.code != 0 && gone.stderr.contains("critiques"), "{gone:?}");
}

#[test]
fn a_namespace_takes_the_objects_of_every_kind_along() {
    let sandbox = Sandbox::new();
    let _master = Master::start(&sandbox);
    sandbox.write("definition.yaml", DEFINITION);
    sandbox.write("namespace.yaml", "apiVersion: v1\nkind: Namespace\nmetadata: {name: trial}\n");
    sandbox.write("critique.yaml", &critique("a", None));
    sandbox.write("map.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {b: c}\n");
    sandbox.run(["apply", "-f", "definition.yaml"]).ok();
    sandbox.run(["apply", "-f", "namespace.yaml"]).ok();
    sandbox.run(["-n", "trial", "apply", "-f", "critique.yaml", "-f", "map.yaml"]).ok();
    sandbox.run(["delete", "namespace", "trial"]).ok();
    wait("the namespace to go", || object(&sandbox, "namespace", "trial").is_none().then_some(()));
    sandbox.run(["apply", "-f", "namespace.yaml"]).ok();
    let left = sandbox.run(["-n", "trial", "get", "critiques,configmaps", "-o", "name"]);
    assert_eq!(left.stdout, "");
}

#[test]
fn the_own_definitions_are_printed_without_a_master_and_are_what_a_master_has() {
    let sandbox = Sandbox::new();
    let printed = sandbox.run(["crds", "-o", "json"]).ok().stdout;
    let printed: serde_json::Value = serde_json::from_str(&printed).unwrap();
    let names: Vec<&str> = printed["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|o| o["metadata"]["name"].as_str().unwrap())
        .collect();
    assert!(names.contains(&"agents.gcluster.dev"), "{names:?}");
    assert_eq!(sandbox.run(["crds"]).ok().stdout.matches("---\n").count(), names.len());
    let _master = Master::start(&sandbox);
    for name in names {
        wait_object(&sandbox, "crd", name, "is served", |o| {
            o["status"]["conditions"].as_array().is_some_and(|all| all.len() == 2)
        });
    }
    let refused = sandbox.run(["delete", "crd", "agents.gcluster.dev"]);
    assert!(refused.code != 0 && refused.stderr.contains("come with gcluster"), "{refused:?}");
}
