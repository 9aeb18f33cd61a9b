"""The words of CEL: text to tokens, with the values of numbers and strings.

https://github.com/google/cel-spec/blob/master/doc/langdef.md#syntax has them.
"""

from __future__ import annotations

import math
import re
from typing import Any, NamedTuple


class Issue(NamedTuple):
    """Something wrong at a place of the text."""

    offset: int
    message: str


class SyntaxIssue(Exception):
    """The text is no expression; ``issues`` are what was found before, too."""

    def __init__(self, offset: int, message: str) -> None:
        super().__init__(message)
        self.issues = [Issue(offset, message)]


class Token(NamedTuple):
    kind: str  # int, uint, double, string, bytes, ident, op, end
    text: str
    at: int
    value: Any = None


_SPACE = re.compile(r"(?:[\t\n\f\r ]|//[^\n]*)+")
_NUMBER = re.compile(
    r"0[xX][0-9a-fA-F]+[uU]?|(?:\d+\.\d+(?:[eE][+-]?\d+)?|\d+[eE][+-]?\d+|\.\d+(?:[eE][+-]?\d+)?)|\d+[uU]?"
)
_IDENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_ESCAPED = r"\\(?:[abfnrtv\"'\\?`]|[xX][0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|[0-3][0-7]{2})"
_OPEN_STRING = re.compile(rf"\"(?:{_ESCAPED}|[^\\\"\n\r])*\\?|'(?:{_ESCAPED}|[^\\'\n\r])*\\?")
"""How far a text could be a string that is never ended."""
_DOUBLED = "=|&"  # which stand for nothing alone
_QUOTED_IDENT = re.compile(r"`[a-zA-Z0-9_.\-/ ]+`")
_STRING = re.compile(
    r"(?P<prefix>(?:[bB][rR]?|[rR][bB]?)?)"
    rf"(?:\"\"\"(?P<a>(?:{_ESCAPED}|[^\\])*?)\"\"\"|'''(?P<b>(?:{_ESCAPED}|[^\\])*?)'''"
    rf"|\"(?P<c>(?:{_ESCAPED}|[^\\\"\n\r])*)\"|'(?P<d>(?:{_ESCAPED}|[^\\'\n\r])*)')",
    re.DOTALL,
)
_RAW = re.compile(
    r"(?P<prefix>[bB]?[rR][bB]?)"
    r"(?:\"\"\"(?P<a>.*?)\"\"\"|'''(?P<b>.*?)'''|\"(?P<c>[^\"\n\r]*)\"|'(?P<d>[^'\n\r]*)')",
    re.DOTALL,
)
_OPS = re.compile(r"==|!=|<=|>=|&&|\|\||\[|\]|\{|\}|\(|\)|\.|,|-|!|\?|:|\+|\*|/|%|<|>")
RESERVED = frozenset(
    "as break const continue else for function if import let loop package namespace return var void while".split()
)
_BAD_ESCAPE = "Syntax error: token recognition error at: "


def tokens(text: str) -> tuple[list[Token], list[Issue]]:
    """The words of a text, and what of it is none. Raises SyntaxIssue."""
    found: list[Token] = []
    issues: list[Issue] = []
    at, size = 0, len(text)
    while at < size:
        if match := _SPACE.match(text, at):
            at = match.end()
            continue
        start = at
        if match := _RAW.match(text, at) or _STRING.match(text, at):
            prefix = match["prefix"].lower()
            body = next(match[name] for name in "abcd" if match[name] is not None)
            value: Any = body if "r" in prefix else _unescape(body, start, text, is_bytes="b" in prefix)
            if "b" in prefix:
                value = value.encode() if isinstance(value, str) else value
            found.append(Token("bytes" if "b" in prefix else "string", match[0], start, value))
        elif match := _NUMBER.match(text, at):
            found.append(_number(match[0], start))
        elif match := _IDENT.match(text, at):
            found.append(Token("ident", match[0], start))
        elif match := _QUOTED_IDENT.match(text, at):  # the language has it, Kubernetes does not
            raise SyntaxIssue(start, "unsupported syntax: '`'")
        elif match := _OPS.match(text, at):
            found.append(Token("op", match[0], start))
        else:
            at = _unknown(text, at)
            issues.append(Issue(start, f"{_BAD_ESCAPE}'{text[start:at]}'"))
            continue
        at = match.end()
    found.append(Token("end", "<EOF>", size))
    return found, issues


def _unknown(text: str, at: int) -> int:
    """Where what is no word ends: with the character that shows it to be none."""
    if match := _OPEN_STRING.match(text, at):
        return min(match.end() + 1, len(text))
    return min(at + 1 + (text[at] in _DOUBLED), len(text))


def _number(text: str, at: int) -> Token:
    if text[-1] in "uU":
        unsigned = int(text[:-1], 0) if text[:2].lower() == "0x" else int(text[:-1])
        return Token("uint", text, at, unsigned)
    if text[:2].lower() == "0x":
        return Token("int", text, at, int(text, 16))
    if any(char in text for char in ".eE"):
        value = float(text)
        if math.isinf(value):
            raise SyntaxIssue(at, "invalid double literal")
        return Token("double", text, at, value)
    return Token("int", text, at, int(text))


_SIMPLE = {
    "a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v",
    "\\": "\\", "'": "'", '"': '"', "`": "`", "?": "?",
}  # fmt: skip
_ESCAPE = re.compile(
    r"\\(?:x([0-9a-fA-F]{2})|X([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-3][0-7]{2})|(.))", re.DOTALL
)


def _unescape(body: str, at: int, text: str, *, is_bytes: bool) -> str | bytes:
    if "\\" not in body:
        return body
    out: list[bytes] = []
    last = 0
    for match in _ESCAPE.finditer(body):
        out.append(body[last : match.start()].encode())
        last = match.end()
        hexadecimal = match[1] or match[2]
        octal, plain = match[5], match[6]
        if hexadecimal or octal:
            code = int(hexadecimal, 16) if hexadecimal else int(octal, 8)
            out.append(bytes([code]) if is_bytes else chr(code).encode())
        elif match[3] or match[4]:
            code = int(match[3] or match[4], 16)
            if is_bytes:
                raise SyntaxIssue(at, "unable to unescape string")
            if code > 0x10FFFF or 0xD800 <= code < 0xE000:
                raise SyntaxIssue(at, "invalid unicode code point")
            out.append(chr(code).encode())
        elif plain in _SIMPLE:
            out.append(_SIMPLE[plain].encode())
        else:
            raise SyntaxIssue(at, f"{_BAD_ESCAPE}'{text[at : at + match.end() + 1]}'")
    out.append(body[last:].encode())
    joined = b"".join(out)
    return joined if is_bytes else joined.decode()
