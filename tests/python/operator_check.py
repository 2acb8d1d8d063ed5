"""Runs a kopf operator against the master and checks that each of its handlers does its work.

Reads KUBECONFIG. The operator is `widgets_operator.py` beside this file.
"""

import pathlib
import subprocess
import sys
import time

from kubernetes import client, config

GROUP = ("example.com", "v1", "default", "widgets")
SECONDS = 90


def definition():
    schema = {
        "type": "object",
        "properties": {
            "spec": {"type": "object", "properties": {"size": {"type": "string"}}},
            "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
        },
    }
    version = {
        "name": "v1", "served": True, "storage": True,
        "schema": {"openAPIV3Schema": schema}, "subresources": {"status": {}},
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.com"},
        "spec": {
            "group": "example.com", "scope": "Namespaced",
            "names": {"kind": "Widget", "plural": "widgets"}, "versions": [version],
        },
    }


def wait(what, check, operator):
    """Waits until the check gives something true."""
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        assert operator.poll() is None, f"the operator ended with {operator.returncode} before: {what}"
        found = check()
        if found:
            print("ok:", what)
            return found
        time.sleep(0.05)
    raise AssertionError(f"waited in vain: {what}")


def main():
    config.load_kube_config()
    core, objects = client.CoreV1Api(), client.CustomObjectsApi()
    client.ApiextensionsV1Api().create_custom_resource_definition(definition())
    here = pathlib.Path(__file__).parent
    command = [sys.executable, "-m", "kopf", "run", "--standalone", "-n", "default", here / "widgets_operator.py"]
    operator = subprocess.Popen(command)
    try:
        drive(core, objects, operator)
    finally:
        operator.terminate()
        operator.wait(SECONDS)
    print("all checks passed with kopf", __import__("kopf").__version__)


def drive(core, objects, operator):
    def widget():
        # Before the definition is established there is no such path.
        try:
            return objects.get_namespaced_custom_object(*GROUP, "w")
        except client.ApiException as error:
            assert error.status == 404, error
            return {}

    def made():
        body = {"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "w"}, "spec": {"size": "small"}}
        try:
            return objects.create_namespaced_custom_object(*GROUP, body)
        except client.ApiException as error:
            assert error.status == 404, error
            return None

    wait("a widget is made", made, operator)
    status = lambda: widget().get("status", {})
    wait("the handler of creations ran", lambda: status().get("created") == {"size": "small"}, operator)
    check = lambda: "example.com/kopf" in widget()["metadata"].get("finalizers", [])
    wait("the operator holds the widget", check, operator)
    selector = "involvedObject.kind=Widget,involvedObject.name=w,reason=Built"
    events = lambda: core.list_namespaced_event("default", field_selector=selector).items
    assert wait("the operator wrote an event", events, operator)[0].message == "w is small"
    ticks = wait("the timer runs", lambda: status().get("ticks"), operator)
    wait("the timer goes on", lambda: status().get("ticks", 0) > ticks, operator)
    objects.patch_namespaced_custom_object(*GROUP, "w", {"spec": {"size": "large"}})
    check = lambda: (status().get("was"), status().get("now")) == ("small", "large")
    wait("the handler of updates ran", check, operator)
    objects.delete_namespaced_custom_object(*GROUP, "w")
    wait("the widget is gone", lambda: not widget(), operator)
    maps = lambda: [m for m in core.list_namespaced_config_map("default").items if m.metadata.name == "w-was-here"]
    wait("the handler of deletions ran", maps, operator)


main()
