"""What may an expression of an admission policy say? What match conditions may, parameters, variables, and patches.

``variables.x`` has the type of the expression that makes it, so that variables are told of in their order. Apply
configurations are written as objects (``Object{spec: Object.spec{replicas: 1}}``) whose types are named by where
they stand; they have whatever fields one writes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from shim import cel
from shim.api.meta import Object
from shim.cel.openapi import unescape
from shim.cel.requests import CONDITIONS

_AUTHORIZERS = ("authorizer", "authorizer.requestResource")
OBJECT = "Object"


class _AnyField(Mapping[str, cel.Field]):
    """The fields of an object that is being written: any."""

    def __getitem__(self, name: str) -> cel.Field:
        return cel.Field(cel.DYN, unescape(name) or name)

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


_ANY_FIELD = _AnyField()
_PATCH_FIELDS = {name: cel.Field(cel.STRING, name) for name in ("op", "path", "from")}
_PATCH_FIELDS["value"] = cel.Field(cel.DYN, "value")
JSON_PATCH = cel.struct("JSONPatch", lambda: _PATCH_FIELDS)
OBJECT_TYPE = cel.struct(OBJECT, lambda: _ANY_FIELD)


def patch_types(name: str) -> cel.Type | None:
    """``Object``, ``Object.spec.template`` and so on, and ``JSONPatch``."""
    if name == "JSONPatch":
        return JSON_PATCH
    if name == OBJECT or name.startswith(f"{OBJECT}."):
        return cel.struct(name, lambda: _ANY_FIELD)
    return None


class PolicyEnvironments:
    """The environments of one policy's expressions. Its variables make no patches: no types are theirs to write.

    ``checks`` are the types of object, oldObject and params where they are known, as type checking has them.
    """

    def __init__(self, spec: Object, *, patching: bool = False, checks: Mapping[str, cel.Type] | None = None) -> None:
        structs = patch_types if patching else None
        libraries = (cel.JSON_PATCH,) if patching else ()
        variables = {**CONDITIONS.variables}
        if spec.get("paramKind"):
            variables["params"] = cel.DYN
        variables.update(checks or {})
        self._structs, self._libraries = structs, libraries
        self.conditions = self._with(variables)
        self._fields: dict[str, cel.Field] = {}
        if spec.get("variables"):
            variables = {**variables, "variables": cel.struct("kubernetes.variables", lambda: self._fields)}
        self.variables = cel.Environment(variables)
        self.validations = self._with(variables)
        quiet = {name: type for name, type in variables.items() if name not in _AUTHORIZERS}
        self.messages = self._with(quiet)

    def _with(self, variables: Mapping[str, cel.Type]) -> cel.Environment:
        return cel.Environment(variables, structs=self._structs, libraries=self._libraries)

    def add(self, name: str, expression: str) -> cel.Program:
        """The program of a variable, which those after it may name. Raises CompileError."""
        program = self.variables.compile(expression)
        self.declare(name, program.type)
        return program

    def declare(self, name: str, type: cel.Type) -> None:
        self._fields[name] = cel.Field(type, name)
