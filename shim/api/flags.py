"""Settings as dataclasses that the command line is made from: a flag, its default and its help stand in one place."""

from __future__ import annotations

import argparse
import sys
import typing
from collections.abc import Sequence
from dataclasses import MISSING, field, fields
from pathlib import Path
from typing import Any, NoReturn, TypeVar

S = TypeVar("S")


def flag(help: str, default: Any = ...) -> Any:
    """A dataclass field: its name becomes ``--name``, ``help`` its help text; without a default it is required."""
    metadata = {"help": help}
    return field(metadata=metadata) if default is ... else field(default=default, metadata=metadata)


class Parser(argparse.ArgumentParser):
    """An argument parser that says what is wrong in one line, and exits with 2."""

    def error(self, message: str) -> NoReturn:
        sys.stderr.write(f"{self.prog}: {message} (see {self.prog} --help)\n")
        sys.exit(2)


def add_flags(parser: argparse.ArgumentParser, settings: type[Any], *, skip: Sequence[str] = ()) -> None:
    """Add ``--name`` for each field of a settings dataclass; a tuple takes a list with commas."""
    types = typing.get_type_hints(settings)
    for item in fields(settings):
        if item.name in skip:
            continue
        required = item.default is MISSING
        default = None if required else item.default
        text = item.metadata["help"]
        if not required and default not in (None, "", ()):
            text += f" (default: {_shown(default)})"
        parser.add_argument(
            f"--{item.name.replace('_', '-')}",
            dest=item.name,
            required=required,
            default=default,
            type=_converter(types[item.name]),
            metavar=_metavar(types[item.name]),
            help=text.replace("%", "%%"),
        )


def read_flags(settings: type[S], args: argparse.Namespace) -> S:
    """The settings that the parsed arguments make."""
    names = [item.name for item in fields(settings)]  # type: ignore[arg-type]  # S is a dataclass
    return settings(**{name: getattr(args, name) for name in names if hasattr(args, name)})


def parse(settings: type[S], prog: str, description: str, argv: Sequence[str] | None = None) -> S:
    """Read a part's whole command line: ``nodeagent --kubeconfig F --node-name N ...``."""
    parser = Parser(prog=prog, description=description)
    add_flags(parser, settings)
    return read_flags(settings, parser.parse_args(argv))


def _converter(kind: Any) -> Any:
    if kind is bool:
        return _boolean
    if kind is int or kind is float or kind is str or kind is Path:
        return kind
    if typing.get_origin(kind) is tuple:
        return lambda text: tuple(part for part in text.split(",") if part)
    return next(option for option in typing.get_args(kind) if option is not type(None))


def _shown(default: Any) -> str:
    if isinstance(default, bool):
        return str(default).lower()
    return ",".join(default) if isinstance(default, tuple) else str(default)


def _boolean(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise argparse.ArgumentTypeError(f"{text!r} is neither true nor false")
    return text.lower() == "true"


def _metavar(kind: Any) -> str:
    if kind is bool:
        return "true|false"
    if kind is int or kind is float:
        return "N"
    if typing.get_origin(kind) is tuple:
        return "A,B"
    return "VALUE" if kind is str else "PATH"
