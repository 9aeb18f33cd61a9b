"""What holds of an object's metadata when it is written: which object it is, and what no client sets."""

from __future__ import annotations

import orjson

from shim.api.meta import Object
from shim.api.status import MODIFIED, ApiError, FieldError, bad_request, conflict, invalid
from shim.resources.metadata import path_segment
from shim.resources.strategy import Resource

_TWICE = (
    ".metadata.ownerReferences contains duplicate entries{}; API server dedups owner references in 1.20+, and may "
    "reject such requests as early as 1.24; please fix your requests; duplicate UID(s) observed: {}"
)


def drop_second_owners(metadata: Object, warnings: list[str], *, admitted: bool = False) -> None:
    """An owner that is named twice, in the same words, is one; ``admitted``: what admission left is looked at."""
    owners = metadata.get("ownerReferences")
    if not owners or len(owners) < 2:
        return
    found: list[Object] = []
    again: list[str] = []
    for owner in owners:
        if owner in found:
            again.append(owner.get("uid") or "")
        else:
            found.append(owner)
    if again:
        metadata["ownerReferences"] = found
        warnings.append(_TWICE.format(" after mutating admission happens" if admitted else "", ", ".join(again)))


def check_named(wanted: str, obj: Object) -> None:
    """A written object must have the name that the URL has."""
    name = (obj.get("metadata") or {}).get("name")
    if not name:
        raise bad_request(f"the name of the object ({wanted} based on URL) was undeterminable: name must be provided")
    check_name(wanted, name)


def check_name(wanted: str, found: str) -> None:
    if found != wanted:
        raise bad_request(f"the name of the object ({found}) does not match the name on the URL ({wanted})")


def match_namespace(metadata: Object, wanted: str) -> None:
    """An object is in the namespace of its URL, whether it says so or not. Raises 400 where it names another."""
    if not metadata.get("namespace"):
        metadata["namespace"] = wanted
    elif metadata["namespace"] != wanted:
        raise bad_request("the namespace of the provided object does not match the namespace sent on the request")


WIPED = ("uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "selfLink")
"""What nobody can give an object that is created."""


def place(resource: Resource, metadata: Object, namespace: str) -> None:
    """An object of this resource is in the namespace of its URL, or in none. Raises 400 where it names another."""
    if resource.namespaced:
        match_namespace(metadata, namespace)
    else:
        metadata.pop("namespace", None)


def check_key_name(name: str) -> str:
    """The name, if something can be stored under it. Raises 400."""
    if not name:
        raise bad_request("Name parameter required.")
    if complaints := path_segment(name):
        raise bad_request(f'Name parameter invalid: "{name}": {";".join(complaints)}')
    return name


def check_identity(resource: Resource, namespace: str, name: str, new: Object, old: Object) -> None:
    """The new object must be the one that the URL names, and be made from what is stored now. Raises ApiError."""
    metadata = new.setdefault("metadata", {})
    check_named(name, new)
    place(resource, metadata, namespace)
    revision = metadata.get("resourceVersion")
    if not revision or revision == "0":
        if not resource.strategy.allow_unconditional_update:
            cause = FieldError(
                "FieldValueInvalid", "metadata.resourceVersion", "Invalid value: 0: must be specified for an update"
            )
            raise invalid(resource.group, resource.name, name, [cause])
        metadata["resourceVersion"] = old["metadata"]["resourceVersion"]
    elif not (isinstance(revision, str) and revision.isascii() and revision.isdigit()):
        shown = orjson.dumps(revision).decode()
        raise ApiError(500, "", f"strconv.ParseUint: parsing {shown}: invalid syntax")
    elif revision != old["metadata"]["resourceVersion"]:
        raise conflict(resource.group, resource.name, name, MODIFIED)


def check_preconditions(resource: Resource, key: str, metadata: Object, *, uid: str, revision: str) -> None:
    """What a write demands of the stored object, if anything. Raises 409."""
    for what, wanted, found in (
        ("UID", uid, metadata["uid"]),
        ("ResourceVersion", revision, metadata["resourceVersion"]),
    ):
        if wanted and wanted != found:
            why = (
                f"StorageError: invalid object, Code: 4, Key: {key}, ResourceVersion: 0, AdditionalErrorMsg: "
                f"Precondition failed: {what} in precondition: {wanted}, {what} in object meta: {found}"
            )
            raise conflict(resource.group, resource.name, metadata["name"], why)


def carry_metadata(new: Object, old: Object) -> None:
    """What an update cannot change, whatever it says."""
    if not new.get("uid"):
        new["uid"] = old["uid"]
    new["creationTimestamp"] = old.get("creationTimestamp")
    if old.get("deletionTimestamp") is not None:
        new["deletionTimestamp"] = old["deletionTimestamp"]
    if new.get("deletionGracePeriodSeconds") is None and old.get("deletionGracePeriodSeconds") is not None:
        new["deletionGracePeriodSeconds"] = old["deletionGracePeriodSeconds"]
    new.pop("generation", None)


_SYSTEM = ("uid", "deletionTimestamp", "deletionGracePeriodSeconds")


def is_disputed(new: Object, old: Object) -> bool:
    """Whether an update contradicts what of the metadata only the server says."""
    return any(new.get(field) != old.get(field) for field in _SYSTEM)


def is_finished(resource: Resource, new: Object, old: Object) -> bool:
    """Whether this update removed the last reason to keep an object whose deletion was asked for."""
    metadata = old["metadata"]
    if not metadata.get("deletionTimestamp") or metadata.get("deletionGracePeriodSeconds"):
        return False
    return not is_held(resource, new)


def is_held(resource: Resource, obj: Object) -> bool:
    """Whether finalizers keep the object. Namespaces have a second list of them, in their spec."""
    if resource.name == "namespaces" and not resource.group and (obj.get("spec") or {}).get("finalizers"):
        return True
    return bool(obj["metadata"].get("finalizers"))


def is_same(new: Object, old: Object) -> bool:
    """Whether nothing changed but times in managedFields, which alone are no reason to write."""
    if new == old:
        return True
    mine, theirs = new["metadata"].get("managedFields"), old["metadata"].get("managedFields")
    if not mine or not theirs or _timeless(mine) != _timeless(theirs):
        return False
    return {**new, "metadata": {**new["metadata"], "managedFields": theirs}} == old


def _timeless(managed: list[Object]) -> list[Object]:
    return [{key: value for key, value in entry.items() if key != "time"} for entry in managed]
