"""Another image as a mount: all of it or a part, for reading only, whatever its links say."""

from __future__ import annotations

from pathlib import Path

import pytest

from nodeagent.engine.contract import EngineError, Mount, StartFailed
from nodeagent.images import Images


@pytest.fixture
def model(tmp_path: Path, images: Images) -> str:
    """The id of an image with two layers, the upper of which hides a file of the lower one."""
    lower, upper = tmp_path / "lower", tmp_path / "upper"
    (lower / "data").mkdir(parents=True)
    (lower / "data/a").write_text("lower\n")
    (lower / "data/b").write_text("kept\n")
    (lower / "out").symlink_to("/etc")
    (lower / "for").write_text(tmp_path.name)  # an image of this test's own
    (upper / "data").mkdir(parents=True)
    (upper / "data/a").write_text("upper\n")
    images.build(lower, "one:1", {})
    return images.build(upper, "model:1", {}, base="one:1").id


async def test_the_layers_of_an_image_are_seen_as_one_and_cannot_be_written(node, model):
    await node.sandbox()
    script = "cat /model/data/a /model/data/b; cat /only/a; echo x > /model/x"
    await node.run(
        script, mounts=(Mount(model, "/model", kind="image"), Mount(model, "/only", kind="image", sub="data"))
    )
    assert node.log() == "upper\nkept\nupper\n"
    assert "Read-only file system" in node.log(stream="stderr")


async def test_an_image_of_one_layer_and_one_of_the_node_s_own_folders(node, images):
    await node.sandbox()
    one, host = images.find("one:1"), images.find("localhost/host")
    mounts = (Mount(one.id, "/one", kind="image"), Mount(host.id, "/host", kind="image"))
    await node.run("cat /one/data/a; ls /host/usr/bin/env; touch /host/usr/x /one/x", mounts=mounts)
    assert node.log() == "lower\n/host/usr/bin/env\n"
    assert node.log(stream="stderr").count("Read-only file system") == 2


@pytest.mark.parametrize("sub", ["nowhere", "out/passwd"])
async def test_a_part_is_looked_up_inside_the_image(node, model, sub):
    await node.sandbox()
    await node.engine.create_container(node.spec("true", mounts=(Mount(model, "/m", kind="image", sub=sub),)))
    with pytest.raises(StartFailed, match=f"failed to mount image volume: {sub}: No such file"):
        await node.engine.start_container("main")


async def test_an_image_stays_as_long_as_a_container_mounts_it(node, images, model):
    await node.sandbox()
    await node.start("sleep 100", mounts=(Mount(model, "/model", kind="image"),))
    with pytest.raises(EngineError, match="in use"):
        images.remove("model:1")
    await node.engine.remove_container("main")
    uses = [use.read_text() for use in Path(images.folder, "uses").iterdir()]
    assert not [use for use in uses if str(node.data_dir) in use]
    assert model in images.remove("model:1")


@pytest.mark.parametrize("own_users", [False, True])
async def test_who_may_mount_cannot_write_to_layers_either(node, images, own_users):
    """They are other containers' too: an image of one layer, and one of the node's own folders."""
    await node.sandbox(own_users=own_users)
    one, host = images.find("busybox").id, images.find("localhost/host").id
    mounted = (Mount(one, "/one", kind="image"), Mount(host, "/host", kind="image"))
    script = "for f in /one /host /host/usr; do mount -o remount,rw,bind $f; touch $f/new && echo wrote $f; done; true"
    await node.run(script, privileged=True, mounts=mounted)
    assert (node.log(), node.log(stream="stderr").count("Read-only file system") >= 3) == ("", True)
