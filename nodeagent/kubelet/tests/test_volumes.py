"""Volumes from the API to a container's eyes."""

from __future__ import annotations

import asyncio
import os
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from stories import container as story_container
from stories import pod as story
from world import QUICK, container, phase, ready

from nodeagent.kubelet.errors import ConfigError, MissingReference
from nodeagent.kubelet.names import Paths
from nodeagent.kubelet.volumes import Volumes, atomic, folders
from nodeagent.kubelet.volumes.payloads import Source, payload_of
from nodeagent.linux import mounts
from shim.client import resource as r

KNOWN = {
    ("configmap", "cm"): {"data": {"a": "1", "b": "2"}, "binaryData": {"c": "Aw=="}},
    ("secret", "s"): {"data": {"password": "eA=="}},
}


def source(pod=None) -> Source:
    async def lookup(kind, name):
        if (kind, name) not in KNOWN:
            raise MissingReference(f'{kind} "{name}" not found')
        return KNOWN[kind, name]

    async def token(audience, seconds):
        return f"token for {audience or 'us'}", 1000.0 + seconds

    return Source(pod or story(story_container()), lookup, token, "10.0.0.7", "192.0.2.1", {"cpu": "2"})


@pytest.mark.parametrize(
    ("volume", "files"),
    [
        ({"configMap": {"name": "cm"}}, {"a": (b"1", 0o644), "b": (b"2", 0o644), "c": (b"\3", 0o644)}),
        (
            {"configMap": {"name": "cm", "defaultMode": 0o400, "items": [{"key": "a", "path": "x/y"}]}},
            {"x/y": (b"1", 0o400)},
        ),
        ({"configMap": {"name": "cm", "items": [{"key": "a", "path": "y", "mode": 0o777}]}}, {"y": (b"1", 0o777)}),
        ({"configMap": {"name": "none", "optional": True}}, {}),
        (
            {"configMap": {"name": "cm", "optional": True, "items": [{"key": "none", "path": "n"}]}},
            {},
        ),
        ({"secret": {"secretName": "s", "defaultMode": 0o440}}, {"password": (b"x", 0o440)}),
        (
            {"downwardAPI": {"items": [{"path": "n", "fieldRef": {"fieldPath": "metadata.name"}}]}},
            {"n": (b"web", 0o644)},
        ),
        (
            {
                "projected": {
                    "defaultMode": 0o440,
                    "sources": [
                        {"secret": {"name": "s", "items": [{"key": "password", "path": "p", "mode": 0o400}]}},
                        {"configMap": {"name": "cm", "items": [{"key": "b", "path": "cm/b"}]}},
                        {"serviceAccountToken": {"path": "t", "audience": "vault", "expirationSeconds": 600}},
                    ],
                }
            },
            {"p": (b"x", 0o400), "cm/b": (b"2", 0o440), "t": (b"token for vault", 0o440)},
        ),
    ],
)
async def test_files_have_the_contents_and_modes_that_were_asked_for(volume, files):
    told, _ = await payload_of(volume, source(story(story_container(), meta={"name": "web"})))
    assert {name: (file.content, file.mode) for name, file in told.items()} == files


@pytest.mark.parametrize(
    ("volume", "why"),
    [
        ({"configMap": {"name": "none"}}, 'configmap "none" not found'),
        ({"secret": {"secretName": "none"}}, 'secret "none" not found'),
        ({"configMap": {"name": "cm", "items": [{"key": "z", "path": "z"}]}}, "references non-existent config key: z"),
        (
            {"secret": {"secretName": "s", "items": [{"key": "z", "path": "z"}]}},
            "references non-existent secret key: z",
        ),
    ],
)
async def test_what_is_missing_and_not_optional_is_an_error(volume, why):
    with pytest.raises((ConfigError, MissingReference), match=why):
        await payload_of(volume, source())


async def test_a_token_is_made_anew_before_it_ends_and_is_its_user_s_alone():
    volume = {"projected": {"sources": [{"serviceAccountToken": {"path": "token", "expirationSeconds": 600}}]}}
    one = story(story_container(), securityContext={"runAsUser": 7})
    files, refresh = await payload_of(volume, source(one))
    assert refresh == 1600.0
    assert (files["token"].mode, files["token"].uid) == (0o600, 7)


def test_a_group_is_given_what_is_in_a_volume_and_no_more(tmp_path):
    """A link in a volume may lead anywhere: what it leads to belongs to whom it belonged."""
    volume, outside = tmp_path / "volume", tmp_path / "outside"
    (volume / "sub").mkdir(parents=True)
    outside.write_text("")
    outside.chmod(0o600)
    (volume / "sub/file").touch()
    (volume / "sub/file").chmod(0o600)
    (volume / "link").symlink_to(outside)
    (volume / "folder").symlink_to(tmp_path)
    os.mkfifo(volume / "pipe")
    assert not folders.belongs_to(volume, 77)
    folders.give_to_group(volume, 77)
    assert folders.belongs_to(volume, 77)
    given = {path.name: (path.lstat().st_gid, stat.S_IMODE(path.lstat().st_mode)) for path in volume.rglob("*")}
    assert given["file"] == (77, 0o660)
    assert (given["sub"][0], given["sub"][1] & 0o2770) == (77, 0o2770)
    assert given["link"][0] == given["folder"][0] == given["pipe"][0] == 77
    assert (outside.stat().st_gid, stat.S_IMODE(outside.stat().st_mode), tmp_path.stat().st_gid) == (0, 0o600, 0)


def test_readers_see_the_old_files_or_the_new_ones(tmp_path):
    """Names lead through one link that is replaced: who has opened the folder keeps what there was."""
    atomic.write(tmp_path, {"a": atomic.File(b"1", 0o644), "b": atomic.File(b"1", 0o644)})
    before = os.open(tmp_path / atomic.DATA, os.O_RDONLY)
    try:
        assert os.readlink(tmp_path / "a") == "..data/a"
        atomic.write(tmp_path, {"a": atomic.File(b"2", 0o644), "b": atomic.File(b"2", 0o644)})
        assert {(tmp_path / name).read_bytes() for name in "ab"} == {b"2"}
        assert os.listdir(before) == []  # the old ones go once nothing leads to them
    finally:
        os.close(before)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[str]:
    """A block device of a megabyte."""
    file = tmp_path / "disk"
    file.write_bytes(b"disk" + bytes((1 << 20) - 4))
    made = subprocess.run(["losetup", "--find", "--show", str(file)], capture_output=True, text=True, check=False)
    assert made.returncode == 0, f"no loop device to be had: {made.stderr}"
    yield made.stdout.strip()
    subprocess.run(["losetup", "--detach", made.stdout.strip()], check=True)


async def claim(node, name: str, mode: str, path: str) -> None:
    """A local volume and a claim that is bound to it."""
    size = {"storage": "1Mi"}
    term = {"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": ["n1"]}]}
    spec = {"accessModes": ["ReadWriteOnce"], "volumeMode": mode, "storageClassName": "s"}
    near = {"required": {"nodeSelectorTerms": [term]}}
    of = {"claimRef": {"namespace": "default", "name": name}}  # by this the node may read it
    volume = {
        "metadata": {"name": name},
        "spec": {**spec, **of, "capacity": size, "local": {"path": path}, "nodeAffinity": near},
    }
    await node.client.create(r.PERSISTENTVOLUMES, volume)
    made = {"metadata": {"name": name}, "spec": {**spec, "resources": {"requests": size}, "volumeName": name}}
    await node.client.create(r.PERSISTENTVOLUMECLAIMS, made, "default")
    bound = {"status": {"phase": "Bound"}}
    await node.client.patch(r.PERSISTENTVOLUMECLAIMS, name, bound, "default", subresource="status")


def claimed(name: str, **more) -> list[dict]:
    return [{"name": "d", "persistentVolumeClaim": {"claimName": name, **more}}]


async def test_a_local_volume_may_be_a_block_device(node, disk):
    await claim(node, "disk", "Block", disk)
    script = "head -c 4 /data/disk; printf new! | dd of=/data/disk conv=notrunc 2>/dev/null; head -c 4 /data/disk"
    script += "; mknod /other b 7 99 && head -c 1 /other"  # another device of that kind
    use = [{"name": "d", "devicePath": "/data/disk"}]
    one = container(command=["sh", "-c", script], volumeDevices=use)
    await node.create("writer", one, volumes=claimed("disk"), restartPolicy="Never")
    await node.until("writer", lambda pod: phase("Failed")(pod) or phase("Succeeded")(pod))
    assert "disknew!" in node.log("writer")
    assert "Operation not permitted" in node.log("writer")
    two = container(
        command=["sh", "-c", "head -c 4 /x; echo no > /x"], volumeDevices=[{"name": "d", "devicePath": "/x"}]
    )
    await node.create("reader", two, volumes=claimed("disk", readOnly=True), restartPolicy="Never")
    await node.until("reader", phase("Failed"))
    assert "new!" in node.log("reader")
    assert "Operation not permitted" in node.log("reader")


async def told(node, name: str, why: str) -> None:
    """Wait for an event that says so."""
    async with asyncio.timeout(60):
        while not any(why in message for _, message in await node.events(name)):  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def test_a_folder_is_no_device_and_a_device_no_folder(node, tmp_path):
    await claim(node, "folder", "Filesystem", str(tmp_path))
    one = container(volumeDevices=[{"name": "d", "devicePath": "/x"}])
    await node.create("wrong", one, volumes=claimed("folder"))
    await told(node, "wrong", "volume d has volumeMode Filesystem, but is specified in volumeDevices")
    await claim(node, "device", "Block", str(tmp_path))
    one = container(volumeDevices=[{"name": "d", "devicePath": "/x"}])
    await node.create("none", one, volumes=claimed("device"))
    await told(node, "none", "is not a block device")
    await claim(node, "absent", "Filesystem", str(tmp_path / "absent"))
    await node.create("early", container(), volumes=claimed("absent"))
    await told(node, "early", f'path "{tmp_path}/absent" does not exist')


def test_other_users_of_the_machine_do_not_come_by(tmp_path):
    """A container's root may leave a program in a volume that runs as the machine's root; and tokens are files."""
    paths = Paths(tmp_path / "data")
    Volumes(None, paths, tmp_path / "run")  # type: ignore[arg-type]  # it asks for nothing yet
    secrets = tmp_path / "run/volumes"
    try:
        for folder in (secrets, paths.pods):
            assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert mounts.in_memory(str(secrets))
    finally:
        folders.unmount_below(secrets)


async def test_a_local_volume_is_its_pod_s_group_s_and_stays_when_the_pod_goes(node, tmp_path):
    (tmp_path / "file").touch()
    await claim(node, "data", "Filesystem", str(tmp_path))
    one = container(
        command=["sh", "-c", f"echo kept > /d/new; {QUICK[2]}"], volumeMounts=[{"name": "d", "mountPath": "/d"}]
    )
    await node.create("user", one, volumes=claimed("data"), securityContext={"fsGroup": 77, "runAsUser": 5})
    await node.until("user", ready)
    assert (tmp_path / "file").stat().st_gid == 77
    await node.client.delete(r.PODS, "user", "default", grace_period=0)
    await node.until_gone("user")
    assert ((tmp_path / "new").read_text(), (tmp_path / "new").stat().st_gid) == ("kept\n", 77)


@pytest.mark.parametrize("death", ["deleted", "by force", "while no agent is here", "crashed", "by a reboot"])
async def test_nothing_of_a_pod_s_volumes_outlives_it(node, death):
    """Memory is unmounted, files that the API wrote and what containers wrote are gone; folders of the node are not."""
    volumes = [
        {"name": "memory", "emptyDir": {"medium": "Memory"}},
        {"name": "disk", "emptyDir": {}},
        {"name": "told", "downwardAPI": {"items": [{"path": "n", "fieldRef": {"fieldPath": "metadata.name"}}]}},
        {"name": "own", "hostPath": {"path": str(node.data / "own")}},
    ]
    uses = [{"name": each["name"], "mountPath": f"/{each['name']}"} for each in volumes]
    script = f"for f in memory disk own; do echo x > /$f/file; done; {QUICK[2]}"
    one = container(command=["sh", "-c", script], volumeMounts=uses)
    pod = await node.create("gone", one, volumes=volumes, terminationGracePeriodSeconds=1)
    await node.until("gone", ready)
    uid, settings = pod["metadata"]["uid"], node.settings
    folder = settings.data_dir / "pods" / uid
    assert mounts.below(str(folder)) == [str(folder / "volumes/memory")]
    if death == "while no agent is here":
        await node.stop_agent()
    elif death == "crashed":
        for state in await node.agent.engine.containers():
            await node.agent.engine.stop_container(state.id, 0)
    elif death == "by a reboot":
        await node.reboot()
    await node.client.delete(r.PODS, "gone", "default", grace_period=0 if death == "by force" else 1)
    if node.agent is None:
        await node.start_agent()
    await node.until_gone("gone")
    async with asyncio.timeout(60):
        while folder.exists() or (settings.run_dir / "volumes" / uid).exists():  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    assert mounts.below(str(settings.data_dir)) == []
    assert (node.data / "own/file").read_text() == "x\n"
