"""An operator as kopf's users write them, for the tests: each Greeting gets a ConfigMap with its text.

Run by ``python -m kopf run``; its own finalizer keeps a Greeting until ``farewell`` has been said.
"""

from __future__ import annotations

import datetime
from typing import Any

import kopf
from kubernetes import client, config


@kopf.on.startup()
def connect(settings: kopf.OperatorSettings, **_: Any) -> None:
    config.load_kube_config()
    settings.persistence.finalizer = "greeter.example.org/farewell"


def text(spec: Any) -> dict[str, str]:
    return {"text": f"Hello, {spec['who']}!"}


@kopf.on.create("greetings")
def greet(spec: Any, name: str, namespace: str, **_: Any) -> dict[str, str]:
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": text(spec)}
    kopf.adopt(body)
    client.CoreV1Api().create_namespaced_config_map(namespace, body)
    return {"configMap": name}


@kopf.on.update("greetings", field="spec.who")
def greet_anew(spec: Any, name: str, namespace: str, old: str, new: str, patch: kopf.Patch, **_: Any) -> None:
    if new == "nobody":
        raise kopf.PermanentError("nobody is not greeted")
    client.CoreV1Api().patch_namespaced_config_map(name, namespace, {"data": text(spec)})
    patch.status["before"] = old


@kopf.on.delete("greetings")
def farewell(spec: Any, body: kopf.Body, namespace: str, **_: Any) -> None:
    farewells = {"metadata": {"name": "farewells"}, "data": {"last": spec["who"]}}
    client.CoreV1Api().create_namespaced_config_map(namespace, farewells)
    kopf.info(body, reason="Farewell", message=f"Goodbye, {spec['who']}!")


@kopf.timer("greetings", interval=0.5)
def count(status: Any, patch: kopf.Patch, **_: Any) -> None:
    patch.status["turns"] = status.get("turns", 0) + 1
    patch.status["seen"] = datetime.datetime.now(datetime.UTC).isoformat()


@kopf.daemon("greetings", cancellation_timeout=5)
async def watch(stopped: kopf.AsyncDaemonStopped, name: str, **_: Any) -> None:
    print(f"watching {name}", flush=True)
    await stopped.wait()
    print(f"no longer watching {name}", flush=True)


@kopf.index("configmaps")
def by_text(body: kopf.Body, **_: Any) -> dict[str, str]:
    return {(body.get("data") or {}).get("text", ""): body["metadata"]["name"]}


@kopf.on.event("configmaps", labels={"watched": "yes"})
def told(by_text: kopf.Index[str, str], name: str, namespace: str, **_: Any) -> None:
    """Label what is watched with the number of texts that are known."""
    client.CoreV1Api().patch_namespaced_config_map(
        name, namespace, {"metadata": {"labels": {"watched": "done", "texts": str(len(by_text))}}}
    )
