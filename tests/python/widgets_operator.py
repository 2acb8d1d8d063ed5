"""An operator in kopf over a kind of the user's own. Run by `kopf run`; `operator_check.py` watches what it does."""

import kopf
import kubernetes


@kopf.on.startup()
def configure(settings, **_):
    settings.posting.level = 20
    settings.persistence.finalizer = "example.com/kopf"


@kopf.on.create("example.com", "v1", "widgets")
def created(body, spec, name, **_):
    kopf.info(body, reason="Built", message=f"{name} is {spec['size']}")
    return {"size": spec["size"]}


@kopf.on.update("example.com", "v1", "widgets", field="spec.size")
def updated(old, new, patch, **_):
    patch.status["was"] = old
    patch.status["now"] = new


@kopf.timer("example.com", "v1", "widgets", interval=0.2)
def tick(status, patch, **_):
    patch.status["ticks"] = status.get("ticks", 0) + 1


@kopf.on.delete("example.com", "v1", "widgets")
def deleted(name, namespace, **_):
    kubernetes.config.load_kube_config()
    try:
        kubernetes.client.CoreV1Api().create_namespaced_config_map(
            namespace, {"metadata": {"name": f"{name}-was-here"}}
        )
    except kubernetes.client.ApiException as error:
        # A handler may be called again.
        if error.status != 409:
            raise
