"""What must hold of workloads: their selectors, their templates, and how they replace pods."""

from __future__ import annotations

from typing import Any

from shim.api import names, selectors
from shim.api.meta import Object
from shim.api.status import FieldError
from shim.resources.causes import (
    IMMUTABLE,
    as_go,
    as_map,
    as_selector,
    forbidden,
    invalid,
    label_selector,
    named,
    not_negative,
    one_of,
    required,
    unsupported,
)
from shim.resources.claim_rules import claim_spec
from shim.resources.pods import validation as pods

_MISMATCH = "`selector` does not match template `labels`"


def _compiled(selector: Object | None) -> selectors.Selector | None:
    """None for a selector that cannot be understood. A missing one matches nothing, an empty one everything."""
    try:
        return selectors.from_object(selector)
    except selectors.SelectorError:
        return None


def _is_empty(selector: Object) -> bool:
    return not selector.get("matchLabels") and not selector.get("matchExpressions")


def _selector(selector: Object | None, kind: str) -> list[FieldError]:
    if selector is None:
        return [required("spec.selector")]
    causes = label_selector("spec.selector", selector)
    if _is_empty(selector):
        causes.append(invalid("spec.selector", selector, f"empty selector is invalid for {kind}"))
    return causes


def _mismatch(selector: selectors.Selector | None, found: Object) -> list[FieldError]:
    labels = (found.get("metadata") or {}).get("labels")
    if selector is None or selector.matches(labels or {}):
        return []
    return [invalid("spec.template.metadata.labels", as_map(labels), _MISMATCH)]


def template(spec: Object, kind: str) -> list[FieldError]:
    """A template whose pods run for ever, and are found by the selector."""
    selector, found = _compiled(spec.get("selector")), spec.get("template") or {}
    if selector is None:
        return [invalid("spec.selector", as_selector(spec["selector"]), "invalid label selector")]
    causes = [] if selector.empty else _mismatch(selector, found)
    return causes + pods.template("spec.template", found) + forever(found, kind)


def forever(found: Object, kind: str) -> list[FieldError]:
    spec, at = found.get("spec") or {}, "spec.template.spec"
    causes: list[FieldError] = []
    if spec.get("restartPolicy") != "Always":
        causes.append(unsupported(f"{at}.restartPolicy", spec.get("restartPolicy") or "", ("Always",)))
    if spec.get("activeDeadlineSeconds") is not None:
        text = f"activeDeadlineSeconds in {kind} is not Supported"
        causes.append(forbidden(f"{at}.activeDeadlineSeconds", text))
    return causes


def int_or_percent(at: str, value: Any) -> list[FieldError]:
    if isinstance(value, str):
        return named(at, value, names.percent)
    return not_negative(at, value)


def number_of(value: Any) -> int:
    """The number in ``5`` or ``5%``."""
    if isinstance(value, str):
        digits = value.removesuffix("%")
        return int(digits) if digits.isdigit() else 0
    return value or 0


def at_most_all(at: str, value: Any) -> list[FieldError]:
    too_much = isinstance(value, str) and value.endswith("%") and number_of(value) > 100
    return [invalid(at, value, "must not be greater than 100%")] if too_much else []


def _rolling(rolling: Object | None) -> Object | None:
    if rolling is None:
        return None
    return as_go({"maxUnavailable": 0, "maxSurge": 0, **rolling}, "maxUnavailable", "maxSurge")


def deployment(obj: Object) -> list[FieldError]:
    spec = obj["spec"]
    causes = not_negative("spec.replicas", spec.get("replicas"))
    causes += _selector(spec.get("selector"), "deployment") + template(spec, "ReplicaSet")
    causes += _deployment_strategy("spec.strategy", spec.get("strategy") or {})
    ready, deadline = spec.get("minReadySeconds"), spec.get("progressDeadlineSeconds")
    causes += not_negative("spec.minReadySeconds", ready)
    causes += not_negative("spec.revisionHistoryLimit", spec.get("revisionHistoryLimit"))
    if deadline is not None:
        causes += not_negative("spec.progressDeadlineSeconds", deadline)
        if deadline <= (ready or 0):
            text = "must be greater than minReadySeconds"
            causes.append(invalid("spec.progressDeadlineSeconds", deadline, text))
    return causes


def _deployment_strategy(at: str, strategy: Object) -> list[FieldError]:
    kind, rolling = strategy.get("type"), strategy.get("rollingUpdate")
    if kind == "Recreate":
        if rolling is not None:
            text = "may not be specified when strategy `type` is 'Recreate'"
            return [forbidden(f"{at}.rollingUpdate", text)]
        return []
    if kind != "RollingUpdate":
        shown = {"Type": kind, "RollingUpdate": _rolling(rolling)}
        return [unsupported(at, shown, ("Recreate", "RollingUpdate"))]
    rolling = rolling or {}
    unavailable, surge = rolling.get("maxUnavailable"), rolling.get("maxSurge")
    at = f"{at}.rollingUpdate"
    causes = int_or_percent(f"{at}.maxUnavailable", unavailable) + int_or_percent(f"{at}.maxSurge", surge)
    if not number_of(unavailable) and not number_of(surge):
        causes.append(invalid(f"{at}.maxUnavailable", unavailable, "may not be 0 when `maxSurge` is 0"))
    return causes + at_most_all(f"{at}.maxUnavailable", unavailable)


def replica_set(obj: Object) -> list[FieldError]:
    spec = obj["spec"]
    causes = not_negative("spec.replicas", spec.get("replicas"))
    causes += not_negative("spec.minReadySeconds", spec.get("minReadySeconds"))
    return causes + _selector(spec.get("selector"), "deployment") + template(spec, "ReplicaSet")


def replication_controller(obj: Object) -> list[FieldError]:
    spec = obj["spec"]
    causes = not_negative("spec.minReadySeconds", spec.get("minReadySeconds"))
    selector, found = spec.get("selector") or {}, spec.get("template")
    if not selector:
        causes.append(required("spec.selector"))
    causes += not_negative("spec.replicas", spec.get("replicas"))
    if found is None:
        return [*causes, required("spec.template")]
    labels = (found.get("metadata") or {}).get("labels")
    if any((labels or {}).get(key) != value for key, value in selector.items()):
        causes.append(invalid("spec.template.metadata.labels", as_map(labels), _MISMATCH))
    return causes + pods.template("spec.template", found) + forever(found, "ReplicationController")


def daemon_set(obj: Object) -> list[FieldError]:
    spec = obj["spec"]
    selector, found = spec.get("selector"), spec.get("template") or {}
    causes = label_selector("spec.selector", selector)
    causes += _mismatch(_compiled(selector), found)
    if selector is not None and _is_empty(selector):
        causes.append(invalid("spec.selector", selector, "empty selector is invalid for daemonset"))
    causes += pods.template("spec.template", found) + forever(found, "DaemonSet")
    causes += not_negative("spec.minReadySeconds", spec.get("minReadySeconds"))
    causes += _daemon_strategy("spec.updateStrategy", spec.get("updateStrategy") or {})
    return causes + not_negative("spec.revisionHistoryLimit", spec.get("revisionHistoryLimit"))


def _daemon_strategy(at: str, strategy: Object) -> list[FieldError]:
    kind, rolling = strategy.get("type"), strategy.get("rollingUpdate")
    if kind == "OnDelete":
        return []
    if kind != "RollingUpdate":
        shown = {"Type": kind, "RollingUpdate": _rolling(rolling)}
        return [unsupported(at, shown, ("RollingUpdate", "OnDelete"))]
    at = f"{at}.rollingUpdate"
    if rolling is None:
        return [required(at)]
    unavailable, surge = rolling.get("maxUnavailable"), rolling.get("maxSurge")
    causes = int_or_percent(f"{at}.maxUnavailable", unavailable) + int_or_percent(f"{at}.maxSurge", surge)
    causes += at_most_all(f"{at}.maxUnavailable", unavailable) + at_most_all(f"{at}.maxSurge", surge)
    if number_of(unavailable) and number_of(surge):
        causes.append(invalid(f"{at}.maxSurge", surge, "may not be set when maxUnavailable is non-zero"))
    elif not number_of(unavailable) and not number_of(surge):
        causes.append(required(f"{at}.maxUnavailable", "cannot be 0 when maxSurge is 0"))
    return causes


def stateful_set(obj: Object, old: Object | None = None) -> list[FieldError]:
    spec = obj["spec"]
    policy = spec.get("podManagementPolicy")
    causes: list[FieldError] = []
    if policy not in ("OrderedReady", "Parallel"):
        causes.append(invalid("spec.podManagementPolicy", policy, "must be 'OrderedReady' or 'Parallel'"))
    causes += _stateful_strategy("spec.updateStrategy", spec.get("updateStrategy") or {})
    retention = spec.get("persistentVolumeClaimRetentionPolicy") or {}
    for field in ("whenDeleted", "whenScaled"):
        at = f"spec.persistentVolumeClaimRetentionPolicy.{field}"
        causes += one_of(at, retention.get(field) or "", ("Retain", "Delete"))
    claims = spec.get("volumeClaimTemplates") or []
    if old is None:
        for index, claim in enumerate(claims):
            causes += claim_spec(f"spec.volumeClaimTemplates[{index}].spec", claim.get("spec") or {})
    causes += not_negative("spec.replicas", spec.get("replicas"))
    causes += not_negative("spec.minReadySeconds", spec.get("minReadySeconds"))
    causes += not_negative("spec.ordinals.start", (spec.get("ordinals") or {}).get("start"))
    if old is None and spec.get("serviceName"):
        causes += named("spec.serviceName", spec["serviceName"], names.dns1123_label)
    causes += _selector(spec.get("selector"), "statefulset")
    selector = _compiled(spec.get("selector"))
    if selector is None:
        causes.append(invalid("spec.selector", as_selector(spec["selector"]), ""))
    else:
        causes += _stateful_template(spec, selector)
    return causes + forever(spec.get("template") or {}, "StatefulSet")


def _stateful_template(spec: Object, selector: selectors.Selector) -> list[FieldError]:
    found, claims = dict(spec.get("template") or {}), spec.get("volumeClaimTemplates") or []
    inner = dict(found.get("spec") or {})
    # the controller sets these itself for each pod, so what the template says of them does not count
    for field in ("hostname", "subdomain"):
        inner.pop(field, None)
    names_of_claims = dict.fromkeys((claim.get("metadata") or {}).get("name") or "" for claim in claims)
    if claims:
        own = [volume for volume in inner.get("volumes") or () if volume.get("name") not in names_of_claims]
        inner["volumes"] = [{"name": name, "persistentVolumeClaim": {"claimName": name}} for name in names_of_claims]
        inner["volumes"] += own
    found["spec"] = inner
    causes = [] if selector.empty else _mismatch(selector, found)
    # upstream asks for labels and annotations a second time
    return causes + pods.template("spec.template", found) + pods.template_metadata("spec.template", found)


def _stateful_rolling(rolling: Object | None) -> Object | None:
    return None if rolling is None else as_go({"partition": 0, **rolling}, "partition", "maxUnavailable")


def _stateful_strategy(at: str, strategy: Object) -> list[FieldError]:
    kind, rolling = strategy.get("type"), strategy.get("rollingUpdate")
    if kind == "OnDelete":
        if rolling is not None:
            text = "only allowed for updateStrategy 'RollingUpdate'"
            return [invalid(f"{at}.rollingUpdate", _stateful_rolling(rolling), text)]
        return []
    if kind != "RollingUpdate":
        shown = {"Type": kind, "RollingUpdate": _stateful_rolling(rolling)}
        return [invalid(at, shown, "must be 'RollingUpdate' or 'OnDelete'")]
    rolling = rolling or {}
    causes = not_negative(f"{at}.rollingUpdate.partition", rolling.get("partition"))
    if rolling.get("maxUnavailable") is not None:
        at = f"{at}.rollingUpdate.maxUnavailable"
        value = rolling["maxUnavailable"]
        causes += int_or_percent(at, value)
        if not number_of(value):
            causes.append(invalid(at, value, "cannot be 0"))
        causes += at_most_all(at, value)
    return causes


_STATEFUL_MUTABLE = (
    "replicas",
    "ordinals",
    "template",
    "updateStrategy",
    "revisionHistoryLimit",
    "persistentVolumeClaimRetentionPolicy",
    "minReadySeconds",
)
_STATEFUL_FIXED = (
    "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', "
    "'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden"
)


def stateful_set_change(new: Object, old: Object) -> list[FieldError]:
    def fixed(obj: Object) -> Object:
        return {key: value for key, value in obj["spec"].items() if key not in _STATEFUL_MUTABLE}

    return [] if fixed(new) == fixed(old) else [forbidden("spec", _STATEFUL_FIXED)]


def same_selector(new: Object, old: Object) -> list[FieldError]:
    now, before = as_selector(new["spec"].get("selector")), as_selector(old["spec"].get("selector"))
    return [] if now == before else [invalid("spec.selector", now, IMMUTABLE)]


def controller_revision(obj: Object) -> list[FieldError]:
    return not_negative("revision", obj.get("revision"))


def controller_revision_data(obj: Object) -> list[FieldError]:
    """Only asked when it is created: older ones may hold anything."""
    data = obj.get("data")
    if data is None:
        return [required("data", "data is mandatory")]
    return [] if isinstance(data, dict) else [required("data", "data must be a valid JSON object")]
