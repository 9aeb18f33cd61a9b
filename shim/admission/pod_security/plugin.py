"""Pods must meet what their namespace enforces; of what has pods to be made later, the client is warned."""

from __future__ import annotations

import asyncio
from collections import Counter

from shim.admission.namespace_lifecycle import NAMESPACES
from shim.admission.pod_security.checks import refusals
from shim.admission.pod_security.policy import PREFIX, PRIVILEGED, Policy, Standard, is_stricter, policy_of
from shim.admission.pod_security.words import Refusal
from shim.admission.request import CREATE, UPDATE, Plugin, Reader, Request, refuse, together
from shim.api.meta import GVR, Object, controller_of
from shim.api.status import FieldError, internal, invalid
from shim.api.version import MINOR

PODS = GVR("", "v1", "pods")
MOST_PODS = 3000  # of a namespace whose label changes: more are not looked at, and the warning says so
_AT_ONCE = 100  # pods judged before others have their turn
_UNJUDGED = ("exec", "attach", "binding", "eviction", "log", "portforward", "proxy", "status")
_TEMPLATES = {
    ("", "podtemplates"): ("template",),
    ("", "replicationcontrollers"): ("spec", "template"),
    ("apps", "replicasets"): ("spec", "template"),
    ("apps", "deployments"): ("spec", "template"),
    ("apps", "statefulsets"): ("spec", "template"),
    ("apps", "daemonsets"): ("spec", "template"),
    ("batch", "jobs"): ("spec", "template"),
    ("batch", "cronjobs"): ("spec", "jobTemplate", "spec", "template"),
}
"""Where what makes pods keeps their template."""


class PodSecurity(Plugin):
    resources = (("", "pods"), ("", "namespaces"), *_TEMPLATES)

    def __init__(self) -> None:
        self._evaluations: Counter[tuple[str, ...]] = Counter()
        self._errors: Counter[tuple[str, ...]] = Counter()
        self.counts = {"pod_security_evaluations": self._evaluations, "pod_security_errors": self._errors}

    async def validate(self, request: Request, reader: Reader) -> None:
        if request.obj is None or request.operation not in (CREATE, UPDATE):
            return
        if request.resource.name == "namespaces":
            await _check_namespace(request, reader)
        elif request.resource.name == "pods":
            self._check_pod(request, reader)
        elif not request.subresource:
            self._check_template(request, reader)

    def _check_pod(self, request: Request, reader: Reader) -> None:
        pod = request.obj
        assert pod is not None
        if request.subresource in _UNJUDGED:
            return
        policy, causes = self._policy(request, reader)
        if not causes and policy.is_privileged:
            self._count(request, "enforce", policy.enforce, allowed=True)
            request.annotations[f"{PREFIX}enforce-policy"] = str(Standard())
            return
        if request.operation == UPDATE and request.old is not None and not _matters(pod["spec"], request.old["spec"]):
            return
        self._evaluate(request, policy, causes, pod, enforced=True)

    def _check_template(self, request: Request, reader: Reader) -> None:
        """Nothing is enforced: who makes the pods will be refused; but whoever writes this should hear of it now."""
        policy, causes = self._policy(request, reader)
        if not causes and policy.warn.level == policy.audit.level == PRIVILEGED:
            return
        template = request.obj
        for field in _TEMPLATES[request.resource.group, request.resource.name]:
            template = (template or {}).get(field)
        if template and template.get("spec") is not None:
            self._evaluate(request, policy, causes, template, enforced=False)

    def _policy(self, request: Request, reader: Reader) -> tuple[Policy, list[FieldError]]:
        namespace = reader.get(NAMESPACES, None, request.namespace or "")
        if namespace is None:
            self._errors["true", *_about(request)] += 1
            raise internal(f'failed to lookup namespace "{request.namespace}"')
        return policy_of(namespace["metadata"].get("labels"))

    def _evaluate(
        self, request: Request, policy: Policy, causes: list[FieldError], pod: Object, *, enforced: bool
    ) -> None:
        annotations, notes = (pod.get("metadata") or {}).get("annotations"), request.annotations
        judged: dict[Standard, list[Refusal]] = {}

        def judge(standard: Standard) -> str:
            if standard not in judged:
                judged[standard] = refusals(standard, annotations, pod["spec"])
            return ", ".join(map(str, judged[standard]))

        if causes:
            self._errors["false", *_about(request)] += 1
            notes[f"{PREFIX}error"] = f"Failed to parse policy: {together([f'{c.field}: {c.message}' for c in causes])}"
        if why := judge(policy.audit):
            self._count(request, "audit", policy.audit, allowed=False)
            notes[f"{PREFIX}audit-violations"] = f'would violate PodSecurity "{policy.audit}": {why}'
        if enforced:
            notes[f"{PREFIX}enforce-policy"] = str(policy.enforce)
            why = judge(policy.enforce)
            self._count(request, "enforce", policy.enforce, allowed=not why)
            if why:
                raise refuse(request, f'violates PodSecurity "{policy.enforce}": {why}')
        if why := judge(policy.warn):
            self._count(request, "warn", policy.warn, allowed=False)
            request.warnings.append(f'would violate PodSecurity "{policy.warn}": {why}')

    def _count(self, request: Request, mode: str, standard: Standard, *, allowed: bool) -> None:
        """Of what is noted or warned of, upstream counts what is wrong alone."""
        decision = "allow" if allowed else "deny"
        self._evaluations[decision, standard.level, _version(standard), mode, *_about(request)] += 1


def _about(request: Request) -> tuple[str, str, str]:
    """What is judged, in the words of the metrics: operation, pod or what makes pods, subresource."""
    what = "pod" if request.resource.name == "pods" else "controller"
    return request.operation.lower(), what, request.subresource


def _version(standard: Standard) -> str:
    if standard.minor is None or standard.level == PRIVILEGED:  # which has always been the same
        return "latest"
    return f"v1.{standard.minor}" if standard.minor <= MINOR else "future"


def _matters(new: Object, old: Object) -> bool:
    """Whether an update of a pod can change how it is judged: by an image, or by a container that was not there."""
    for field in ("containers", "initContainers"):
        images = [[each.get("image") for each in spec.get(field) or ()] for spec in (new, old)]
        if images[0] != images[1]:
            return True
    before = {each["name"]: each.get("image") for each in old.get("ephemeralContainers") or ()}
    return any(
        each["name"] not in before or before[each["name"]] != each.get("image")
        for each in new.get("ephemeralContainers") or ()
    )


async def _check_namespace(request: Request, reader: Reader) -> None:
    if request.subresource or request.obj is None:
        return
    policy, causes = policy_of(request.obj["metadata"].get("labels"))
    before, old_causes = policy_of(((request.old or {}).get("metadata") or {}).get("labels"))
    if causes and (request.operation == CREATE or causes != old_causes):
        raise invalid("", "Namespace", request.name, causes)
    new, old = policy.enforce, before.enforce
    if request.operation == CREATE or new == old or new.level == PRIVILEGED:
        return
    if new.minor == old.minor and not is_stricter(new, old):
        return
    request.warnings.extend(await _violators(reader, request.name, new))


async def _violators(reader: Reader, namespace: str, standard: Standard) -> list[str]:
    """Warnings of pods that are there already and would not be let in any more."""
    pods = _one_of_each_first(reader.list(PODS, namespace))
    found: dict[str, list[str]] = {}
    for number, pod in enumerate(pods[:MOST_PODS], 1):
        if bad := refusals(standard, pod["metadata"].get("annotations"), pod["spec"]):
            found.setdefault(", ".join(each.reason for each in bad), []).append(pod["metadata"]["name"])
        if number % _AT_ONCE == 0:
            await asyncio.sleep(0)
    warnings = []
    if len(pods) > MOST_PODS:
        seen = f"the first {MOST_PODS} of {len(pods)} existing pods"
        warnings.append(f"new PodSecurity enforce level only checked against {seen}")
    if found:
        violate = f'violate the new PodSecurity enforce level "{standard}"'
        warnings.append(f'existing pods in namespace "{namespace}" {violate}')
    return warnings + sorted(f"{min(names)}{_others(len(names) - 1)}: {why}" for why, names in found.items())


def _others(count: int) -> str:
    if not count:
        return ""
    return " (and 1 other pod)" if count == 1 else f" (and {count} other pods)"


def _one_of_each_first(pods: list[Object]) -> list[Object]:
    """Pods of one controller are alike: if not all can be looked at, then one of each."""
    first: list[Object] = []
    rest: list[Object] = []
    seen = set()
    for pod in pods:
        owner = (controller_of(pod) or {}).get("uid")
        (rest if owner in seen else first).append(pod)
        if owner:
            seen.add(owner)
    return first + rest
