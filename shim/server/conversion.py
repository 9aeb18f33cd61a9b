"""Versions of custom resources that a webhook converts: asked ahead for many objects at once, and remembered.

Reading is from memory and does not wait, so that whoever is about to show stored objects asks for their conversion
first (:meth:`Converter.ready`); what is then shown is looked up. An object is known by its content: a watcher whose
selector it no longer matches is shown its last state, under the revision of the change. https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/
custom-resource-definition-versioning/ says what a conversion may change of an object's metadata.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import Any

import orjson

from shim.admission.request import Reader
from shim.admission.webhooks.call import Caller, CallError
from shim.api.meta import Object, new_uid, split_api_version
from shim.api.status import ApiError

GROUP = "apiextensions.k8s.io"
TIMEOUT = 30.0  # seconds, upstream's
REMEMBERED = 10_000
AT_ONCE = 500  # objects in one question
_KNOWN_REVIEWS = ("v1", "v1beta1")
_MAY_CHANGE = ("labels", "annotations")

_Key = tuple[str, int, str]  # uid, hash of the content, version


class Converter:
    """Asks the webhook of one definition."""

    def __init__(self, crd: Object, caller: Caller, reader: Reader) -> None:
        webhook = crd["spec"]["conversion"]["webhook"]
        self._client: Object = webhook["clientConfig"]
        self._review = next(each for each in webhook["conversionReviewVersions"] if each in _KNOWN_REVIEWS)
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
        return [
            _checked(obj, new, index, api_version) for index, (obj, new) in enumerate(zip(objects, made, strict=True))
        ]


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
        raise _failed(objects[0], "the response was absent")
    if response.get("uid") != uid:
        raise _failed(objects[0], f'expected response.uid="{uid}", got "{response.get("uid") or ""}"')
    result = response.get("result") or {}
    if result.get("status") != "Success":
        raise _failed(objects[0], str(result.get("message") or result))
    made = response.get("convertedObjects") or []
    if len(made) != len(objects):
        raise _failed(objects[0], "", f"returned {len(made)} objects, expected {len(objects)}")
    return list(made)


def _checked(obj: Object, new: Any, index: int, api_version: str) -> Object:
    """A converted object, if it is still the same one; of its metadata only labels and annotations may differ."""

    def invalid(why: str) -> ApiError:
        return _failed(obj, why, f"returned invalid converted object at index {index}")

    if not isinstance(new, dict) or not isinstance(new.get("metadata"), dict):
        raise invalid("expected metadata to be an object")
    for field, wanted in (("apiVersion", api_version), ("kind", obj["kind"])):
        if new.get(field) != wanted:
            raise invalid(f"invalid {field}, expected={wanted} actual={new.get(field) or ''}")
    for field in ("name", "namespace", "uid"):
        if (new["metadata"].get(field) or "") != (obj["metadata"].get(field) or ""):
            raise invalid(f"metadata.{field} cannot be changed by a conversion")
    metadata = {name: value for name, value in obj["metadata"].items() if name not in _MAY_CHANGE}
    metadata |= {name: new["metadata"][name] for name in _MAY_CHANGE if new["metadata"].get(name)}
    rest = {name: value for name, value in new.items() if name not in ("kind", "apiVersion", "metadata")}
    return {"kind": obj["kind"], "apiVersion": api_version, "metadata": metadata, **rest}
