"""One request as the audit log tells it: an event for each stage it comes to.

The event is upstream's (https://kubernetes.io/docs/reference/config-api/apiserver-audit.v1/#audit-k8s-io-v1-Event).
"""

from __future__ import annotations

import gzip
import time
from collections import Counter
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import Any

import orjson
from aiohttp import web

from shim.admission.request import PATCHES
from shim.api import latency
from shim.api.decoding import prune
from shim.api.duration import go_duration
from shim.api.meta import Object, new_uid, split_api_version
from shim.api.schema import Definition, Schema
from shim.codec import media
from shim.server.audit.log import AuditLog
from shim.server.audit.policy import NAMES, Choice, Level, Policy
from shim.server.inflight import is_long_running
from shim.server.routes import RequestInfo
from shim.server.users import User

ID_HEADER = "Audit-Id"
RECEIVED, STARTED, COMPLETE, PANIC = "RequestReceived", "ResponseStarted", "ResponseComplete", "Panic"
_DECISION = "authorization.k8s.io/"
_LATENCY = "apiserver.latency.k8s.io/"
_SLOW = 0.5  # seconds; of requests that take longer it is told where the time went


class Record:
    """Follows one request."""

    def __init__(self, log: AuditLog, schema: Schema, choice: Choice, http: web.BaseRequest, info: RequestInfo) -> None:
        self._log, self._schema, self._choice = log, schema, choice
        self._received, self._began = _now(), time.perf_counter()
        self._ends = not is_long_running(info)
        self.spent = latency.gather()
        self._id = http.headers.get("Audit-Id") or new_uid()
        self._event: Object = {
            "requestURI": http.raw_path,
            "verb": info.verb,
            "user": {},
            "sourceIPs": _sources(http),
            "userAgent": http.headers.get("User-Agent", ""),
        }
        if info.resource:
            reference = {
                "resource": info.resource,
                "namespace": info.namespace,
                "name": info.name,
                "uid": "",
                "apiGroup": info.group,
                "apiVersion": info.version,
                "resourceVersion": "",
                "subresource": info.subresource,
            }
            self._event["objectRef"] = reference
        self._request: bytes | None = None
        self._over = self._begun = False
        self.annotations: dict[str, str] = {}
        """What authentication, authorisation and admission have to say beside."""

    def begin(self, user: User) -> None:
        """Who asks is known now."""
        self._event["user"] = user.info()
        self._tell(RECEIVED)

    def impersonates(self, user: User, constraint: str) -> None:
        self._event["impersonatedUser"] = user.info()
        if constraint:
            self._event["authenticationMetadata"] = {"impersonationConstraint": constraint}

    def decided(self, allowed: bool, why: str) -> None:
        self.annotations[f"{_DECISION}decision"] = "allow" if allowed else "forbid"
        self.annotations[f"{_DECISION}reason"] = why

    def uses_deprecated(self) -> None:
        self.annotations["k8s.io/deprecated"] = "true"

    def asks(self, obj: Object | bytes) -> None:
        """What the request's body says: an object as it is decoded, a patch as it came."""
        if isinstance(obj, dict) and (reference := self._event.get("objectRef")):
            metadata = obj.get("metadata") or {}
            reference["name"] = reference["name"] or metadata.get("name") or ""
            for name in ("uid", "resourceVersion"):
                reference[name] = metadata.get(name) or reference[name]
        if self._choice.level >= Level.REQUEST:
            self._request = obj if isinstance(obj, bytes) else orjson.dumps(obj)

    def started(self, response: web.StreamResponse) -> None:
        """The first byte of an answer that may take long."""
        if self._over or self._begun:
            return  # nobody is there to see the answer; or it is told of
        self._begun = True
        self._event["responseStatus"] = {"metadata": {}, "code": response.status}
        self._tell(STARTED)

    def complete(self, response: web.StreamResponse) -> None:
        if not response.prepared:
            response.headers[ID_HEADER] = self._id
        if self._over:
            return
        self._answered(response)
        if not (self._ends or self._begun):  # it was refused, or came to an end at once
            self._begun = True
            self._tell(STARTED)
        self._time()
        self._tell(COMPLETE)

    def failed(self, response: web.StreamResponse) -> None:
        """Nobody knows who asked."""
        self._answered(response)
        self._tell(STARTED)

    def broke(self, error: BaseException) -> None:
        """The server made a mistake, which is what upstream calls a panic."""
        self._event["responseStatus"] = {
            "metadata": {},
            "status": "Failure",
            "message": f"APIServer panic'd: {error}",
            "reason": "InternalError",
            "code": 500,
        }
        self._tell(PANIC)
        self._over = True

    def left(self, *, long: bool) -> None:
        """The client did not wait for the answer; ``long``: to a request that may take long."""
        if "responseStatus" not in self._event:
            status = {"metadata": {}, "status": "Success", "message": "Connection closed early", "code": 200}
            self._event["responseStatus"] = status
            if long:
                self._tell(STARTED)
        self._time()
        self._tell(COMPLETE)
        self._over = True

    def _time(self) -> None:
        """Say where the time went, if much did."""
        total = time.perf_counter() - self._began
        if self._ends and total > _SLOW:
            for name, seconds in (*self.spent.items(), ("total", total)):
                self.annotations[f"{_LATENCY}{name}"] = go_duration(seconds)

    def _answered(self, response: web.StreamResponse) -> None:
        body = response.body if isinstance(response, web.Response) else None
        said: Any = None
        wanted = self._choice.level == Level.REQUEST_RESPONSE
        if isinstance(body, bytes) and body and (wanted or response.status >= 400 or b'"Status"' in body[:64]):
            said = self._decoded(response, body)
        status: Object = {"metadata": {}, "code": response.status}
        if isinstance(said, dict) and said.get("kind") == "Status":
            shown = {name: said[name] for name in ("status", "message", "reason", "details") if name in said}
            status = {"metadata": {}, **shown, "code": response.status}
        self._event["responseStatus"] = status
        if wanted and isinstance(said, dict) and said.get("kind"):  # versions and events of watches are no objects
            self._event["responseObject"] = self._shown(said)

    def _decoded(self, response: web.StreamResponse, body: bytes) -> Any:
        if response.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        kind = response.headers.get("Content-Type", "").partition(";")[0]
        try:
            said = media.decode(kind, body, self._schema)
        except (media.MediaError, ValueError, KeyError):
            return None  # a table in protobuf, text
        if kind == media.PROTOBUF and (definition := self._definition(said)):
            return {**prune(definition, said), "kind": said["kind"], "apiVersion": said["apiVersion"]}
        return said

    def _definition(self, obj: Object) -> Definition | None:
        group, version = split_api_version(obj["apiVersion"])
        return self._schema.for_kind(group, version, obj["kind"])

    def _shown(self, obj: Object) -> Object:
        if self._choice.without_managed_fields:
            for each in (obj, *(obj.get("items") or ())):
                if isinstance(each, dict) and isinstance(each.get("metadata"), dict):
                    each["metadata"].pop("managedFields", None)
        return obj

    def _tell(self, stage: str) -> None:
        if stage in self._choice.omitted:
            return
        event = self._event
        line: Object = {
            "kind": "Event",
            "apiVersion": "audit.k8s.io/v1",
            "level": NAMES[self._choice.level],
            "auditID": self._id,
            "stage": stage,
        }
        for name in (
            "requestURI",
            "verb",
            "user",
            "impersonatedUser",
            "authenticationMetadata",
            "sourceIPs",
            "userAgent",
        ):
            if name in event:
                line[name] = event[name]
        if reference := event.get("objectRef"):
            line["objectRef"] = {name: value for name, value in reference.items() if value}
        if "responseStatus" in event:
            line["responseStatus"] = event["responseStatus"]
        if self._request is not None and stage != RECEIVED:
            try:
                asked = orjson.loads(self._request)
                line["requestObject"] = self._shown(asked) if isinstance(asked, dict) else asked
            except orjson.JSONDecodeError:
                pass  # an applied configuration in YAML
        if "responseObject" in event:
            line["responseObject"] = event["responseObject"]
        line["requestReceivedTimestamp"] = self._received
        line["stageTimestamp"] = self._received if stage == RECEIVED else _now()
        if self.annotations and stage != RECEIVED:
            quoting = self._choice.level >= Level.REQUEST
            told = sorted(self.annotations.items())
            line["annotations"] = {key: text for key, text in told if quoting or not key.startswith(PATCHES)}
        self._log.write(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))


RECORD = web.RequestKey("record", Record)
"""Of a request: what is told of it."""


class Auditor:
    """Begins records, by a policy."""

    def __init__(self, policy: Policy, log: AuditLog, schema: Schema) -> None:
        self._policy, self._log, self._schema = policy, log, schema
        self.levels: Counter[Level] = Counter()
        """How many requests the policy gave each level."""

    @property
    def told(self) -> int:
        """How many events were written."""
        return self._log.written

    def begin(self, http: web.BaseRequest, info: RequestInfo, user: User) -> Record | None:
        """None: nothing is told of this request."""
        choice = self._policy.choose(user, info)
        self.levels[choice.level] += 1
        if choice.level is Level.NONE:
            return None
        record = Record(self._log, self._schema, choice, http, info)
        record.begin(user)
        return record

    def unknown(self, http: web.BaseRequest, info: RequestInfo, response: web.StreamResponse) -> None:
        """A request whose credentials were not good."""
        choice = self._policy.choose(User(""), info)
        self.levels[choice.level] += 1
        if choice.level is not Level.NONE:
            Record(self._log, self._schema, choice, http, info).failed(response)

    def close(self) -> None:
        self._log.close()


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _sources(http: web.BaseRequest) -> list[str]:
    """Where the request came from, as far as those it came through say; the nearest last."""
    said = (each.strip() for each in http.headers.get("X-Forwarded-For", "").split(","))
    found = [each for each in said if _is_address(each)]
    if (real := http.headers.get("X-Real-Ip", "")) and real not in found and _is_address(real):
        found.append(real)
    if http.remote and http.remote not in found[-1:]:
        found.append(http.remote)
    return found


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
