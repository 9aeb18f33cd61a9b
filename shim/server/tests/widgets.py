"""Widgets, a custom resource with something of everything: their definition, and what stories ask of them."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from typing import Any

from shim.server.tests.conftest import Answer, Api

_numbers = itertools.count()
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
API_SERVICES = "/apis/apiregistration.k8s.io/v1/apiservices"
HEAVIER = {"rule": "self.weight >= oldSelf.weight", "reason": "FieldValueForbidden"}
SPEC: dict[str, Any] = {
    "type": "object",
    "required": ["size"],
    "properties": {
        "size": {"type": "integer", "minimum": 1, "maximum": 10},
        "color": {"type": "string", "enum": ["red", "blue"], "default": "red"},
        "replicas": {"type": "integer"},
        "names": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string", "maxLength": 9}},
        "parts": {
            "type": "array",
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["name"],
            "items": {
                "type": "object",
                "required": ["name"],
                "properties": {"name": {"type": "string"}, "weight": {"type": "number"}},
                "x-kubernetes-validations": [HEAVIER],
            },
        },
        "any": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
        "port": {"x-kubernetes-int-or-string": True},
    },
    "x-kubernetes-validations": [
        {"rule": "self.size != 7", "messageExpression": "'not in ' + self.color", "fieldPath": ".size"},
        {"rule": "self.size >= oldSelf.size", "message": "no shrinking"},
    ],
}


class Widgets:
    """A definition of a group of its own, changed as a story needs it."""

    def __init__(self, api: Api, *, versions: int = 1, **names: Any) -> None:
        self.api, self.group = api, f"story{next(_numbers)}.example.com"
        self.name = f"widgets.{self.group}"
        schema = {"type": "object", "properties": {"spec": SPEC, "status": {"type": "object", "properties": {
            "replicas": {"type": "integer"}, "phase": {"type": "string"}}}}}  # fmt: skip
        version = {
            "name": "v1",
            "served": True,
            "storage": True,
            "schema": {"openAPIV3Schema": schema},
            "subresources": {
                "status": {},
                "scale": {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"},
            },
            "additionalPrinterColumns": [
                {"name": "Size", "type": "integer", "jsonPath": ".spec.size"},
                {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
            ],
            "selectableFields": [{"jsonPath": ".spec.color"}],
        }
        more = [{**version, "name": f"v{number}", "storage": False} for number in range(2, versions + 1)]
        self.crd: dict[str, Any] = {
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": self.name},
            "spec": {
                "group": self.group,
                "scope": "Namespaced",
                "names": {"plural": "widgets", "kind": "Widget", "shortNames": ["wd"], **names},
                "versions": [version, *more],
            },
        }

    @property
    def properties(self) -> dict[str, Any]:
        found: dict[str, Any] = self.crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]
        return found

    def path(self, name: str = "", version: str = "v1") -> str:
        return f"/apis/{self.group}/{version}/namespaces/{{ns}}/widgets" + (f"/{name}" if name else "")

    async def define(self) -> Widgets:
        answer = await self.api.post(CRDS, self.crd)
        assert answer.status == 201, answer.data
        await self.until(lambda crd: "Established" in conditions(crd))
        return self

    async def change(self, change: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
        """Change the definition, and wait until the server has taken it in."""
        crd = (await self.api.get(f"{CRDS}/{self.name}")).json
        change(crd["spec"])
        answer = await self.api.put(f"{CRDS}/{self.name}", crd)
        assert answer.status == 200, answer.data
        await asyncio.sleep(0)
        found: dict[str, Any] = answer.json
        return found

    async def until(self, test: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        for _ in range(500):
            crd = (await self.api.get(f"{CRDS}/{self.name}")).json
            if test(crd):
                found: dict[str, Any] = crd
                return found
            await asyncio.sleep(0.01)
        raise AssertionError(crd)

    def widget(self, name: str = "a", **spec: Any) -> dict[str, Any]:
        return {"apiVersion": f"{self.group}/v1", "kind": "Widget", "metadata": {"name": name}, "spec": spec}

    async def create(self, name: str = "a", **spec: Any) -> Answer:
        return await self.api.post(self.path(), self.widget(name, **spec))


def conditions(crd: dict[str, Any]) -> set[str]:
    """The types of those that are true."""
    found = (crd.get("status") or {}).get("conditions") or ()
    return {each["type"] for each in found if each["status"] == "True"}


async def eventually(ask: Callable[[], Any], status: int) -> Answer:
    for _ in range(500):
        answer: Answer = await ask()
        if answer.status == status:
            return answer
        await asyncio.sleep(0.01)
    raise AssertionError(answer.data)
