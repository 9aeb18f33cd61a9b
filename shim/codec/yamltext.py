"""YAML in and out, as upstream's library understands it: YAML 1.1 for yes and no, JSON's types for everything else.

Times stay strings, sexagesimal numbers are strings too, keys become strings. The C parser reads; what a scalar
means is decided here.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

_MAX_EXPANDED = 100_000  # nodes beyond one for each byte: a small text could stand for any amount of memory, and time


class YAMLError(ValueError):
    """Not YAML, or nothing that JSON could say; the text is that of upstream's library."""


_BOOLS = {
    **dict.fromkeys(("y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"), True),
    **dict.fromkeys(("n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"), False),
}
_NULLS = frozenset(("", "~", "null", "Null", "NULL"))
_INT = re.compile(r"[-+]?(0[xX][0-9a-fA-F_]+|0[oO]?[0-7_]+|0[bB][01_]+|[1-9][0-9_]*|0)")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_STRICT = "yaml: unmarshal errors:"
_ALIAS = re.compile(r"\*([\w-]*)")
_TIME = re.compile(r"\d{4}-\d\d?-\d\d?($|[Tt ])")  # YAML would read a time; upstream does so and quotes it
_BASES = {"x": 16, "o": 8, "b": 2}
_TAG = "tag:yaml.org,2002:"
_TAGS: dict[str, tuple[type, ...]] = {
    f"{_TAG}str": (str,),
    f"{_TAG}bool": (bool,),
    f"{_TAG}int": (int,),
    f"{_TAG}float": (float, int),
    f"{_TAG}null": (type(None),),
}


def _scalar(text: str) -> Any:
    """What a plain scalar means."""
    if text in _NULLS:
        return None
    if text in _BOOLS:
        return _BOOLS[text]
    if text[0] in "+-.0123456789":
        if _INT.fullmatch(text):
            return _int(text.replace("_", ""))
        if _FLOAT.fullmatch(text):
            number = float(text)
            if abs(number) == float("inf"):
                return text
            return int(number) if number.is_integer() and abs(number) < 1e21 else number  # as Go writes it in JSON
    return text


def _int(text: str) -> int:
    sign, digits = (-1, text[1:]) if text.startswith("-") else (1, text.removeprefix("+"))
    if len(digits) > 1 and digits[0] == "0":
        base = _BASES.get(digits[1].lower(), 8)
        return sign * int(digits[2:] if digits[1].lower() in _BASES else digits, base)
    return sign * int(digits)


class _Reader:
    """Turns YAML's nodes into JSON's values."""

    def __init__(self, most: int) -> None:
        self.nodes, self._most = 0, most
        self.duplicates: list[str] = []

    def value(self, node: Any) -> Any:
        self.nodes += 1
        if self.nodes > self._most:
            raise YAMLError("yaml: document contains excessive aliasing")
        if isinstance(node, yaml.ScalarNode):
            return self.scalar(node)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(item) for item in node.value]
        return self.mapping(node)

    def scalar(self, node: Any) -> Any:
        text: str = node.value
        if node.tag in ("!", f"{_TAG}str"):
            return text
        if node.tag == f"{_TAG}binary":
            return "".join(text.split())
        found = _scalar(text)
        if node.tag in _TAGS and not isinstance(found, _TAGS[node.tag]):
            known = next(tag for tag, types in _TAGS.items() if isinstance(found, types))
            found_as, wanted = (tag.removeprefix(_TAG) for tag in (known, node.tag))
            raise YAMLError(f"yaml: cannot decode !!{found_as} `{text}` as a !!{wanted}")
        return found

    def mapping(self, node: Any) -> dict[str, Any]:
        merged: dict[str, Any] = {}
        own: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if isinstance(key_node, yaml.ScalarNode) and key_node.value == "<<" and not key_node.style:
                sources = value_node.value if isinstance(value_node, yaml.SequenceNode) else [value_node]
                for source in sources:
                    if not isinstance(source, yaml.MappingNode):
                        raise YAMLError("yaml: map merge requires map or sequence of maps as the value")
                    for key, item in self.mapping(source).items():
                        merged.setdefault(key, item)
                continue
            key = self.key(key_node)
            if key in own:
                line = key_node.start_mark.line + 1
                self.duplicates.append(f'  line {line}: key "{key}" already set in map')
            own[key] = self.value(value_node)
        return {**merged, **own}

    def key(self, node: Any) -> str:
        key = self.scalar(node) if isinstance(node, yaml.ScalarNode) else None
        if isinstance(key, bool):
            return str(key).lower()
        if isinstance(key, str | int | float):
            return str(key)
        raise YAMLError(f"yaml: unsupported map key of type: {type(node).__name__.removesuffix('Node').lower()}")


class _Loader(yaml.CSafeLoader):
    """Only parses: no scalar is resolved, so that a plain one arrives with the tag "?"."""

    def resolve(self, kind: Any, value: Any, implicit: Any) -> Any:
        """The tag of a node that has none: plain scalars are decided later, quoted ones are strings."""
        if kind is yaml.ScalarNode:
            return "?" if implicit[0] else f"{_TAG}str"
        tag: str = super().resolve(kind, value, implicit)  # type: ignore[no-untyped-call]  # of PyYAML
        return tag


def loads(data: bytes | str) -> Any:
    """The first document. Raises YAMLError."""
    return _read(data)[0]


def strict_errors(data: bytes | str) -> list[str]:
    """What upstream's strict reader says: keys that stand twice in one map."""
    try:
        lines = _read(data)[1]
    except YAMLError:
        return []
    return [_STRICT + "\n" + "\n".join(lines)] if lines else []


def apart(complaint: str) -> list[str]:
    """One of :func:`strict_errors` as warnings: each line for itself."""
    head, _, lines = complaint.partition("\n")
    return [line.strip() for line in lines.split("\n")] if head == _STRICT else [complaint]


def _told(error: yaml.MarkedYAMLError, data: bytes | str) -> str:
    """What is wrong and where, in the words of Go's reader: which counts lines from 0 after its scanner is done."""
    if error.problem_mark and error.problem == "found undefined alias":
        text = data.decode() if isinstance(data, bytes) else data
        rest = text.splitlines()[error.problem_mark.line][error.problem_mark.column :]
        return f"unknown anchor '{_ALIAS.match(rest)[1]}' referenced"  # type: ignore[index]  # the parser has read it
    line = 0
    if error.problem_mark and error.problem_mark.line:
        line = error.problem_mark.line + isinstance(error, yaml.scanner.ScannerError)
    elif error.context_mark:
        line = error.context_mark.line
    return (f"line {line}: " if line else "") + (error.problem or error.context or "")


def _read(data: bytes | str) -> tuple[Any, list[str]]:
    loader = _Loader(data)
    reader = _Reader(len(data) + _MAX_EXPANDED)
    try:
        if not loader.check_node():
            return None, []
        return reader.value(loader.get_node()), reader.duplicates
    except yaml.MarkedYAMLError as error:
        raise YAMLError(f"yaml: {_told(error, data)}") from None
    except yaml.reader.ReaderError as error:
        raise YAMLError(f"yaml: {error.reason}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise YAMLError(f"yaml: {error}") from None
    except RecursionError:
        raise YAMLError("yaml: exceeded max depth") from None
    finally:
        loader.dispose()


class _Dumper(yaml.CSafeDumper):
    """Quotes every string that one of the readers would take for something else."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _represent(dumper: Any, text: str) -> Any:
    style = None
    if "\n" in text:
        style = "|"
    elif not isinstance(_scalar(text), str) or _TIME.match(text):
        style = '"'
    return dumper.represent_scalar(f"{_TAG}str", text, style=style)


_Dumper.add_representer(str, _represent)


def dumps(obj: Any) -> bytes:
    """Block style, sorted keys, as upstream prints YAML."""
    text: str = yaml.dump(obj, Dumper=_Dumper, default_flow_style=False, sort_keys=True, allow_unicode=True)
    return text.encode()
