"""What is wrong with an expression that somebody has written into an object?"""

from __future__ import annotations

from shim import cel
from shim.api.status import FieldError
from shim.cel.requests import complaint
from shim.resources.causes import internal, invalid


def complaints(at: str, environment: cel.Environment, text: str, *wanted: cel.Type) -> list[FieldError]:
    """Why an expression yields none of these types."""
    try:
        problem = complaint(environment, text, *wanted)
    except cel.CompileError as error:
        return [uncompiled(at, text, error)]
    return [invalid(at, text, problem)] if problem else []


def uncompiled(at: str, text: str, error: cel.CompileError) -> FieldError:
    """Of an expression that can be compiled, but never run, upstream takes the mistake to be its own."""
    return internal(at, error.told) if isinstance(error, cel.InstantiationError) else invalid(at, text, error.told)
