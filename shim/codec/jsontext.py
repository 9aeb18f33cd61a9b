"""JSON in: fast when it is right, and with Go's words when it is not.

orjson reads; only when it refuses is the text read again, slowly, to find what Go's scanner would have said of it,
for that is what the API answers. Duplicate keys, which orjson passes over, are found the same way: a quick look
whether there are any, and a slow one for where.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any, NoReturn

import orjson

_SURROGATE = re.compile("[\ud800-\udfff]")
_SPACE = " \t\r\n"
_HEX = "0123456789abcdefABCDEF"


Complaint = tuple[str, str]
"""``duplicate`` or ``unknown``, and the path of the field."""


class JSONError(ValueError):
    """Not JSON; the text is that of Go's decoder."""


class Written(float):
    """A number that still knows how it was written."""

    __slots__ = ("text",)

    def __new__(cls, text: str) -> Written:
        made = super().__new__(cls, text)
        made.text = text
        return made

    text: str

    def __str__(self) -> str:
        return self.text


def as_written(data: bytes) -> Any:
    """What :func:`loads` reads, with numbers that print as they stand there."""
    return json.loads(data, parse_float=Written)


def loads(data: bytes | str) -> Any:
    """Raises JSONError."""
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        text = data.decode(errors="replace") if isinstance(data, bytes) else data
    scanner = _Scanner(text)
    try:
        scanner.scan()
    except RecursionError:  # sooner than Go's 10,000; orjson takes 1,024
        scanner.fail("exceeded max depth")
    try:  # what Go takes and orjson does not: lone surrogates, bytes that are not UTF-8
        plain = json.dumps(json.loads(text), ensure_ascii=False)
        return json.loads(_SURROGATE.sub("\N{REPLACEMENT CHARACTER}", plain))
    except (ValueError, RecursionError) as error:
        raise JSONError(str(error)) from None


def duplicates(data: bytes | str) -> list[str]:
    """Paths of keys that stand twice in one object, in the order of their second appearance: ``metadata.name``."""
    if not _has_duplicates(data):
        return []
    found: dict[Complaint, None] = {}
    _walk(json.loads(data, object_pairs_hook=_Pairs), "", found, frozenset())
    return [path for _, path in found]


def complaints(data: bytes | str, unknown: Sequence[str]) -> list[str]:
    """What a strict decoder says of keys that stand twice and of these that it does not know, in the text's order."""
    found: dict[Complaint, None] = {}
    if _has_duplicates(data):
        _walk(json.loads(data, object_pairs_hook=_Pairs), "", found, frozenset(unknown))
    found.update(dict.fromkeys(("unknown", path) for path in unknown))
    return [f'{what} field "{path}"' for what, path in found]


def _has_duplicates(data: bytes | str) -> bool:
    seen = False

    def look(pairs: list[tuple[str, Any]]) -> None:
        nonlocal seen
        seen = seen or len(pairs) != len({key for key, _ in pairs})

    try:
        json.loads(data, object_pairs_hook=look)
    except (ValueError, RecursionError):
        return False
    return seen


class _Pairs(list[tuple[str, Any]]):
    """An object with all its keys."""


def _walk(value: Any, path: str, found: dict[Complaint, None], unknown: frozenset[str]) -> None:
    if isinstance(value, _Pairs):
        keys: set[str] = set()
        for key, item in value:
            below = f"{path}.{key}" if path else key
            if below in unknown:  # and passed over, whatever is in it
                found["unknown", below] = None
                continue
            if key in keys:
                found["duplicate", below] = None
            keys.add(key)
            _walk(item, below, found, unknown)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            _walk(item, f"{path}[{index}]", found, unknown)


def quoted(char: str) -> str:
    """A character as Go's reader shows it: the first byte of what is not ASCII, taken for a character."""
    code = char.encode(errors="replace")[0]
    if char in _NAMED:
        return _NAMED[char]
    return f"'{chr(code)}'" if chr(code).isprintable() else f"'\\x{code:02x}'" if code < 128 else f"'\\u{code:04x}'"


_NAMED = {"'": r"'\''", '"': "'\"'", "\\": r"'\\'"} | {
    char: f"'\\{letter}'" for char, letter in zip("\a\b\f\n\r\t\v", "abfnrtv", strict=True)
}
_BETWEEN = ("looking for", "after array", "after object", "in string literal")
"""Where a text may as well go on: its end is told as such."""


class _Scanner:
    """Reads JSON for its errors alone, character by character as Go does."""

    def __init__(self, text: str) -> None:
        self.text, self.position = text, 0

    def scan(self) -> None:
        """Raises JSONError at the first character that cannot stand where it does."""
        self.value(0)
        self.space()
        if self.position < len(self.text):
            self.fail("after top-level value")

    def peek(self) -> str:
        return self.text[self.position] if self.position < len(self.text) else ""

    def space(self) -> None:
        while self.peek() and self.peek() in _SPACE:
            self.position += 1

    def fail(self, where: str) -> NoReturn:
        char = self.peek()
        if not char and where.startswith(_BETWEEN):
            raise JSONError("unexpected end of JSON input")
        # Go ends a text with a space, to see whether what stands last is whole
        raise JSONError(f"invalid character {quoted(char or ' ')} {where}")

    def value(self, depth: int) -> None:
        self.space()
        char = self.peek()
        if depth > 10_000:
            self.fail("exceeded max depth")
        if char == "{":
            self.object(depth)
        elif char == "[":
            self.array(depth)
        elif char == '"':
            self.string()
        elif char and char in "-0123456789":
            self.number()
        else:
            for literal in ("true", "false", "null"):
                if char == literal[0]:
                    self.literal(literal)
                    return
            self.fail("looking for beginning of value")

    def object(self, depth: int) -> None:
        self.position += 1
        self.space()
        if self.peek() == "}":
            self.position += 1
            return
        while True:
            self.space()
            if self.peek() != '"':
                self.fail("looking for beginning of object key string")
            self.string()
            self.space()
            if self.peek() != ":":
                self.fail("after object key")
            self.position += 1
            self.value(depth + 1)
            self.space()
            if self.peek() == "}":
                self.position += 1
                return
            if self.peek() != ",":
                self.fail("after object key:value pair")
            self.position += 1

    def array(self, depth: int) -> None:
        self.position += 1
        self.space()
        if self.peek() == "]":
            self.position += 1
            return
        while True:
            self.value(depth + 1)
            self.space()
            if self.peek() == "]":
                self.position += 1
                return
            if self.peek() != ",":
                self.fail("after array element")
            self.position += 1

    def string(self) -> None:
        self.position += 1
        while self.peek() != '"':
            char = self.peek()
            if not char or char < " ":
                self.fail("in string literal")
            self.position += 1
            if char != "\\":
                continue
            if self.peek() == "u":
                self.position += 1
                for _ in range(4):
                    if not self.peek() or self.peek() not in _HEX:
                        self.fail("in \\u hexadecimal character escape")
                    self.position += 1
            elif self.peek() and self.peek() in '"\\/bfnrt':
                self.position += 1
            else:
                self.fail("in string escape code")
        self.position += 1

    def number(self) -> None:
        if self.peek() == "-":
            self.position += 1
        if self.peek() == "0":
            self.position += 1
        else:
            self.digits("in numeric literal")
        if self.peek() == ".":
            self.position += 1
            self.digits("after decimal point in numeric literal")
        if self.peek() and self.peek() in "eE":
            self.position += 1
            if self.peek() and self.peek() in "+-":
                self.position += 1
            self.digits("in exponent of numeric literal")

    def digits(self, where: str) -> None:
        if not self.peek() or self.peek() not in "0123456789":
            self.fail(where)
        while self.peek() and self.peek() in "0123456789":
            self.position += 1

    def literal(self, literal: str) -> None:
        for expected in literal:
            if self.peek() != expected:
                self.fail(f"in literal {literal} (expecting '{expected}')")
            self.position += 1
