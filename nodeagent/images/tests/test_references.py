"""Names of images."""

from __future__ import annotations

import pytest

from nodeagent.images.reference import InvalidReference, parse

DIGEST = "sha256:" + "a" * 64


@pytest.mark.parametrize(
    ("short", "full"),
    [
        ("busybox", "docker.io/library/busybox:latest"),
        ("busybox:1.36", "docker.io/library/busybox:1.36"),
        ("docker.io/busybox", "docker.io/library/busybox:latest"),
        ("index.docker.io/library/busybox", "docker.io/library/busybox:latest"),
        ("team/app", "docker.io/team/app:latest"),
        ("localhost/host", "localhost/host:latest"),
        ("registry.example:5000/a/b_c:v1", "registry.example:5000/a/b_c:v1"),
        (f"busybox@{DIGEST}", f"docker.io/library/busybox@{DIGEST}"),
        (f"busybox:1@{DIGEST}", f"docker.io/library/busybox:1@{DIGEST}"),
    ],
)
def test_short_names_stand_for_full_ones(short: str, full: str) -> None:
    assert str(parse(short)) == full
    assert parse(str(parse(short))) == parse(short)


@pytest.mark.parametrize("text", ["", "Upper", "a b", "a:", "a//b", "a@sha256:1", "-a", "a:b:c", "x/../y", "a" * 64])
def test_what_is_no_name(text: str) -> None:
    with pytest.raises(InvalidReference):
        parse(text)
