"""In which form webhooks see what is written: scales, other versions, orders, custom resources."""

from __future__ import annotations

from shim.server.tests.conftest import Api
from shim.server.tests.hooks import PODS, Hooks, add, allow, deny, patch
from shim.server.tests.widgets import Widgets


async def test_a_scale_is_shown_as_one(api: Api, hooks: Hooks) -> None:
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    path = "/apis/apps/v1/namespaces/{ns}/deployments"
    body = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "d"},
        "spec": {"replicas": 1, "selector": {"matchLabels": {"a": "b"}}, "template": template},
    }
    assert (await api.post(path, body)).status == 201
    fewer = patch({"op": "replace", "path": "/spec/replicas", "value": 3})
    await hooks.mutating(hooks.webhook("scale", fewer, "apps:deployments/scale"))
    answer = await api.patch(path + "/d/scale", {"spec": {"replicas": 9}})
    assert (answer.status, answer.json["spec"]) == (200, {"replicas": 3})
    (request,) = hooks.requests("scale")
    assert request["kind"] == {"group": "autoscaling", "version": "v1", "kind": "Scale"}
    assert request["subResource"] == "scale"
    assert (request["oldObject"]["spec"], request["object"]["spec"]) == ({"replicas": 1}, {"replicas": 9})
    assert (await api.get(path + "/d")).json["spec"]["replicas"] == 3


async def test_equivalent_versions_are_converted(api: Api, hooks: Hooks) -> None:
    seen = hooks.webhook("scaler", allow(), "autoscaling:horizontalpodautoscalers")
    seen["rules"][0]["apiVersions"] = ["v2"]
    exact = hooks.webhook("exact", deny(), "autoscaling:horizontalpodautoscalers", matchPolicy="Exact")
    exact["rules"][0]["apiVersions"] = ["v2"]
    await hooks.validating(seen, exact)
    body = {
        "apiVersion": "autoscaling/v1",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "h"},
        "spec": {
            "maxReplicas": 3,
            "targetCPUUtilizationPercentage": 80,
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"},
        },
    }
    answer = await api.post("/apis/autoscaling/v1/namespaces/{ns}/horizontalpodautoscalers", body)
    assert answer.status == 201, answer.json
    (request,) = hooks.requests("scaler")
    assert (request["resource"]["version"], request["requestResource"]["version"]) == ("v2", "v1")
    assert request["object"]["apiVersion"] == "autoscaling/v2"
    assert request["object"]["spec"]["metrics"][0]["type"] == "Resource"


async def test_orders_and_connections_are_admitted(api: Api, hooks: Hooks) -> None:
    assert (await api.post(PODS, api.pod("p"))).status == 201
    await hooks.validating(
        hooks.webhook("bind", deny(), "pods/binding"),
        hooks.webhook("evict", deny(), "pods/eviction"),
        hooks.webhook("attach", deny(), "pods/attach"),
    )
    binding = {
        "apiVersion": "v1",
        "kind": "Binding",
        "metadata": {"name": "p"},
        "target": {"kind": "Node", "name": "n"},
    }
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "p"}}
    for name, answer, operation, kind in (
        ("bind", await api.post(PODS + "/p/binding", binding), "CREATE", "Binding"),
        ("evict", await api.post(PODS + "/p/eviction", eviction), "CREATE", "Eviction"),
        ("attach", await api.post(PODS + "/p/attach?stdout=1", b""), "CONNECT", "PodAttachOptions"),
    ):
        assert answer.message == f'admission webhook "{name}.example.com" denied the request without explanation'
        (request,) = hooks.requests(name)
        assert (request["operation"], request["kind"]["kind"]) == (operation, kind)
    assert hooks.requests("attach")[0]["object"]["stdout"] is True


async def test_custom_resources_are_converted_mutated_and_pruned(api: Api, hooks: Hooks) -> None:
    widgets = Widgets(api, versions=2)
    await widgets.define()
    resource = f"{widgets.group}:widgets"
    change = patch(add("/spec/color", "blue"), add("/spec/unknown", 1))
    other = hooks.webhook("paint", change, resource)
    other["rules"][0]["apiVersions"] = ["v2"]
    await hooks.mutating(other)
    await hooks.validating(hooks.webhook("deny", deny(), resource, objectSelector={"matchLabels": {"no": "way"}}))
    made = await widgets.create(size=3)
    assert made.status == 201, made.json
    assert made.json["spec"] == {"size": 3, "color": "blue"}, "what the schema does not know is pruned again"
    assert made.json["apiVersion"] == f"{widgets.group}/v1"
    (request,) = hooks.requests("paint")
    assert request["object"]["apiVersion"] == f"{widgets.group}/v2", "the rule names another version: it is converted"
    assert request["requestKind"]["version"] == "v1"
    marked = await api.patch(widgets.path("a"), {"metadata": {"labels": {"no": "way"}}})
    assert marked.message == 'admission webhook "deny.example.com" denied the request without explanation'
