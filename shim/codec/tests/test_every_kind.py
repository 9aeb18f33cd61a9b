"""Every built-in kind, with every field it has, through every format and back."""

from __future__ import annotations

import pytest

from shim.api.decoding import decode
from shim.codec import media
from shim.codec.definitions import load_schema
from shim.codec.tests.filled import filled
from shim.resources.table import RESOURCES

SCHEMA = load_schema()
STORED = {(row.group, row.version, kind) for row in RESOURCES for kind in (row.kind, row.list_kind)}
SENT = {("", "v1", "DeleteOptions"), ("", "v1", "Status"), ("policy", "v1", "Eviction"), ("autoscaling", "v1", "Scale")}
KINDS = sorted((STORED & set(SCHEMA.names)) | SENT)


@pytest.mark.parametrize(("group", "version", "kind"), KINDS, ids=lambda part: part or "core")
def test_what_is_written_reads_back_the_same(group: str, version: str, kind: str) -> None:
    definition = SCHEMA.for_kind(group, version, kind)
    assert definition
    api_version = f"{group}/{version}" if group else version
    given = filled(definition, kind, api_version)
    obj = decode(definition, given)
    assert (obj.unknown, obj.error) == ([], None)
    assert obj.obj == given
    for form in (media.JSON, media.YAML, media.PROTOBUF):
        read = media.decode(form, media.encode(form, given, SCHEMA), SCHEMA)
        assert {"kind": kind, "apiVersion": api_version, **decode(definition, read).obj} == given, form
