"""What may an expression about a request say? The variables of match conditions, and the types they have.

They are those of the AdmissionReview that a webhook would get (``request``), with the objects beside it.
"""

from __future__ import annotations

from collections.abc import Mapping

from shim import cel


def _struct(kind: str, /, **fields: cel.Type) -> cel.Type:
    made: Mapping[str, cel.Field] = {key: cel.Field(type, key) for key, type in fields.items()}
    return cel.struct(f"kubernetes.{kind}", lambda: made)


_STRINGS = cel.list_of(cel.STRING)
_KIND = _struct("GroupVersionKind", group=cel.STRING, version=cel.STRING, kind=cel.STRING)
_RESOURCE = _struct("GroupVersionResource", group=cel.STRING, version=cel.STRING, resource=cel.STRING)
_USER = _struct(
    "UserInfo", username=cel.STRING, uid=cel.STRING, groups=_STRINGS, extra=cel.map_of(cel.STRING, _STRINGS)
)
REQUEST = _struct(
    "AdmissionRequest",
    kind=_KIND,
    resource=_RESOURCE,
    subResource=cel.STRING,
    requestKind=_KIND,
    requestResource=_RESOURCE,
    requestSubResource=cel.STRING,
    name=cel.STRING,
    namespace=cel.STRING,
    operation=cel.STRING,
    userInfo=_USER,
    dryRun=cel.BOOL,
    options=cel.DYN,
)
_CONDITION = _struct(
    "NamespaceCondition",
    status=cel.STRING,
    type=cel.STRING,
    lastTransitionTime=cel.TIMESTAMP,
    message=cel.STRING,
    reason=cel.STRING,
)
_LABELS = cel.map_of(cel.STRING, cel.STRING)
NAMESPACE = _struct(
    "Namespace",
    metadata=_struct(
        "NamespaceMetadata",
        name=cel.STRING,
        generateName=cel.STRING,
        namespace=cel.STRING,
        labels=_LABELS,
        annotations=_LABELS,
        UID=cel.STRING,
        creationTimestamp=cel.TIMESTAMP,
        deletionGracePeriodSeconds=cel.INT,
        deletionTimestamp=cel.TIMESTAMP,
        generation=cel.INT,
        resourceVersion=cel.STRING,
        finalizers=_STRINGS,
    ),
    spec=_struct("NamespaceSpec", finalizers=_STRINGS),
    status=_struct("NamespaceStatus", conditions=cel.list_of(_CONDITION), phase=cel.STRING),
)
CONDITIONS = cel.Environment(
    {
        "object": cel.DYN,
        "oldObject": cel.DYN,
        "namespaceObject": NAMESPACE,
        "request": REQUEST,
        "authorizer": cel.AUTHORIZER,
        "authorizer.requestResource": cel.RESOURCE_CHECK,
    }
)
"""Where match conditions are compiled; policies extend it by their parameters and variables."""


def complaint(environment: cel.Environment, expression: str, *wanted: cel.Type) -> str:
    """Why an expression is of none of these types, in upstream's words; "" when it is. Raises CompileError."""
    found = environment.check(expression).type
    if found in wanted:
        return ""
    if len(wanted) == 1:
        return f"must evaluate to {wanted[0]} but got {found}"
    return f"must evaluate to one of [{' '.join(map(str, wanted))}] but got {found}"
