//! kubectl with what Kubernetes has built in and agents need, config maps and secrets, and with a kind of a user's own.

use crate::support::kubectl::Kubectl;

#[test]
fn config_maps_and_secrets() {
    let Some(k) = Kubectl::start("config_maps_and_secrets") else { return };
    k.file("dir/one", "1\n");
    k.file("vars", "A=x\nB=y\n");
    k.is("create configmap lit --from-literal=a=b", "configmap/lit created");
    k.ok("create configmap files --from-file=dir");
    k.ok("create cm vars --from-env-file=vars --save-config");
    k.is("get cm files -o jsonpath='{.data.one}'", "1");
    k.is("get cm vars -o jsonpath='{.data}'", r#"{"A":"x","B":"y"}"#);
    k.says("get cm lit", &["NAME", "DATA", "AGE"]);
    k.says("describe cm lit", &["Data\n====\na:\n----\nb"]);
    k.fails("create cm lit --from-literal=a=b", &["already exists"]);
    // Strategic, kubectl's default for what is built in.
    k.ok(r#"patch cm lit -p '{"data":{"a":null,"c":"d"}}'"#);
    k.is("get cm lit -o jsonpath='{.data}'", r#"{"c":"d"}"#);
    k.file("cm.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: applied}\ndata: {first: one}\n");
    k.ok("apply -f cm.yaml");
    k.file("cm.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: applied}\ndata: {second: two}\n");
    k.is("apply -f cm.yaml", "configmap/applied configured");
    k.is("get cm applied -o jsonpath='{.data}'", r#"{"second":"two"}"#);
    k.ok("apply --server-side -f cm.yaml");
    k.fails("apply --server-side --field-manager=o -f changed.yaml", &["does not exist"]);
    k.set("KUBE_EDITOR", "sed -i s/two/three/");
    k.is("edit cm applied", "configmap/applied edited");
    k.ok(r#"patch cm applied -p '{"immutable":true}'"#);
    k.fails(r#"patch cm applied -p '{"data":{"z":"z"}}'"#, &["immutable"]);

    k.is("create secret generic s --from-literal=key=hush-hush", "secret/s created");
    k.says("get secret s", &["TYPE", "Opaque", "DATA"]);
    let described = k.says("describe secret s", &["key:  9 bytes"]);
    assert!(!described.contains("hush") && !described.contains("aHVzaC1odXNo"), "{described}");
    k.is("get secret s -o jsonpath='{.data.key}'", "aHVzaC1odXNo");
    k.ok(r#"patch secret s -p '{"stringData":{"more":"x"}}'"#);
    k.is("get secret s -o jsonpath='{.data.more}'", "eA==");
    k.is("delete secret/s cm/lit", "secret \"s\" deleted\nconfigmap \"lit\" deleted");
}

const DEFINITION: &str = "
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {plural: widgets, singular: widget, kind: Widget, shortNames: [wd], categories: [all]}
  versions:
  - name: v1
    served: true
    storage: true
    subresources:
      status: {}
      scale: {specReplicasPath: .spec.replicas, statusReplicasPath: .status.replicas}
    additionalPrinterColumns:
    - {name: Size, type: string, jsonPath: .spec.size}
    - {name: Replicas, type: integer, jsonPath: .spec.replicas}
    selectableFields: [{jsonPath: .spec.size}]
    schema:
      openAPIV3Schema:
        type: object
        description: A thing of some size.
        properties:
          spec:
            type: object
            required: [size]
            properties:
              size: {type: string, enum: [small, large], description: How large it is.}
              replicas: {type: integer, minimum: 0, default: 1}
          status: {type: object, properties: {replicas: {type: integer}}}
";

#[test]
fn a_kind_of_a_users_own() {
    let Some(k) = Kubectl::start("a_kind_of_a_users_own") else { return };
    k.file("crd.yaml", DEFINITION);
    k.is("apply -f crd.yaml", "customresourcedefinition.apiextensions.k8s.io/widgets.example.com created");
    k.ok("wait --for=condition=Established crd/widgets.example.com --timeout=60s");
    k.says("get crd", &["agents.gcluster.dev", "widgets.example.com", "CREATED AT"]);
    k.says("api-resources --api-group=example.com", &["widgets", "wd", "Widget"]);
    k.file("w.yaml", "apiVersion: example.com/v1\nkind: Widget\nmetadata: {name: w}\nspec: {size: small}\n");
    k.is("apply -f w.yaml", "widget.example.com/w created");
    k.says("get wd", &["NAME   SIZE    REPLICAS", "w      small   1"]);
    k.says("get all", &["widget.example.com/w   small"]);
    k.says("explain widget.spec", &["How large it is.", "<string> -required-"]);
    k.is("get wd --field-selector spec.size=small -o name", "widget.example.com/w");
    k.is("get wd --field-selector spec.size=large -o name", "");
    k.is("scale wd w --replicas=3", "widget.example.com/w scaled");
    k.is("get wd w -o jsonpath='{.spec.replicas}'", "3");
    k.fails("scale wd w --replicas=2 --current-replicas=9", &["Expected replicas to be 9, was 3"]);
    k.file("bad.yaml", "apiVersion: example.com/v1\nkind: Widget\nmetadata: {name: w}\nspec: {size: huge}\n");
    k.fails("apply -f bad.yaml", &["spec.size", "Unsupported value: \"huge\"", "\"small\", \"large\""]);
    k.ok("apply --server-side --force-conflicts -f w.yaml");
    k.says("describe wd w", &["Kind:         Widget", "Size:      small"]);
    k.ok("delete crd widgets.example.com --timeout=60s");
    k.fails("get wd", &["could not find the requested resource"]);
    k.fails("delete crd agents.gcluster.dev", &["Forbidden"]);
}
