"""Match conditions: expressions that must all be true for a webhook or a policy to have its say on a request."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeVar

from shim import cel
from shim.admission.matching import Match, converted, namespace_of
from shim.admission.request import Reader, Request, together
from shim.api.meta import Object

BUDGET = 2_500_000  # upstream's RuntimeCELCostBudgetMatchConditions, a quarter of a policy's

PATIENCE = 20_000.0  # what expressions may cost in the loop, about 20 ms; dearer ones are run beside it
_LONG = 0.002  # seconds that are long enough for others to have their turn
T = TypeVar("T")


class ConditionError(Exception):
    """Conditions that could not be told, and none that is false; the text is upstream's."""


class Impatient(Exception):
    """Expressions cost more than whoever asked wants to wait for."""


@dataclass(frozen=True, slots=True)
class Condition:
    name: str
    expression: str


def conditions_of(holder: Object) -> tuple[Condition, ...]:
    """``matchConditions`` of a webhook or a policy."""
    found = holder.get("matchConditions") or ()
    return tuple(Condition(each.get("name") or "", (each.get("expression") or "").strip()) for each in found)


async def patiently(ask: Callable[[float], T]) -> T:
    """What expressions come to: dear ones, for which ``ask`` raises Impatient, are asked in a thread of their own."""
    began = time.perf_counter()
    try:
        return ask(PATIENCE)
    except Impatient:
        return await asyncio.to_thread(ask, math.inf)
    finally:
        if time.perf_counter() - began > _LONG:
            await asyncio.sleep(0)


def hold(
    conditions: Sequence[Condition],
    environment: cel.Environment,
    values: Mapping[str, Any],
    patience: float,
) -> bool:
    """Whether all are true; one that is false decides, whatever the others. Raises ConditionError and Impatient."""
    problems: list[str] = []
    left = float(BUDGET)
    for condition in conditions:
        try:
            limit = min(cel.CALL_LIMIT, patience - (BUDGET - left))
            result = _program(environment, condition.expression).evaluate(values, limit)
        except cel.CompileError as error:
            problems.append(error.told)
        except cel.CelError as error:
            if isinstance(error, cel.OverBudget) and limit < cel.CALL_LIMIT:
                raise Impatient from None
            problems.append(f"expression '{condition.expression}' resulted in error: {error}")
            left -= getattr(error, "cost", 0.0)
        else:
            left -= result.cost
            if result.value is False:
                return False
        if BUDGET - left > patience:
            raise Impatient
        if left < 0:
            raise ConditionError("validation failed due to running out of cost budget, no further validation rules "
                                 "will be run")  # fmt: skip
    if problems:
        raise ConditionError(together(problems))
    return True


@lru_cache(maxsize=1024)
def _program(environment: cel.Environment, expression: str) -> cel.Program:
    return environment.compile(expression, cel.BOOL)


def variables_of(request: Request, match: Match, reader: Reader) -> dict[str, Any]:
    """What expressions may speak of, but for what policies add."""
    resource = request.resource
    asked = cel.Authorizer(lambda attributes: reader.judge(request.user, attributes))
    return {
        "object": converted(request.obj, request, match),
        "oldObject": converted(request.old, request, match),
        "namespaceObject": None,
        "request": described(request, match),
        "authorizer": asked,
        "authorizer.requestResource": asked.resource_check(
            resource.group, resource.name, request.subresource, request.namespace or "", request.name
        ),
    }


def described(request: Request, match: Match) -> Object:
    """``AdmissionRequest`` without its objects: what expressions and webhooks are told of a request."""
    own, other = request.resource, match.resource
    kind = dict(zip(("group", "version", "kind"), match.kind, strict=True))
    asked = kind if other is own else {**kind, "group": own.group, "version": own.version}
    said: Object = {
        "kind": kind,
        "resource": {"group": other.group, "version": other.version, "resource": other.name},
        "requestKind": asked,
        "requestResource": {"group": own.group, "version": own.version, "resource": own.name},
        "operation": request.operation,
        "userInfo": request.user.info(),
        "dryRun": request.dry_run,
        "options": request.options or None,
    }
    if request.subresource:
        said["subResource"] = said["requestSubResource"] = request.subresource
    if request.name:
        said["name"] = request.name
    if namespace := namespace_of(request):
        said["namespace"] = namespace
    return said
