"""Kubernetes' CEL: the one place where expressions are compiled and run.

An :class:`Environment` says which variables there are; it compiles an expression once, a program runs it many times::

    from shim import cel

    environment = cel.Environment({"object": cel.DYN, "request": cel.DYN, "authorizer": cel.AUTHORIZER})
    try:
        program = environment.compile("object.metadata.name.startsWith('a')", cel.BOOL)
    except cel.CompileError as error:
        ...                     # str(error): upstream's text, with the place of every mistake
    try:
        allowed = program.evaluate({"object": {"metadata": {"name": "abc"}}, "request": {}}).value
    except cel.CelError as error:
        ...                     # str(error): "no such key: name"; cel.OverBudget when it cost too much

Values are Python's: what JSON has is itself, and see :mod:`shim.cel.values` for times, optionals and the rest.
``result.cost`` counts upstream's units, for budgets over several expressions. Variables that cost much to make may
be given as a ``dict`` subclass which makes its entries when they are read.

**Why not a library.** cel-expr-python (Google's C++ runtime) cannot hand values of a library's own type to Python
functions, so that ``quantity("1k").isGreaterThan(...)``, ``url``, ``ip``, ``cidr``, ``semver``, named formats and
``authorizer`` cannot be given to it; it has no types for objects with known fields short of protobuf descriptors,
counts no costs and shows no tree to estimate them from; it says other words for unknown fields. cel-python knows no
types at all. Costs, types and messages are what Kubernetes promises its users, hence the few files here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from time import perf_counter

from shim.cel import authorizer, kubernetes, network, standard, strings, timing, urls, validators
from shim.cel.authorizer import AUTHORIZER, RESOURCE_CHECK, Attributes, Authorizer, Decision
from shim.cel.checker import Checked, Checker
from shim.cel.cost import Range, estimate
from shim.cel.functions import Functions, Library
from shim.cel.program import CALL_LIMIT, Program, Result, Struct, compile
from shim.cel.running import OverBudget
from shim.cel.syntax import parse
from shim.cel.tokens import Issue, SyntaxIssue
from shim.cel.types import (
    BOOL,
    BYTES,
    DOUBLE,
    DURATION,
    DYN,
    INT,
    NULL,
    STRING,
    TIMESTAMP,
    UINT,
    Field,
    Type,
    list_of,
    map_of,
    optional_of,
    struct,
)
from shim.cel.values import NONE, CelError, Duration, Optional, Timestamp, parse_duration, parse_timestamp

__all__ = [
    "AUTHORIZER",
    "BOOL",
    "BYTES",
    "CALL_LIMIT",
    "DOUBLE",
    "DURATION",
    "DYN",
    "INT",
    "JSON_PATCH",
    "NONE",
    "NULL",
    "RESOURCE_CHECK",
    "STRING",
    "TIMESTAMP",
    "UINT",
    "Attributes",
    "Authorizer",
    "CelError",
    "CompileError",
    "Decision",
    "Duration",
    "Environment",
    "Field",
    "InstantiationError",
    "Optional",
    "OverBudget",
    "Program",
    "Range",
    "Result",
    "Struct",
    "Timestamp",
    "Type",
    "WrongType",
    "estimate",
    "list_of",
    "map_of",
    "optional_of",
    "parse_duration",
    "parse_timestamp",
    "struct",
]

JSON_PATCH = kubernetes.JSON_PATCH
_LIBRARIES = (
    standard.LIBRARY,
    strings.LIBRARY,
    kubernetes.LIBRARY,
    network.LIBRARY,
    urls.LIBRARY,
    authorizer.LIBRARY,
)
_BASE = Functions(_LIBRARIES)


class CompileError(ValueError):
    """An expression that is none, or makes no sense; the text names every mistake and its place."""

    STEP = "compilation"

    def __init__(self, text: str, issues: Sequence[Issue]) -> None:
        super().__init__("\n".join(_located(text, issue) for issue in issues))
        self.issues = tuple(issues)

    @property
    def told(self) -> str:
        """The text, and which step it is about."""
        return f"{self.STEP} failed: {self}"


class InstantiationError(CompileError):
    """An expression that makes sense, with a part that has the same error every time it is run."""

    STEP = "program instantiation"

    def __init__(self, message: str) -> None:
        ValueError.__init__(self, message)
        self.issues = ()


class Environment:
    """What expressions of one kind may use: variables, the struct types they can make, libraries beside the usual."""

    def __init__(
        self,
        variables: Mapping[str, Type],
        *,
        structs: Callable[[str], Type | None] | None = None,
        libraries: Sequence[Library] = (),
    ) -> None:
        self.variables = variables
        self._structs = structs or (lambda name: None)
        self._functions = Functions((*_LIBRARIES, *libraries)) if libraries else _BASE

    def extend(self, variables: Mapping[str, Type]) -> Environment:
        """An environment with more variables."""
        new = Environment({**self.variables, **variables}, structs=self._structs)
        new._functions = self._functions
        return new

    def check(self, text: str) -> Checked:
        """The tree of an expression with its types. Raises CompileError, and InstantiationError."""
        try:
            checked = Checker(self.variables, self._functions, self._structs).check(parse(text))
        except SyntaxIssue as error:
            raise CompileError(text, error.issues) from None
        except RecursionError:
            raise CompileError(text, [Issue(-1, "expression recursion limit exceeded")]) from None
        issues = checked.issues or validators.issues(checked)
        if issues:
            raise CompileError(text, sorted(issues))
        try:
            validators.fold(checked)
        except validators.Folded as error:
            raise InstantiationError(str(error)) from None
        return checked

    def compile(self, text: str, *wanted: Type) -> Program:
        """The program of an expression whose value must be of one of these types. Raises CompileError."""
        began = perf_counter()
        checked = self.check(text)
        if wanted and checked.type.name != "dyn" and checked.type not in wanted:
            raise WrongType(wanted)
        program = compile(text, checked)
        timing.COMPILATION.add(perf_counter() - began)
        return program


class WrongType(CompileError):
    """An expression that makes sense, and yields what is not asked for."""

    def __init__(self, wanted: Sequence[Type]) -> None:
        ValueError.__init__(self, f"must evaluate to {' or '.join(str(each) for each in wanted)}")
        self.issues = ()
        self.wanted = tuple(wanted)


def _located(text: str, issue: Issue) -> str:
    """A mistake as upstream shows it: where, what, the line, and a mark below it."""
    if issue.offset < 0 or not text:
        return f"ERROR: <input>:{1 if not text else -1}:0: {issue.message}"
    before = text[: issue.offset]
    line = before.count("\n")
    column = issue.offset - (before.rfind("\n") + 1)
    source = text.split("\n")[line]
    before = "".join("．" if _is_wide(char) else "." for char in source[:column])
    mark = "＾" if _is_wide(source[column : column + 1]) else "^"
    shown = source.replace("\t", " ")
    return f"ERROR: <input>:{line + 1}:{column + 1}: {issue.message}\n | {shown}\n | {before}{mark}"


def _is_wide(char: str) -> bool:
    """Whether upstream takes a character to be as wide as two."""
    return len(char.encode()) > 1
