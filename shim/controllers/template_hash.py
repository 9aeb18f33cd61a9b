"""What short name tells two pod templates (or revisions) apart?

A 32-bit FNV-1a hash of the template's canonical JSON, written in the letters Kubernetes uses for generated names.
The value need not be upstream's, but its alphabet and length are, so names look alike.
"""

from __future__ import annotations

from typing import Any

import orjson

ALPHABET = "bcdfghjklmnpqrstvwxz2456789"  # no vowels, no look-alikes: hashes spell no words


def fnv32a(data: bytes) -> int:
    value = 2166136261
    for byte in data:
        value = ((value ^ byte) * 16777619) & 0xFFFFFFFF
    return value


def safe_encode(text: str) -> str:
    """The same text in letters that are safe in a name."""
    return "".join(ALPHABET[ord(char) % len(ALPHABET)] for char in text)


def canonical(value: Any) -> bytes:
    """JSON with sorted keys: equal values give equal bytes."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def short_hash(value: Any, collisions: int | None = None) -> str:
    """The name of this value; another collision count gives another name to the same value."""
    data = canonical(value)
    if collisions is not None:
        data += collisions.to_bytes(8, "little", signed=True)
    return safe_encode(str(fnv32a(data)))
