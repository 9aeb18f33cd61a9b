"""What becomes of a claim, told in its status: the devices it got, who uses them, and how they are."""

from __future__ import annotations

import re
from typing import NamedTuple

from shim.api.meta import Object
from shim.api.status import FieldError
from shim.resources.addresses import interface_address
from shim.resources.causes import (
    IMMUTABLE,
    conditions,
    duplicate,
    forbidden,
    invalid,
    one_of,
    required,
    too_long,
    too_many,
)
from shim.resources.devices import configuration
from shim.resources.devices.claims import MOST_REQUESTS, Names, reference, references, request_names, tolerations
from shim.resources.devices.naming import driver, every, label, pool
from shim.resources.devices.slices import binding
from shim.resources.pods.scheduling import node_selector
from shim.resources.printed import go_struct

_MOST_USERS = 256
_MOST_CONDITIONS = 8
_MOST_ADDRESSES = 16
_UUID = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_UUID_LENGTHS = (32, 36, 38, 45)  # bare, usual, in braces, as a URN


class Device(NamedTuple):
    """Which device is meant, or which share of one."""

    driver: str
    pool: str
    name: str
    share: str

    @classmethod
    def of(cls, found: Object) -> Device:
        return cls(*(found.get(field) or "" for field in ("driver", "pool", "device", "shareID")))

    def printed(self) -> Object:
        return {"Driver": self.driver, "Pool": self.pool, "Device": self.name, "ShareID": self.share}


def default(status: Object) -> None:
    for result in ((status.get("allocation") or {}).get("devices") or {}).get("results") or ():
        tolerations(result)


def _devices(status: Object) -> set[Device]:
    allocation = status.get("allocation") or {}
    return {Device.of(each) for each in (allocation.get("devices") or {}).get("results") or ()}


def forget_lost_devices(new: Object, old: Object) -> None:
    """What is told of devices that the claim has no more is dropped: clients may not know that it is there."""
    lost = _devices(old) - _devices(new)
    kept = [each for each in new.get("devices") or () if Device.of(each) not in lost]
    if kept:
        new["devices"] = kept
    else:
        new.pop("devices", None)


def status(new: Object, old: Object) -> list[FieldError]:
    """The reasons against a claim's new status."""
    found, before = new.get("status") or {}, old.get("status") or {}
    users, allocation = found.get("reservedFor") or [], found.get("allocation")
    causes = every("status.reservedFor", users, _user, _MOST_USERS, lambda user: user.get("uid") or "")
    causes += _device_statuses(found)
    if users and allocation is None:
        causes.append(forbidden("status.reservedFor", "may not be specified when `allocated` is not set"))
    elif new["metadata"].get("deletionTimestamp") and any(
        user not in (before.get("reservedFor") or ()) for user in users
    ):
        text = "new entries may not be added while `deallocationRequested` or `deletionTimestamp` are set"
        causes.append(forbidden("status.reservedFor", text))
    if allocation is None:
        return causes
    if before.get("allocation") is None:
        return causes + _allocation(allocation, request_names(new.get("spec") or {}))
    if allocation != before["allocation"]:
        printed = go_struct("resource.v1.AllocationResult", allocation)
        causes.append(invalid("status.allocation", printed, IMMUTABLE))
    return causes


def _user(at: str, user: Object) -> list[FieldError]:
    return [required(f"{at}.{field}") for field in ("resource", "name", "uid") if not user.get(field)]


def _allocation(found: Object, known: Names) -> list[FieldError]:
    at, devices = "status.allocation", found.get("devices") or {}

    def result(here: str, each: Object) -> list[FieldError]:
        causes = reference(f"{here}.request", each.get("request") or "", known)
        causes += _identity(here, each)
        causes += binding(here, each)
        return causes + _share(here, each)

    def config(here: str, each: Object) -> list[FieldError]:
        source = each.get("source") or ""
        sources = ("FromClaim", "FromClass")
        causes = one_of(f"{here}.source", source, sources) if source else [required(f"{here}.source")]
        causes += references(f"{here}.requests", each.get("requests"), known)
        return causes + configuration.configuration(here, each)

    causes = every(f"{at}.devices.results", devices.get("results"), result, MOST_REQUESTS)
    causes += every(f"{at}.devices.config", devices.get("config"), config, 2 * configuration.MOST)
    if found.get("nodeSelector") is not None:
        causes += node_selector(f"{at}.nodeSelector", found["nodeSelector"])
    return causes


def _identity(at: str, found: Object) -> list[FieldError]:
    return [
        *driver(f"{at}.driver", found.get("driver") or ""),
        *pool(f"{at}.pool", found.get("pool") or ""),
        *label(f"{at}.device", found.get("device") or ""),
    ]


def _share(at: str, found: Object) -> list[FieldError]:
    share, at = found.get("shareID"), f"{at}.shareID"
    if share is None or _UUID.fullmatch(share):
        return []
    if len(share) not in _UUID_LENGTHS:
        return [invalid(at, share, f"error validating uid: invalid UUID length: {len(share)}")]
    if not re.fullmatch("[0-9a-fA-F]{32}", re.sub("^urn:uuid:|[{}-]", "", share)):
        return [invalid(at, share, "error validating uid: invalid UUID format")]
    text = "`xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx` with lowercase hexadecimal characters"
    return [invalid(at, share, f"uid must be in RFC 4122 normalized form, {text}")]


def _device_statuses(found: Object) -> list[FieldError]:
    """``devices``: what drivers tell of devices of this claim."""
    allocated = _devices(found)

    def device(at: str, each: Object) -> list[FieldError]:
        causes = _identity(at, each) + _share(at, each)
        if Device.of(each) not in allocated:
            causes.append(invalid(at, Device.of(each).printed(), "must be an allocated device in the claim"))
        told = each.get("conditions") or []
        if len(told) > _MOST_CONDITIONS:
            causes.append(too_many(f"{at}.conditions", len(told), _MOST_CONDITIONS))
        causes += conditions(f"{at}.conditions", told)
        if each.get("data") is not None:
            causes += configuration.raw_object(f"{at}.data", each["data"])
        return causes + _network(f"{at}.networkData", each.get("networkData") or {})

    devices = found.get("devices") or []
    causes = every("status.devices", devices, device)
    for index, each in enumerate(devices):
        if Device.of(each) in (Device.of(other) for other in devices[:index]):
            printed = Device.of(each).printed()
            causes.append(duplicate(f"status.devices[{index}]", printed))
    return causes


def _network(at: str, data: Object) -> list[FieldError]:
    causes: list[FieldError] = []
    for field, longest in (("interfaceName", 256), ("hardwareAddress", 128)):
        if len((data.get(field) or "").encode()) > longest:
            causes.append(too_long(f"{at}.{field}", longest))
    return causes + every(f"{at}.ips", data.get("ips"), interface_address, _MOST_ADDRESSES, str)
