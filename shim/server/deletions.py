"""How is something to be deleted? DeleteOptions come as a body of their own, or else as query parameters."""

from __future__ import annotations

import json
from dataclasses import dataclass

from shim.api import decoding
from shim.api.meta import Object, split_api_version
from shim.api.status import FieldError, bad_request, invalid
from shim.codec import media
from shim.server import errors
from shim.server.bodies import content_type, definition_of, read_bytes
from shim.server.negotiation import ACCEPTED, JSON, PROTOBUF, YAML
from shim.server.options import boolean, check_dry_run, first, integer, unsupported
from shim.server.parts import Call

POLICIES = ("Foreground", "Background", "Orphan")
_META = "meta.k8s.io"
_SCHEME = "k8s.io/apimachinery/pkg/apis/meta/internalversion/scheme/register.go:27"
_EVERYWHERE = frozenset("APIGroup APIGroupList APIResourceList APIVersions CreateOptions Status UpdateOptions".split())
_OF_META = _EVERYWHERE | frozenset(
    "GetOptions ListOptions PartialObjectMetadata PartialObjectMetadataList PatchOptions Table TableOptions "
    "WatchEvent".split()
)
"""Kinds that upstream knows in every group's version, and in meta.k8s.io: none of them can be DeleteOptions."""


@dataclass(slots=True)
class DeleteOptions:
    """Of delete and deletecollection."""

    grace: int | None = None
    policy: str = ""
    uid: str = ""
    revision: str = ""
    dry_run: bool = False

    @classmethod
    def of(cls, said: Object) -> DeleteOptions:
        """From an object whose fields have the right types. Raises 422."""
        preconditions = said.get("preconditions") or {}
        dry_run, orphan = said.get("dryRun") or (), said.get("orphanDependents")
        policy, grace = said.get("propagationPolicy"), said.get("gracePeriodSeconds")
        causes = []
        if orphan is not None and policy is not None:
            text = "orphanDependents and deletionPropagation cannot be both set"
            shown = f"Invalid value: {json.dumps(policy)}: {text}"
            causes.append(FieldError("FieldValueInvalid", "propagationPolicy", shown))
        if policy is not None and policy not in POLICIES:
            causes.append(unsupported("propagationPolicy", policy, (*POLICIES, "nil")))
        causes += check_dry_run(dry_run)
        if causes:
            raise invalid(_META, "DeleteOptions", "", causes)
        if orphan is not None:
            policy = "Orphan" if orphan else "Background"
        if grace is not None and grace < 0:
            grace = 1  # upstream reads every negative number so
        uid, revision = preconditions.get("uid") or "", preconditions.get("resourceVersion") or ""
        return cls(grace, policy or "", uid, revision, "All" in dry_run)

    def wire(self) -> Object:
        """These options as an object: what admission webhooks are shown."""
        said: Object = {"kind": "DeleteOptions", "apiVersion": f"{_META}/v1"}
        if self.grace is not None:
            said["gracePeriodSeconds"] = self.grace
        if self.uid or self.revision:
            asked = {"uid": self.uid, "resourceVersion": self.revision}
            said["preconditions"] = {name: value for name, value in asked.items() if value}
        if self.policy:
            said["propagationPolicy"] = self.policy
        if self.dry_run:
            said["dryRun"] = ["All"]
        return said


async def asked(call: Call) -> DeleteOptions:
    """What the body of a DELETE says, or its query where it has none. Raises 400, 413, 415 and 422."""
    data = await read_bytes(call.http) if call.http.can_read_body else b""
    return DeleteOptions.of(_decoded(call, data) if data else _of_query(call))


def _decoded(call: Call, data: bytes) -> Object:
    sent = content_type(call.http)
    if sent not in (JSON, YAML, PROTOBUF):
        raise errors.unsupported_body(ACCEPTED)
    try:
        given = media.decode(sent, data, call.parts.schema)
    except media.MediaError as error:
        raise bad_request(str(error)) from error
    _check_kind(given.get("kind") or "DeleteOptions", given.get("apiVersion") or f"{_META}/v1")
    definition = definition_of(call.parts.schema, "DeleteOptions", "v1")
    assert definition is not None
    decoded, _, problem = decoding.decode(definition, given)
    if problem:
        raise bad_request(problem)
    if call.record is not None:
        call.record.asks({**decoded, "kind": "DeleteOptions", "apiVersion": f"{_META}/__internal"})
    return decoded


def _check_kind(kind: str, api_version: str) -> None:
    """DeleteOptions of any group's version will do."""
    if api_version.count("/") > 1:
        raise bad_request(f"unexpected GroupVersion string: {api_version}")
    if kind == "DeleteOptions":
        return
    group, version = split_api_version(api_version)
    if kind in (_OF_META if group == _META else _EVERYWHERE):
        version = "v1" if kind in _UNVERSIONED else version
        raise bad_request(f"converting ({version}.{kind}) to (v1.DeleteOptions): unknown conversion")
    raise bad_request(f'no kind "{kind}" is registered for version "{api_version}" in scheme "{_SCHEME}"')


_UNVERSIONED = _EVERYWHERE | {"Table", "TableOptions"}


def _of_query(call: Call) -> Object:
    query = call.query
    if not query:
        return {}
    said: Object = {
        "dryRun": query.get("dryRun", ()),
        "gracePeriodSeconds": integer(query, "gracePeriodSeconds"),
        "orphanDependents": boolean(query, "orphanDependents"),
    }
    said["preconditions"] = {name: first(query, name) for name in ("uid", "resourceVersion")}
    if "propagationPolicy" in query:
        said["propagationPolicy"] = first(query, "propagationPolicy")
    return said
