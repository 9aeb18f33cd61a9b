"""Root in a pod with a user namespace of its own is nobody on the node."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from nodeagent.engine import anatomy, idranges
from nodeagent.engine.contract import EngineError, Mount
from nodeagent.linux.userns import COUNT

KERNEL = ("overlay", "proc", "sysfs", "devpts", "mqueue", "cgroup", "cgroup2")


def base_of(state) -> int:
    """The node's id of the container's user 0."""
    inside, outside, count = Path(f"/proc/{state.pid}/uid_map").read_text().split()
    assert (inside, count) == ("0", str(COUNT))
    return int(outside)


async def test_root_is_an_unprivileged_user_of_the_node(node, until):
    await node.sandbox(own_users=True)
    state = await node.start("id -u; echo mine > /file; touch /tmp/x; stat -c %u:%g /file /bin/sh /; sleep 1000")
    base = base_of(state)
    assert base >= COUNT
    assert os.stat(f"/proc/{state.pid}").st_uid == base
    for kind in ("user", "net", "ipc", "uts", "pid", "mnt", "cgroup"):
        assert os.readlink(f"/proc/{state.pid}/ns/{kind}") != os.readlink(f"/proc/self/ns/{kind}")
    code, out, _ = await node.exec("sh", "-c", "id -u; cat /proc/self/uid_map; echo $$; grep -c . /proc/1/cmdline")
    assert (code, out.split()[:4]) == (0, ["0", "0", str(base), str(COUNT)])
    await until(lambda: node.log().split() == ["0", "0:0", "0:0", "0:0"])  # it goes on writing beside us
    (changed,) = node.data_dir.glob("containers/main/upper/file")
    assert (changed.stat().st_uid, changed.read_text()) == (base, "mine\n")


async def test_no_two_sandboxes_share_ids_and_each_gives_its_own_back(node):
    await node.sandbox("one", own_users=True)
    await node.sandbox("two", own_users=True)
    first = await node.start("sleep 1000", "a", "one")
    second = await node.start("sleep 1000", "b", "two")
    assert base_of(first) != base_of(second)
    mine = base_of(first)
    assert os.readlink(idranges.CLAIMS / str(mine)) == str(node.run_dir / "sandboxes/one")
    await node.restart()
    await node.sandbox("three", own_users=True)
    third = await node.start("sleep 1000", "c", "three")
    assert len({base_of(first), base_of(second), base_of(third)}) == 3
    await node.engine.remove_sandbox("one")
    assert not os.path.lexists(idranges.CLAIMS / str(mine))
    assert os.path.lexists(idranges.CLAIMS / str(base_of(second)))


def test_a_range_whose_sandbox_is_gone_is_free(tmp_path):
    claims, one, two = tmp_path / "claims", tmp_path / "one", tmp_path / "two"
    one.mkdir(), two.mkdir()
    first = idranges.claim(one, "pod", claims)
    assert first % COUNT == 0
    assert COUNT <= first <= 2**32 - 2 * COUNT
    assert idranges.claim(two, "pod", claims) == first + COUNT
    one.rmdir()
    three = tmp_path / "three"
    three.mkdir()
    assert idranges.claim(three, "pod", claims) == first
    for owner in (two, three):
        idranges.release(owner, claims)
    assert not claims.exists()


async def test_volumes_belong_to_whom_they_belong(node, tmp_path):
    """Owners in a volume are the pod's own: what its root writes is root's on the disk, where nobody else comes by."""
    volume = tmp_path / "volume"
    volume.mkdir()
    (volume / "old").touch()
    os.chown(volume / "old", 7, 8)
    await node.sandbox(own_users=True)
    script = "stat -c %u:%g /v/old; touch /v/new; chown 9:9 /v/old; touch /r/x || echo read-only; ls -ln /dev/shm"
    mounts = (Mount(str(volume), "/v"), Mount(str(volume), "/r", readonly=True), Mount("", "/t", kind="tmpfs"))
    state = await node.run(script, mounts=mounts)
    assert (state.exit_code, node.log().split()[:2]) == (0, ["7:8", "read-only"])
    found = {path.name: (path.stat().st_uid, path.stat().st_gid) for path in volume.iterdir()}
    assert found == {"old": (9, 9), "new": (0, 0)}


async def test_its_root_writes_to_no_read_only_volume(node, tmp_path):
    """Privileged means all powers over its own mounts: but not over what was read-only before it began."""
    folder, file = tmp_path / "folder", tmp_path / "file"
    folder.mkdir()
    (folder / "x").touch()
    file.touch()
    script = (
        "mkdir /c; touch /d; mount --bind /v /c; mount --bind /f /d; for at in /v /c /f /d; do"
        " mount -o remount,rw,bind $at && echo $at; done; for at in /v/x /c/x /f /d; do echo it > $at; done"
    )
    read_only = (Mount(str(folder), "/v", readonly=True), Mount(str(file), "/f", readonly=True))
    await node.sandbox(own_users=True)
    await node.run(script, mounts=read_only, privileged=True)
    assert (node.log(), (folder / "x").read_text(), file.read_text()) == ("", "", "")


CONFINED = {  # with every capability: all of them are of the user namespace
    "make a device": "mknod /disk b 254 0",
    "open a device of the node": "cat /dev/vda > /dev/null || cat /dev/loop0 > /dev/null",
    "change the kernel's parameters": "echo 1 > /proc/sys/kernel/panic_on_oops",
    "ask the kernel through sysrq": "echo h > /proc/sysrq-trigger",
    "set the clock": "date -s @1 2>&1 | grep -q permitted && exit 1; true",
    "become somebody whom its users do not hold": "chown 70000 /tmp",
    "mount what is not made for it": "mkdir /m; mount -t ext4 /dev/vda /m",
    "lift the limits of its cgroup": "for f in $(find /sys/fs/cgroup -name cgroup.procs | head -1);"
    " do mkdir $(dirname $f)/x && exit 0; done; exit 1",
    "unmount what hides the node": "umount /proc/kcore && cat /proc/kcore | head -c1 | grep -q .",
    "see the node by the namespaces of others": "nsenter -t 1 -m -- /bin/ls /work",
}


@pytest.mark.parametrize("what", CONFINED)
async def test_all_powers_are_none_over_the_node(node, what):
    await node.sandbox(own_users=True)
    state = await node.run(f"({CONFINED[what]}) 2>/dev/null && echo did it", privileged=True)
    assert (state.exit_code != 0, node.log()) == (True, ""), what


async def test_nothing_of_the_node_s_is_mounted_below_what_is_seen(node, tmp_path):
    """Its root may unmount what it sees: nowhere under it may be what it would own, which is all that is shifted."""
    (tmp_path / "volume").mkdir()
    await node.sandbox(own_users=True)
    host = node.images.find("localhost/host").id
    mounts = (Mount(str(tmp_path / "volume"), "/v"), Mount(host, "/host", kind="image"))
    await node.start("sleep 1000", image="localhost/host", privileged=True, mounts=mounts)
    (container,) = anatomy.containers(node.data_dir, "pod")
    real = {mount.target: mount.options for mount in container.mounts if mount.kind not in KERNEL}
    assert {target for target, options in real.items() if options.startswith("rw")} <= {
        "/v",
        "/dev",
        "/dev/shm",
        "/sys/fs/cgroup",
    }
    _, out, error = await node.exec("sh", "-c", "umount -l /usr; echo /usr/*")
    assert (out, error) == ("/usr/*\n", "")


async def test_its_root_may_do_in_its_namespaces_what_root_may(node):
    await node.sandbox(own_users=True)
    script = "mkdir /m && mount -t tmpfs tmpfs /m && ip link set lo mtu 900 && hostname o && ip link | grep -c 900"
    state = await node.run(script, privileged=True)
    assert (state.exit_code, node.log()) == (0, "1\n"), node.log(stream="stderr")


async def test_process_ids_can_be_shared(node):
    await node.sandbox(own_users=True, share_pid=True)
    await node.start("exec sleep 1234", "one")
    await node.run("ps | grep -c '[s]leep 1234'; ls -A /proc/1/root/ /proc/1/cwd/; stat -c %u /proc/1", "two")
    assert node.log("two").split() == ["1", "0"]


async def test_other_users_terminals_and_ends_are_as_ever(node):
    await node.sandbox(own_users=True)
    state = await node.run("id -u; id -G; echo x > /dev/stderr; exit 9", user="33:33", groups=(5,))
    assert (state.exit_code, node.log().split(), node.log(stream="stderr")) == (9, ["33", "33", "5"], "x\n")
    state = await node.run("tty; stat -c %u $(tty)", "tty", tty=True, user="33")
    assert node.log("tty").split() == ["/dev/pts/0", "33"]


async def test_kernel_parameters_are_its_own(node):
    values = (("net.ipv4.ip_unprivileged_port_start", "80"), ("kernel.shm_rmid_forced", "1"))
    await node.sandbox(own_users=True, sysctls=values)
    await node.run("cat /proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/kernel/shm_rmid_forced")
    assert node.log().split() == ["80", "1"]


async def test_a_machine_that_cannot_is_told_of(node):
    node.engine.no_own_users = "[Errno 22] no"
    with pytest.raises(EngineError, match=r"user namespaces do not work here: \[Errno 22\] no"):
        await node.sandbox(own_users=True)
    assert await node.engine.sandboxes() == []
