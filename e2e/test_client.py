"""The official Python client: typed objects, watches, exec, the dynamic client, informers and leader election."""

from __future__ import annotations

import queue
import subprocess
import sys
from collections.abc import Iterator

import pytest
from kubernetes import client, config, watch
from kubernetes.dynamic import DynamicClient
from kubernetes.dynamic.exceptions import ConflictError, NotFoundError
from kubernetes.informer import ADDED, DELETED, MODIFIED, SharedInformer
from kubernetes.stream import portforward, stream

from e2e.cluster import Cluster, eventually, pod

WAIT = 60  # seconds a test waits for what a busy machine does slowly


@pytest.fixture
def connection(cluster: Cluster) -> Iterator[client.ApiClient]:
    with config.new_client_from_config(str(cluster.kubeconfig)) as made:
        yield made


@pytest.fixture
def core(connection: client.ApiClient) -> client.CoreV1Api:
    return client.CoreV1Api(connection)


def test_create_watch_log_exec_delete(core: client.CoreV1Api, namespace: str) -> None:
    made = core.create_namespaced_pod(namespace, pod("typed", "sh", "-c", "echo out; sleep 1000"))
    assert made.status.phase == "Pending"
    phases = []
    watching = watch.Watch()
    for event in watching.stream(core.list_namespaced_pod, namespace, timeout_seconds=WAIT):
        phases.append(event["object"].status.phase)
        if phases[-1] == "Running":
            watching.stop()
    assert phases[0] == "Pending"
    assert phases[-1] == "Running"
    assert core.read_namespaced_pod_log("typed", namespace) == "out\n"
    said = stream(
        core.connect_get_namespaced_pod_exec, "typed", namespace, command=["echo", "hello"], stdout=True, stderr=True
    )
    assert said == "hello\n"
    core.delete_namespaced_pod("typed", namespace)


def test_a_shell_is_talked_to_and_a_port_reached(core: client.CoreV1Api, namespace: str) -> None:
    """Standard input, both outputs and the exit code over one WebSocket; HTTP over another."""
    serving = pod("shell", "sh", "-c", "mkdir /www; echo hi > /www/index.html; exec httpd -f -p 8080 -h /www")
    core.create_namespaced_pod(namespace, serving)
    eventually(lambda: core.read_namespaced_pod_status("shell", namespace).status.phase == "Running")
    shell = stream(
        core.connect_get_namespaced_pod_exec,
        "shell",
        namespace,
        command=["sh"],
        stdin=True,
        stdout=True,
        stderr=True,
        _preload_content=False,
    )
    shell.write_stdin("echo seen; echo wrong >&2; exit 3\n")
    shell.run_forever(timeout=WAIT)
    assert (shell.read_stdout(), shell.read_stderr(), shell.returncode) == ("seen\n", "wrong\n", 3)

    def page() -> str:
        forwarded = portforward(core.connect_get_namespaced_pod_portforward, "shell", namespace, ports="8080")
        socket = forwarded.socket(8080)
        socket.settimeout(WAIT)
        socket.sendall(b"GET / HTTP/1.0\r\n\r\n")
        said = b""
        while more := socket.recv(4096):
            said += more
        assert forwarded.error(8080) is None
        return said.decode()

    assert eventually(page).endswith("\r\n\r\nhi\n")


def test_patches_of_every_type(connection: client.ApiClient, core: client.CoreV1Api, namespace: str) -> None:
    core.create_namespaced_config_map(namespace, {"metadata": {"name": "c"}, "data": {"a": "1", "b": "1"}})
    merged = core.patch_namespaced_config_map("c", namespace, {"data": {"a": None, "c": "2"}})
    assert merged.data == {"b": "1", "c": "2"}
    steps = [{"op": "replace", "path": "/data/b", "value": "3"}]
    assert core.patch_namespaced_config_map("c", namespace, steps).data == {"b": "3", "c": "2"}
    applied = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"b": "4"}}
    with pytest.raises(client.ApiException) as conflict:
        core.patch_namespaced_config_map(
            "c", namespace, applied, field_manager="me", _content_type="application/apply-patch+yaml"
        )
    assert conflict.value.status == 409
    forced = core.patch_namespaced_config_map(
        "c", namespace, applied, field_manager="me", force=True, _content_type="application/apply-patch+yaml"
    )
    assert forced.data["b"] == "4"
    assert {each.manager for each in forced.metadata.managed_fields} >= {"me"}


def test_errors_are_typed(core: client.CoreV1Api, namespace: str) -> None:
    with pytest.raises(client.ApiException) as refused:
        core.read_namespaced_pod("nobody", namespace)
    assert refused.value.status == 404
    assert 'pods \\"nobody\\" not found' in str(refused.value.body)


def test_the_dynamic_client_finds_built_in_and_custom_kinds(connection: client.ApiClient, namespace: str) -> None:
    dynamic = DynamicClient(connection)
    group = f"{namespace}.example.org"
    definition = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"crontabs.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"plural": "crontabs", "singular": "crontab", "kind": "CronTab"},
            "versions": [
                {
                    "name": "v1",
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}},
                }
            ],
        },
    }
    definitions = dynamic.resources.get(api_version="apiextensions.k8s.io/v1", kind="CustomResourceDefinition")
    definitions.create(body=definition)

    def found() -> bool:
        dynamic.resources.invalidate_cache()
        return bool(dynamic.resources.search(group=group, kind="CronTab"))

    eventually(found)
    crontabs = dynamic.resources.get(api_version=f"{group}/v1", kind="CronTab")
    body = {"apiVersion": f"{group}/v1", "kind": "CronTab", "metadata": {"name": "nightly"}, "spec": {"at": "0 3"}}
    made = crontabs.create(body=body, namespace=namespace)
    assert made.spec.at == "0 3"
    first = next(iter(crontabs.watch(namespace=namespace, timeout=WAIT)))
    assert (first["type"], first["object"].metadata.name) == ("ADDED", "nightly")
    crontabs.patch(
        body={"spec": {"at": "0 4"}}, name="nightly", namespace=namespace, content_type="application/merge-patch+json"
    )
    with pytest.raises(ConflictError):
        crontabs.replace(body=made.to_dict(), namespace=namespace)
    theirs = crontabs.server_side_apply(
        body={**body, "spec": {"at": "0 5"}}, namespace=namespace, field_manager="me", force_conflicts=True
    )
    assert theirs.spec.at == "0 5"
    crontabs.delete(name="nightly", namespace=namespace)
    with pytest.raises(NotFoundError):
        crontabs.get(name="nightly", namespace=namespace)
    definitions.delete(name=definition["metadata"]["name"])


def test_an_informer_keeps_up(core: client.CoreV1Api, namespace: str) -> None:
    told: queue.Queue[tuple[str, str]] = queue.Queue()
    informer = SharedInformer(core.list_namespaced_config_map, namespace=namespace, label_selector="seen=yes")
    for kind in (ADDED, MODIFIED, DELETED):
        informer.add_event_handler(kind, lambda found, kind=kind: told.put((kind, found.metadata.name)))
    body = {"metadata": {"name": "first", "labels": {"seen": "yes"}}}
    core.create_namespaced_config_map(namespace, body)
    informer.start()
    try:
        assert told.get(timeout=WAIT) == (ADDED, "first")
        core.create_namespaced_config_map(namespace, {"metadata": {"name": "unseen"}})
        core.patch_namespaced_config_map("first", namespace, {"data": {"a": "b"}})
        assert told.get(timeout=WAIT) == (MODIFIED, "first")
        core.patch_namespaced_config_map("first", namespace, {"metadata": {"labels": {"seen": "no"}}})
        assert told.get(timeout=WAIT) == (DELETED, "first")
        assert informer.cache.list() == []
    finally:
        informer.stop()


CANDIDATE = """
import sys
from kubernetes import config
from kubernetes.leaderelection import electionconfig, leaderelection
from kubernetes.leaderelection.resourcelock.leaselock import LeaseLock

kubeconfig, namespace, name = sys.argv[1:]
config.load_kube_config(kubeconfig)
leaderelection.LeaderElection(
    electionconfig.Config(
        LeaseLock("chair", namespace, name), lease_duration=4, renew_deadline=3, retry_period=1,
        onstarted_leading=lambda: print(name, "leads", flush=True), onstopped_leading=lambda: None,
    )
).run()
"""


def test_one_leads_until_it_dies(cluster: Cluster, namespace: str) -> None:
    def candidate(name: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", CANDIDATE, str(cluster.kubeconfig), namespace, name]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    def holder() -> str:
        return str(cluster.get("lease", "chair", "-n", namespace)["spec"]["holderIdentity"])

    with candidate("first") as first:
        assert first.stdout.readline() == "first leads\n"
        with candidate("second") as second:
            assert holder() == "first"
            first.kill()
            assert second.stdout.readline() == "second leads\n"
            assert holder() == "second"
            second.kill()
