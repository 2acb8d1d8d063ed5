"""Drives the master with the official Python client: everything an operator's author uses of it.

Reads KUBECONFIG. Prints one line a check; the first failure ends the run with a traceback.
"""

import json
import threading

from kubernetes import client, config, dynamic, watch
from kubernetes.client.exceptions import ApiException
from kubernetes.dynamic.exceptions import ConflictError, NotFoundError

GROUP = ("example.com", "v1", "default", "widgets")
SECONDS = 60


def check(what, holds):
    assert holds, what
    print("ok:", what)


def refused(code, call, *args, **named):
    """The status that a call is refused with; it must have this code."""
    try:
        call(*args, **named)
    except ApiException as error:
        assert error.status == code, f"{error.status} instead of {code}: {error.body}"
        return json.loads(error.body)
    raise AssertionError(f"not refused with {code}")


def widget(name, size="small"):
    return {"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": name}, "spec": {"size": size}}


def definitions(extensions):
    """A kind of the user's own, by the typed API."""
    schema = {
        "type": "object",
        "properties": {
            "spec": {
                "type": "object",
                "required": ["size"],
                "properties": {
                    "size": {"type": "string"},
                    "replicas": {"type": "integer", "default": 1},
                },
            },
            "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
        },
    }
    version = client.V1CustomResourceDefinitionVersion(
        name="v1",
        served=True,
        storage=True,
        schema=client.V1CustomResourceValidation(open_apiv3_schema=schema),
        subresources=client.V1CustomResourceSubresources(status={}),
    )
    extensions.create_custom_resource_definition(
        client.V1CustomResourceDefinition(
            metadata=client.V1ObjectMeta(name="widgets.example.com"),
            spec=client.V1CustomResourceDefinitionSpec(
                group="example.com",
                scope="Namespaced",
                names=client.V1CustomResourceDefinitionNames(kind="Widget", plural="widgets", short_names=["wd"]),
                versions=[version],
            ),
        )
    )
    stream = watch.Watch().stream(
        extensions.list_custom_resource_definition,
        field_selector="metadata.name=widgets.example.com",
        timeout_seconds=SECONDS,
    )
    for event in stream:
        conditions = event["object"].status and event["object"].status.conditions or []
        if any(c.type == "Established" and c.status == "True" for c in conditions):
            break
    check("a definition is established", True)


def typed(core, coordination, events):
    made = core.create_namespaced_config_map(
        "default", client.V1ConfigMap(metadata=client.V1ObjectMeta(name="settings", labels={"a": "b"}), data={"k": "v"})
    )
    check("a config map is created", made.metadata.uid and made.data == {"k": "v"})
    again = client.V1ConfigMap(metadata=client.V1ObjectMeta(name="settings"))
    status = refused(409, core.create_namespaced_config_map, "default", again)
    check("a second of the name is refused", status["reason"] == "AlreadyExists")
    made.data["k"] = "w"
    replaced = core.replace_namespaced_config_map("settings", "default", made)
    check("a config map is replaced", replaced.data == {"k": "w"})
    made.data["k"] = "late"
    check("a stale write is refused", refused(409, core.replace_namespaced_config_map, "settings", "default", made)["reason"] == "Conflict")
    patched = core.patch_namespaced_config_map("settings", "default", {"data": {"l": "x", "k": None}})
    check("a strategic patch merges", patched.data == {"l": "x"})
    listed = core.list_namespaced_config_map("default", label_selector="a=b", field_selector="metadata.name=settings")
    check("selectors select", [m.metadata.name for m in listed.items] == ["settings"])

    core.create_namespaced_secret(
        "default", client.V1Secret(metadata=client.V1ObjectMeta(name="token"), string_data={"key": "value"})
    )
    check("a secret is in base64", core.read_namespaced_secret("token", "default").data == {"key": "dmFsdWU="})
    core.delete_namespaced_secret("token", "default")
    refused(404, core.read_namespaced_secret, "token", "default")

    core.create_namespace(client.V1Namespace(metadata=client.V1ObjectMeta(name="python")))
    check("a namespace is active", core.read_namespace("python").status.phase == "Active")

    lease = coordination.create_namespaced_lease(
        "default",
        client.V1Lease(
            metadata=client.V1ObjectMeta(name="lock"),
            spec=client.V1LeaseSpec(holder_identity="one", lease_duration_seconds=15),
        ),
    )
    lease.spec.holder_identity = "two"
    check("a lease is taken", coordination.replace_namespaced_lease("lock", "default", lease).spec.holder_identity == "two")
    lease.spec.holder_identity = "three"
    refused(409, coordination.replace_namespaced_lease, "lock", "default", lease)

    about = {"kind": "ConfigMap", "name": "settings", "namespace": "default"}
    core.create_namespaced_event(
        "default",
        client.CoreV1Event(
            metadata=client.V1ObjectMeta(name="settings.1"),
            involved_object=client.V1ObjectReference(**about),
            reason="Tried",
            message="from Python",
            type="Normal",
            # The client's model of the newer API insists on this time, which Kubernetes leaves out as we do.
            event_time="2026-01-01T00:00:00.000001Z",
            action="Try",
            reporting_component="example.com/python",
            reporting_instance="one",
        ),
    )
    found = core.list_namespaced_event("default", field_selector="involvedObject.name=settings")
    check("an event is found by its object", [e.message for e in found.items] == ["from Python"])
    same = [e.note for e in events.list_namespaced_event("default").items if e.reason == "Tried"]
    check("an event is seen by the newer API", same == ["from Python"])


def customs(objects):
    for n in range(7):
        objects.create_namespaced_custom_object(*GROUP, widget(f"w{n}"))
    one = objects.get_namespaced_custom_object(*GROUP, "w0")
    check("defaults are filled in", one["spec"] == {"size": "small", "replicas": 1})
    status = refused(422, objects.create_namespaced_custom_object, *GROUP, widget("bad", size=3))
    check("what is wrong is named", status["details"]["causes"][0]["field"] == "spec.size")
    objects.patch_namespaced_custom_object(*GROUP, "w0", {"spec": {"replicas": 2}})
    objects.patch_namespaced_custom_object(
        *GROUP, "w0", [{"op": "replace", "path": "/spec/size", "value": "large"}],
        _content_type="application/json-patch+json",
    )
    one = objects.get_namespaced_custom_object(*GROUP, "w0")
    check("merge and JSON patches apply", one["spec"] == {"size": "large", "replicas": 2})
    objects.patch_namespaced_custom_object(
        *GROUP, "w0", {**widget("w0", "large"), "metadata": {"name": "w0", "labels": {"by": "apply"}}},
        field_manager="python", force=True, _content_type="application/apply-patch+yaml",
    )
    check("server-side apply applies", objects.get_namespaced_custom_object(*GROUP, "w0")["metadata"]["labels"] == {"by": "apply"})
    objects.patch_namespaced_custom_object_status(*GROUP, "w0", {"status": {"seen": True}, "spec": {"size": "no"}})
    one = objects.get_namespaced_custom_object_status(*GROUP, "w0")
    check("the status is a part of its own", (one["status"], one["spec"]["size"]) == ({"seen": True}, "large"))

    names, token = [], None
    while True:
        page = objects.list_namespaced_custom_object(*GROUP, limit=3, _continue=token)
        names += [o["metadata"]["name"] for o in page["items"]]
        token = page["metadata"].get("continue")
        if not token:
            break
        # What comes between two pages is not of the state that the first one showed.
        objects.create_namespaced_custom_object(*GROUP, widget(f"w{len(names)}-late"))
    check("pages show one state", names == [f"w{n}" for n in range(7)])


def watching(objects):
    listed = objects.list_namespaced_custom_object(*GROUP)
    version = listed["metadata"]["resourceVersion"]
    seen = []
    for n in range(3):
        objects.create_namespaced_custom_object(*GROUP, widget(f"seen{n}"))

    def follow(count, version):
        """The next events from a version on, and the last one's version."""
        stream = watch.Watch()
        for event in stream.stream(
            objects.list_namespaced_custom_object, *GROUP, resource_version=version, timeout_seconds=SECONDS
        ):
            seen.append((event["type"], event["object"]["metadata"]["name"]))
            version = event["object"]["metadata"]["resourceVersion"]
            count -= 1
            if count == 0:
                stream.stop()
        return version

    version = follow(2, version)
    objects.delete_namespaced_custom_object(*GROUP, "seen0")
    follow(2, version)
    expected = [("ADDED", "seen0"), ("ADDED", "seen1"), ("ADDED", "seen2"), ("DELETED", "seen0")]
    check("a watch resumes where it ended, without loss or repetition", seen == expected)
    bookmarks = objects.list_namespaced_custom_object(
        *GROUP, watch=True, allow_watch_bookmarks=True, resource_version=version, timeout_seconds=1, _preload_content=False
    )
    kinds = [json.loads(line)["type"] for line in bookmarks.read().splitlines()]
    check("a watch ends in time, with a bookmark", kinds[-1] == "BOOKMARK")


def dynamically(api):
    dynamic_client = dynamic.DynamicClient(api)
    maps = dynamic_client.resources.get(api_version="v1", kind="ConfigMap")
    widgets = dynamic_client.resources.get(api_version="example.com/v1", kind="Widget")
    agents = dynamic_client.resources.get(api_version="gcluster.dev/v1alpha1", kind="Agent")
    check("kinds are discovered", (maps.name, widgets.name, agents.name) == ("configmaps", "widgets", "agents"))
    made = widgets.create(body=widget("dynamic"), namespace="default")
    made.spec.size = "large"
    widgets.replace(body=made.to_dict(), namespace="default")
    try:
        widgets.replace(body=made.to_dict(), namespace="default")
        raise AssertionError("a stale write passed")
    except ConflictError:
        pass
    try:
        widgets.server_side_apply(body=widget("dynamic"), namespace="default", name="dynamic", field_manager="other")
        raise AssertionError("a conflict passed")
    except ConflictError as conflict:
        causes = json.loads(conflict.body)["details"]["causes"]
        check("a conflict of an apply names the field", causes[0]["field"] == ".spec.size")
    widgets.delete(name="dynamic", namespace="default")
    try:
        widgets.get(name="dynamic", namespace="default")
        raise AssertionError("the deleted is still there")
    except NotFoundError:
        check("the dynamic client creates, replaces, applies and deletes", True)


def election():
    """Two contenders for one lock, with the client's own leader election."""
    from kubernetes.leaderelection import electionconfig, leaderelection
    from kubernetes.leaderelection.resourcelock.configmaplock import ConfigMapLock

    leaders, elected = [], threading.Event()

    def contend(name):
        def lead():
            leaders.append(name)
            elected.set()

        lock = ConfigMapLock("leader", "default", name)
        settings = electionconfig.Config(
            lock, lease_duration=17, renew_deadline=15, retry_period=1, onstarted_leading=lead, onstopped_leading=lambda: None
        )
        threading.Thread(target=leaderelection.LeaderElection(settings).run, daemon=True).start()

    contend("one")
    contend("two")
    assert elected.wait(SECONDS), "nobody leads"
    record = json.loads(
        client.CoreV1Api().read_namespaced_config_map("leader", "default").metadata.annotations[
            "control-plane.alpha.kubernetes.io/leader"
        ]
    )
    check("one of two contenders leads", leaders == [record["holderIdentity"]])


def main():
    config.load_kube_config()
    api = client.ApiClient()
    core, objects = client.CoreV1Api(api), client.CustomObjectsApi(api)
    check("the version is told", client.VersionApi(api).get_code().git_version.startswith("v1."))
    definitions(client.ApiextensionsV1Api(api))
    typed(core, client.CoordinationV1Api(api), client.EventsV1Api(api))
    customs(objects)
    watching(objects)
    dynamically(api)
    election()
    core.delete_namespace("python")
    for _ in watch.Watch().stream(core.list_namespace, field_selector="metadata.name=python", timeout_seconds=5):
        if not core.list_namespace(field_selector="metadata.name=python").items:
            break
    check("a namespace goes", not core.list_namespace(field_selector="metadata.name=python").items)
    print("all checks passed with kubernetes", __import__("kubernetes").__version__)


main()
