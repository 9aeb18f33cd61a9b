"""What is mounted in a volume is seen elsewhere as far as was asked for: see mount_namespaces(7)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from nodeagent.engine.contract import Mount, StartFailed
from nodeagent.linux import libc, mounts


@pytest.fixture
def shared(tmp_path: Path) -> Iterator[Path]:
    """A folder that is a mount of its own, whose mounts others may see."""
    folder = tmp_path / "shared"
    folder.mkdir()
    libc.mount(str(folder), str(folder), "", mounts.BIND)
    libc.mount("", str(folder), "", mounts.SHARED)
    for name in ("node", "both", "down", "none"):
        (folder / name).mkdir()
    yield folder
    for point in mounts.below(str(folder)):
        mounts.detach(point)


async def test_mounts_are_seen_as_far_as_asked(node, shared):
    await node.sandbox()
    ways = {"both": "rshared", "down": "rslave", "none": "private"}
    for name, way in ways.items():
        mount = Mount(str(shared), "/v", propagation=way)
        await node.start("exec sleep 1000", name, privileged=True, mounts=(mount,))
    for name in ways:
        code, _, error = await node.exec(
            "sh", "-c", f"mount -t tmpfs tmpfs /v/{name} && touch /v/{name}/file", name=name
        )
        assert (code, error) == (0, "")
    libc.mount("tmpfs", str(shared / "node"), "tmpfs")
    (shared / "node/file").touch()

    seen = {}
    for name in ways:
        _, out, _ = await node.exec("sh", "-c", "cd /v; ls -d */file", name=name)
        seen[name] = {line.partition("/")[0] for line in out.split()}
    assert seen == {"both": {"both", "node"}, "down": {"both", "down", "node"}, "none": {"none"}}
    assert {path.parent.name for path in shared.glob("*/file")} == {"both", "node"}


async def test_where_nothing_can_be_seen_it_is_refused(node, tmp_path):
    folder = tmp_path / "private"
    folder.mkdir()
    libc.mount(str(folder), str(folder), "", mounts.BIND)
    libc.mount("", str(folder), "", mounts.PRIVATE)
    try:
        await node.sandbox()
        for name, way, why in (("a", "rshared", "a shared mount"), ("b", "rslave", "a shared or slave mount")):
            with pytest.raises(StartFailed, match=f'is mounted on ".*/private" but it is not {why}'):
                await node.start("true", name, mounts=(Mount(str(folder), "/v", propagation=way),))
    finally:
        mounts.detach(str(folder))


async def test_from_a_user_namespace_nothing_is_mounted_on_the_node(node, shared):
    """Its root may mount, but only for itself: a container that asks to mount for the node gets the one way only."""
    await node.sandbox(own_users=True)
    script = "mount -t tmpfs tmpfs /v/both && touch /v/both/file; ls /v/both"
    await node.run(script, privileged=True, mounts=(Mount(str(shared), "/v", propagation="rshared"),))
    assert node.log() == "file\n"
    assert list(shared.glob("*/file")) == []
