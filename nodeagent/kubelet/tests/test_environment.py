"""Variables of a container, and its command line."""

import pytest
from stories import container, pod

from nodeagent.kubelet.environment import command_line, environment, expand, service_variables
from nodeagent.kubelet.errors import ConfigError, MissingReference

OBJECTS = {
    ("configmap", "cm"): {"data": {"A": "1", "B": "2"}},
    ("secret", "s"): {"data": {"KEY": "aHVzaA=="}},
}


async def lookup(kind, name):
    try:
        return OBJECTS[kind, name]
    except KeyError:
        raise MissingReference(f'{kind} "{name}" not found') from None


async def variables(one, services=None):
    return await environment(
        pod(one, meta={"labels": {"app": "web"}}),
        one,
        services=services or {},
        lookup=lookup,
        ip="10.1.0.2",
        host_ip="192.0.2.2",
        allocatable={"cpu": "2", "memory": "1Gi"},
    )


def test_references_are_expanded_and_dollars_escaped():
    known = {"A": "1"}
    assert expand("$(A) $$(A) $(B) $A $", known) == "1 $(A) $(B) $A $"


async def test_env_wins_over_env_from_and_sees_it():
    one = container(
        envFrom=[{"configMapRef": {"name": "cm"}}, {"prefix": "S_", "secretRef": {"name": "s"}}],
        env=[{"name": "A", "value": "$(B)$(S_KEY)"}, {"name": "C", "value": "$(A)$(HOST)"}],
    )
    found = await variables(one, {"HOST": "10.96.0.1"})
    assert found == {"HOST": "10.96.0.1", "A": "2hush", "B": "2", "S_KEY": "hush", "C": "2hush10.96.0.1"}


async def test_the_downward_api():
    def field(path):
        return {"fieldRef": {"fieldPath": path}}

    one = container(
        resources={"limits": {"cpu": "1500m"}},
        env=[
            {"name": "IP", "valueFrom": field("status.podIP")},
            {"name": "APP", "valueFrom": field("metadata.labels['app']")},
            {"name": "CPU", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}},
            {"name": "MI", "valueFrom": {"resourceFieldRef": {"resource": "limits.memory", "divisor": "1Mi"}}},
        ],
    )
    assert await variables(one) == {"IP": "10.1.0.2", "APP": "web", "CPU": "2", "MI": "1024"}


async def test_what_is_missing_says_so_unless_it_is_optional():
    with pytest.raises(ConfigError, match='configmap "nope" not found'):
        await variables(container(envFrom=[{"configMapRef": {"name": "nope"}}]))
    key = {"name": "cm", "key": "Z"}
    with pytest.raises(ConfigError, match="couldn't find key Z in ConfigMap ns/cm"):
        await variables(container(env=[{"name": "X", "valueFrom": {"configMapKeyRef": key}}]))
    optional = {"name": "X", "valueFrom": {"configMapKeyRef": {**key, "optional": True}}}
    assert await variables(container(env=[optional])) == {}


def test_services_are_told_as_links():
    def service(name, namespace, ip, *ports):
        return {"metadata": {"name": name, "namespace": namespace}, "spec": {"clusterIP": ip, "ports": list(ports)}}

    services = [
        service("kubernetes", "default", "10.96.0.1", {"name": "https", "port": 443}),
        service("my-web", "ns", "10.96.0.9", {"port": 80, "protocol": "TCP"}),
        service("other", "elsewhere", "10.96.0.8", {"port": 80}),
        service("headless", "ns", "None", {"port": 80}),
    ]
    found = service_variables(services, "ns", links=True)
    assert found["KUBERNETES_SERVICE_PORT_HTTPS"] == "443"
    assert found["MY_WEB_PORT_80_TCP"] == "tcp://10.96.0.9:80"
    assert not any(name.startswith(("OTHER", "HEADLESS")) for name in found)
    assert "MY_WEB_SERVICE_HOST" not in service_variables(services, "ns", links=False)


def test_command_and_args_replace_what_the_image_says():
    image = (["/entry"], ["cmd"])
    assert command_line(container(), *image, {}) == ("/entry", "cmd")
    assert command_line(container(args=["$(A)"]), *image, {"A": "1"}) == ("/entry", "1")
    assert command_line(container(command=["run"]), *image, {}) == ("run",)
    with pytest.raises(ConfigError, match="no command specified"):
        command_line(container(), (), (), {})
