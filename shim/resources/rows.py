"""How the rows of the table of resources are written: the words their files share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from shim.api.meta import Object
from shim.resources.columns.common import DEFAULT, Cell
from shim.resources.strategy import ALL_VERBS, Column, Resource

Convert = Callable[[Object], Object]

CREATE_ONLY = ("create",)  # reviews and bindings are questions and orders: nothing is kept under these names
NO_DELETECOLLECTION = tuple(verb for verb in ALL_VERBS if verb != "deletecollection")
ALL = ("all",)
EXTENSIONS = ("api-extensions",)


def served(group: str, version: str, *rows: Resource) -> tuple[Resource, ...]:
    """The rows of one group and version."""
    return tuple(
        replace(row, group=group, version=version, columns=_columns(row.columns or DEFAULT, row.to_storage))
        for row in rows
    )


def _columns(columns: Sequence[Column], to_storage: Convert | None) -> tuple[Column, ...]:
    """Columns are written for the stored form of a kind; another form is converted before a cell is read."""
    if to_storage is None:
        return tuple(columns)
    convert = to_storage

    def of_stored(cell: Cell) -> Cell:
        return lambda obj: cell(convert(obj))

    return tuple(replace(column, cell=of_stored(column.cell)) for column in columns)


def cluster(name: str, kind: str, **more: object) -> Resource:
    """A row of a kind that belongs to no namespace."""
    return Resource(name, kind, namespaced=False, **more)  # type: ignore[arg-type]  # its fields, which it names itself
