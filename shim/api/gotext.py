"""Values as Go prints them in messages, and reads them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def go_text(value: Any) -> str:
    """``%v``."""
    if isinstance(value, Mapping):
        return "map[" + " ".join(f"{key}:{go_text(value[key])}" for key in sorted(value)) + "]"
    if isinstance(value, list):
        return "[" + " ".join(map(go_text, value)) + "]"
    if value is None:
        return "<nil>"
    return str(value).lower() if isinstance(value, bool) else str(value)


_TRUTHS = {
    **dict.fromkeys(("1", "t", "T", "true", "TRUE", "True"), True),
    **dict.fromkeys(("0", "f", "F", "false", "FALSE", "False"), False),
}


def parse_bool(text: str) -> bool | None:
    """As Go's strconv.ParseBool; None for what that does not take."""
    return _TRUTHS.get(text)


_ESCAPES = {'"': r"\"", "\\": r"\\"} | dict(zip("\a\b\f\n\r\t\v", (rf"\{letter}" for letter in "abfnrtv"), strict=True))


def go_quoted(text: str) -> str:
    """``%q``."""
    return '"' + "".join(map(_escaped, text)) + '"'


def _escaped(char: str) -> str:
    if char in _ESCAPES:
        return _ESCAPES[char]
    if char.isprintable():
        return char
    code = ord(char)
    return f"\\x{code:02x}" if code < 0x80 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
