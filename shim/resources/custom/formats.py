"""The formats of texts that schemas may name; others are ignored. Each says whether a text has it."""

from __future__ import annotations

import base64
import binascii
import datetime
import ipaddress
import re
from collections.abc import Callable, Mapping
from email.utils import parseaddr
from typing import Any

from shim.api import names
from shim.cel.urls import parse_url
from shim.cel.values import CelError, parse_duration, parse_timestamp


def _tried(test: Callable[[str], Any]) -> Callable[[str], bool]:
    def rule(text: str) -> bool:
        try:
            return test(text) is not False
        except (ValueError, CelError, binascii.Error):
            return False

    return rule


def _matched(expression: str) -> Callable[[str], bool]:
    compiled = re.compile(expression)
    return lambda text: compiled.fullmatch(text) is not None


def _uuid(version: str = "[0-9a-f]", variant: str = "[0-9a-f]") -> Callable[[str], bool]:
    return _matched(
        rf"(?i)[0-9a-f]{{8}}-?[0-9a-f]{{4}}-?{version}[0-9a-f]{{3}}-?{variant}[0-9a-f]{{3}}-?[0-9a-f]{{12}}"
    )


def _digits(text: str) -> str:
    return re.sub(r"[ -]", "", text)


def _isbn10(text: str) -> bool:
    found = _digits(text)
    if not re.fullmatch(r"\d{9}[\dX]", found):
        return False
    return sum((10 if char == "X" else int(char)) * (10 - place) for place, char in enumerate(found)) % 11 == 0


def _isbn13(text: str) -> bool:
    found = _digits(text)
    return (
        bool(re.fullmatch(r"\d{13}", found))
        and sum(int(c) * (3 if i % 2 else 1) for i, c in enumerate(found)) % 10 == 0
    )


def _card(text: str) -> bool:
    found = re.sub(r"\D", "", text)
    if not 12 <= len(found) <= 19:
        return False
    doubled = [int(char) * (2 if place % 2 else 1) for place, char in enumerate(reversed(found))]
    return sum(number - 9 if number > 9 else number for number in doubled) % 10 == 0


def _duration(text: str) -> Any:
    return parse_duration(re.sub(r"\s+", "", text))


_HOST = re.compile(r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)(\.(?!-)[A-Za-z0-9-]{1,63}(?<!-))*\.?")
_BYTE = r"(0|[1-9]\d?|1\d\d|2[0-4]\d|25[0-5])"
FORMATS: dict[str, Callable[[str], bool]] = {
    "bsonobjectid": _matched(r"[0-9a-fA-F]{24}"),
    "uri": _tried(parse_url),
    "email": lambda text: "@" in parseaddr(text)[1] and parseaddr(text)[1].count("@") == 1,
    "hostname": lambda text: len(text) <= 255 and _HOST.fullmatch(text) is not None,
    "ipv4": _tried(ipaddress.IPv4Address),
    "ipv6": _tried(ipaddress.IPv6Address),
    "cidr": _tried(lambda text: "/" in text and ipaddress.ip_network(text, strict=False) is not None),
    "mac": _matched(r"([0-9A-Fa-f]{2}[:-]){5,7}[0-9A-Fa-f]{2}|([0-9A-Fa-f]{4}\.){2,3}[0-9A-Fa-f]{4}"),
    "uuid": _uuid(),
    "uuid3": _uuid("3"),
    "uuid4": _uuid("4", "[89ab]"),
    "uuid5": _uuid("5", "[89ab]"),
    "isbn": lambda text: _isbn10(text) or _isbn13(text),
    "isbn10": _isbn10,
    "isbn13": _isbn13,
    "creditcard": _card,
    "ssn": _matched(r"\d{3}[- ]?\d{2}[- ]?\d{4}"),
    "hexcolor": _matched(r"#?([0-9a-fA-F]{3}|[0-9a-fA-F]{6})"),
    "rgbcolor": _matched(rf"rgb\(\s*{_BYTE}\s*,\s*{_BYTE}\s*,\s*{_BYTE}\s*\)"),
    "byte": _tried(lambda text: base64.b64decode(text, validate=True) is not None),
    "date": _tried(lambda text: len(text) == 10 and datetime.date.fromisoformat(text) is not None),
    "duration": _tried(_duration),
    "datetime": _tried(parse_timestamp),
    "k8s-short-name": lambda text: not names.dns1123_label(text),
    "k8s-long-name": lambda text: not names.dns1123_subdomain(text),
}


def unrecognized(raw: Any) -> set[str]:
    """Formats that a schema names and nobody knows: they are ignored, and warned of."""
    found: set[str] = set()
    if not isinstance(raw, Mapping):
        return found
    format, type = raw.get("format"), raw.get("type") or ""
    known: tuple[str, ...] = {"integer": ("int32", "int64"), "number": ("float", "double")}.get(type, ())
    if isinstance(format, str) and format:
        if type in ("", "string"):
            known = (*FORMATS, "password", *((format,) if format.replace("-", "") in FORMATS else ()))
        if format not in known:
            found.add(format)
    for name in ("items", "additionalProperties", "not"):
        found |= unrecognized(raw.get(name))
    for each in (raw.get("properties") or {}).values():
        found |= unrecognized(each)
    for name in ("allOf", "anyOf", "oneOf"):
        for each in raw.get(name) or ():
            found |= unrecognized(each)
    return found
