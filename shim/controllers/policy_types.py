"""Do the expressions of validating admission policies fit what they are about? Told in ``status.typeChecking``.

The types are those that the server's own OpenAPI documents describe. What is found are warnings: they keep no policy
from being asked, for which objects are untyped. As upstream, only rules that name their resources are looked at.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import orjson

from shim import cel
from shim.api.meta import Object, split_api_version
from shim.api.status import ApiError
from shim.cel.openapi import Document
from shim.cel.policies import PolicyEnvironments
from shim.client import resource as r
from shim.controllers.loop import Context, Controller
from shim.controllers.status_write import write_status

MOST_TYPES = 10  # upstream's limit


class Kind(NamedTuple):
    group: str
    version: str
    kind: str

    def __str__(self) -> str:
        return f"{self.group}/{self.version}, Kind={self.kind}"


class PolicyTypes(Controller):
    """Keys of the queue are names of policies."""

    name = "validatingadmissionpolicy-status-controller"
    workers = 1

    def __init__(self, ctx: Context) -> None:
        super().__init__(ctx)
        self.policies = ctx.informer(r.VALIDATINGADMISSIONPOLICIES)
        self.policies.on_change(self.changed)

    def changed(self, old: Object | None, new: Object | None) -> None:
        if new is not None:
            self.queue.add(new["metadata"]["name"])

    async def reconcile(self, key: str) -> None:
        policy = self.policies.get(key)
        if policy is None:
            return
        generation, status = policy["metadata"].get("generation") or 0, policy.get("status") or {}
        if generation <= (status.get("observedGeneration") or 0):
            return
        spec = policy["spec"]
        kinds = sorted([kind async for kind in self.kinds(spec)])[:MOST_TYPES]
        types = {kind: await self.type_of(kind) for kind in kinds}
        params: cel.Type | None = None
        if wanted := spec.get("paramKind"):
            params = await self.type_of(Kind(*split_api_version(wanted["apiVersion"]), wanted["kind"]))
        found = warnings(spec, {kind: type for kind, type in types.items() if type is not None}, params)
        checked = {"expressionWarnings": found} if found else {}
        told = {**status, "observedGeneration": generation, "typeChecking": checked}
        await write_status(self.ctx.client, r.VALIDATINGADMISSIONPOLICIES, policy, told)

    async def kinds(self, spec: Object) -> Any:
        """The kinds of the resources that the policy names."""
        seen = set()
        for rule in (spec.get("matchConstraints") or {}).get("resourceRules") or ():
            groups, versions = rule.get("apiGroups") or (), rule.get("apiVersions") or ()
            if any("*" in text for text in (*groups, *versions)):
                continue
            names = [name for name in rule.get("resources") or () if "*" not in name and "/" not in name]
            for group in groups:
                for version in versions:
                    for resource in (await self.ask(f"{_path(group, version)}") or {}).get("resources") or ():
                        kind = Kind(group, version, resource["kind"])
                        if resource["name"] in names and kind not in seen:
                            seen.add(kind)
                            yield kind

    async def type_of(self, kind: Kind) -> cel.Type | None:
        document = await self.ask(f"/openapi/v3{_path(kind.group, kind.version)}")
        return Document(document).kind(*kind) if document else None

    async def ask(self, path: str) -> Object | None:
        """A document of the server, or None where there is none."""
        status, body = await self.ctx.client.raw("GET", path)
        if status == 404:
            return None
        if status != 200:
            raise ApiError.from_status(orjson.loads(body), status)
        answer: Object = orjson.loads(body)
        return answer


def _path(group: str, version: str) -> str:
    return f"/apis/{group}/{version}" if group else f"/api/{version}"


def warnings(spec: Object, types: Mapping[Kind, cel.Type], params: cel.Type | None) -> list[Object]:
    """What is wrong with the expressions for these types, each with the field it stands in."""
    environments = {kind: _environments(spec, type, params) for kind, type in types.items()}
    found = []
    for field, expression in _expressions(spec):
        problems = "\n".join(
            f"{kind}: {problem}\n"
            for kind, environment in environments.items()
            if (problem := _problem(environment, expression))
        )
        if problems:
            found.append({"fieldRef": field, "warning": problems})
    return found


def _environments(spec: Object, type: cel.Type, params: cel.Type | None) -> cel.Environment:
    types = {"object": type, "oldObject": type}
    if params is not None:
        types["params"] = params
    environments = PolicyEnvironments(spec, checks=types)
    for variable in spec.get("variables") or ():
        try:
            environments.add(variable["name"], variable["expression"])
        except cel.CompileError:
            environments.declare(variable["name"], cel.DYN)
    return environments.validations


def _expressions(spec: Object) -> Iterator[tuple[str, str]]:
    for index, validation in enumerate(spec.get("validations") or ()):
        for field in ("expression", "messageExpression"):
            if text := validation.get(field):
                yield f"spec.validations[{index}].{field}", text


def _problem(environment: cel.Environment, expression: str) -> str:
    try:
        environment.check(expression)
    except cel.CompileError as error:
        return str(error)
    return ""
