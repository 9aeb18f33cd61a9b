"""What is looked up below a folder stays below it, and what is missing there is made there."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from nodeagent.linux import beneath


@pytest.fixture
def root(tmp_path: Path) -> Iterator[tuple[int, Path]]:
    top = tmp_path / "root"
    (top / "etc").mkdir(parents=True)
    fd = os.open(top, os.O_PATH | os.O_DIRECTORY)
    yield fd, top
    os.close(fd)
    assert os.listdir(tmp_path) == ["root"]


@pytest.mark.parametrize(
    ("link", "made"),
    [
        ("/run/systemd/resolve/stub-resolv.conf", "run/systemd/resolve/stub-resolv.conf"),  # systemd's
        ("../run/resolv.conf", "run/resolv.conf"),
        ("other/../resolv.other", "etc/resolv.other"),
        ("/../../../resolv.conf", "resolv.conf"),
        ("again", "etc/last"),
    ],
)
def test_a_file_is_made_where_a_link_leads(root: tuple[int, Path], link: str, made: str) -> None:
    fd, top = root
    (top / "etc/resolv.conf").symlink_to(link)
    (top / "etc/again").symlink_to("last")
    (top / "etc/other").mkdir()
    for _ in range(2):  # the second time it is there
        found = beneath.place(fd, "/etc/resolv.conf", is_folder=False)
        assert os.readlink(f"/proc/self/fd/{found}") == str(top / made)
        os.close(found)


def test_folders_are_made_where_links_lead(root: tuple[int, Path]) -> None:
    fd, top = root
    (top / "var").symlink_to("/data/var")
    (top / "etc/run").symlink_to("../var/run")
    found = beneath.place(fd, "etc/run/secrets/a", is_folder=True)
    assert os.readlink(f"/proc/self/fd/{found}") == str(top / "data/var/run/secrets/a")
    os.close(found)


def test_links_in_a_circle_lead_nowhere(root: tuple[int, Path]) -> None:
    fd, top = root
    (top / "etc/a").symlink_to("b")
    (top / "etc/b").symlink_to("a")
    for is_folder in (True, False):
        with pytest.raises(OSError) as caught:
            beneath.place(fd, "/etc/a", is_folder=is_folder)
        assert caught.value.errno == errno.ELOOP
