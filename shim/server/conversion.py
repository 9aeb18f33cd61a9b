"""Versions of custom resources that a webhook converts: asked ahead for many objects at once, and remembered.

Reading is from memory and does not wait, so that whoever is about to show stored objects asks for their conversion
first (:meth:`Converter.ready`); what is then shown is looked up. An object is known by its content: a watcher whose
selector it no longer matches is shown its last state, under the revision of the change. https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/
custom-resource-definition-versioning/ says what a conversion may change of an object's metadata.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from shim.admission.request import Reader
from shim.admission.webhooks.call import Caller, CallError
from shim.api.meta import Object, new_uid, split_api_version
from shim.api.status import ApiError
from shim.resources.webhook_rules import REVIEW_VERSIONS

GROUP = "apiextensions.k8s.io"
TIMEOUT = 30.0  # seconds, upstream's
REMEMBERED = 10_000
AT_ONCE = 500  # objects in one question
_MAY_CHANGE = ("labels", "annotations")

_Key = tuple[str, int, str]  # uid, hash of the content, version


class Converter:
    """Asks the webhook of one definition."""

    def __init__(self, crd: Object, caller: Caller, reader: Reader) -> None:
        webhook = crd["spec"]["conversion"]["webhook"]
        self._client: Object = webhook["clientConfig"]
        self._review = next(each for each in webhook["conversionReviewVersions"] if each in REVIEW_VERSIONS)
        self._caller, self._reader = caller, reader
        self._converted: OrderedDict[_Key, Object] = OrderedDict()

    async def ready(self, objects: Iterable[Object], api_version: str) -> None:
        """Make sure that these stored objects are known in a version. Raises ApiError."""
        missing = [
            obj for obj in objects if obj["apiVersion"] != api_version and _key(obj, api_version) not in self._converted
        ]
        for start in range(0, len(missing), AT_ONCE):
            some = missing[start : start + AT_ONCE]
            for obj, made in zip(some, await self.convert(some, api_version), strict=True):
                self._converted[_key(obj, api_version)] = made
        while len(self._converted) > max(REMEMBERED, len(missing)):
            self._converted.popitem(last=False)

    def known(self, obj: Object, api_version: str) -> Object:
        """A stored object in a version, whose conversion was asked for. Raises ApiError when it was not."""
        found = self._converted.get(_key(obj, api_version))
        if found is None:
            raise _failed(obj, "the object was not converted in time")
        return {**found, "metadata": {**found["metadata"]}}

    async def convert(self, objects: Sequence[Object], api_version: str) -> list[Object]:
        """The objects in another version, as the webhook makes them. Raises ApiError."""
        uid = new_uid()
        asked = {"uid": uid, "desiredAPIVersion": api_version, "objects": list(objects)}
        kind = {"kind": "ConversionReview", "apiVersion": f"{GROUP}/{self._review}"}
        try:
            answer = await self._caller.post(self._client, {**kind, "request": asked}, TIMEOUT, self._reader)
        except CallError as error:
            raise _failed(objects[0], str(error)) from None
        made = _answered(objects, answer, uid)
        check = _Check(alone=len(objects) == 1)
        pairs = enumerate(zip(objects, made, strict=True))
        return [check.checked(obj, new, index, api_version) for index, (obj, new) in pairs]


def _key(obj: Object, api_version: str) -> _Key:
    metadata = obj["metadata"]
    return metadata.get("uid", ""), hash(orjson.dumps(obj)), api_version


def _failed(obj: Object, why: str, how: str = "failed") -> ApiError:
    group, version = split_api_version(obj["apiVersion"])
    said = f"conversion webhook for {group}/{version}, Kind={obj['kind']} {how}"
    return ApiError(500, "", f"{said}: {why}" if why else said)


def _answered(objects: Sequence[Object], answer: Any, uid: str) -> list[Any]:
    """The objects of an answer that is one. Raises ApiError."""
    response = answer.get("response") if isinstance(answer, dict) else None
    if not isinstance(response, dict):
        raise _failed(objects[0], "no response provided")
    if response.get("uid") != uid:
        raise _failed(objects[0], f'expected response.uid="{uid}", got "{response.get("uid") or ""}"')
    result = response.get("result") or {}
    if (status := result.get("status") or "") != "Success":
        raise _failed(objects[0], str(result.get("message") or f"response.result.status was '{status}', not 'Success'"))
    made = response.get("convertedObjects") or []
    if len(made) != len(objects):
        raise _failed(objects[0], "", f"returned {len(made)} objects, expected {len(objects)}")
    return list(made)


@dataclass(frozen=True, slots=True)
class _Check:
    """Whether converted objects are still the ones they were. Upstream tells of one in other words than of many."""

    alone: bool

    def checked(self, obj: Object, new: Any, index: int, api_version: str) -> Object:
        """A converted object; of its metadata only labels and annotations may differ. Raises ApiError."""
        what = "object" if self.alone else "converted object"
        if not isinstance(new, dict):
            raise _failed(obj, f"it is no object: {_go_type(new)}", f"returned invalid {what} at index {index}")
        for field, shown, wanted in (("apiVersion", "groupVersion", api_version), ("kind", "kind", obj["kind"])):
            if (given := new.get(field) or "") != wanted:
                why = f"invalid {shown} (expected {wanted}, received {given})"
                raise _failed(obj, why, f"returned invalid {what} at index {index}")
        said = new.get("metadata")
        metadata = said if isinstance(said, dict) else {}
        for field, shown in (("name", "name"), ("namespace", "namespace"), ("uid", "UID")):
            old, given = obj["metadata"].get(field) or "", metadata.get(field) or ""
            if old != given:
                place = "object" if self.alone else f"converted object at index {index}"
                raise _failed(obj, f"must have the same {shown}: {old} != {given}", f"returned invalid {place}")
        kept = {name: value for name, value in obj["metadata"].items() if name not in _MAY_CHANGE}
        kept |= {name: found for name in _MAY_CHANGE if (found := self._texts(obj, metadata, name, index))}
        rest = {name: value for name, value in new.items() if name not in ("kind", "apiVersion", "metadata")}
        return {"kind": obj["kind"], "apiVersion": api_version, "metadata": kept, **rest}

    def _texts(self, obj: Object, metadata: Object, field: str, index: int) -> Object | None:
        found = metadata.get(field)
        how = "returned invalid metadata" if self.alone else f"returned invalid metadata in object at index {index}"
        if found is not None and not isinstance(found, dict):
            raise _failed(obj, f"invalid metadata.{field} of type {_go_type(found)} in converted object", how)
        for key, value in (found or {}).items():
            if not isinstance(value, str):
                why = f"metadata.{field}[{key}] must be a string, but is {_go_type(value)} in converted object"
                raise _failed(obj, why, how)
        return found


def _go_type(value: Any) -> str:
    names = {bool: "bool", int: "int64", float: "float64", str: "string", list: "[]interface {}"}
    return "<nil>" if value is None else names.get(value.__class__, "map[string]interface {}")
