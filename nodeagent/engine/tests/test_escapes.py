"""Root in a container tries to get out, and at others: each way is closed."""

from __future__ import annotations

import hashlib
import io
import tarfile
from pathlib import Path

import pytest

from nodeagent.engine.contract import EngineError, Mount
from nodeagent.images import layers
from nodeagent.kubelet.security import MASKED_PATHS, READONLY_PATHS

PROTECTED = {"masked_paths": MASKED_PATHS, "readonly_paths": READONLY_PATHS}

ATTEMPTS = {  # none would do harm if it worked
    "ask the kernel through sysrq": "echo h > /proc/sysrq-trigger",
    "change the kernel's parameters": "x=$(cat /proc/sys/kernel/panic); echo $x > /proc/sys/kernel/panic",
    "have the kernel run a program of ours": 'f=/proc/sys/kernel/core_pattern; x=$(cat $f); echo "$x" > $f',
    "leave its cgroup": "echo $$ > /sys/fs/cgroup/cgroup.procs || echo $$ > /sys/fs/cgroup/memory/cgroup.procs",
    "lift its own memory limit": "for f in /sys/fs/cgroup/memory.max /sys/fs/cgroup/memory/memory.limit_in_bytes;"
    " do echo 9999999999 > $f && exit 0; done; exit 1",
    "write where cgroup v1 tells of its end": "echo /x > /sys/fs/cgroup/memory/release_agent",
    "make its root writable elsewhere": "mount -o remount,rw /sys",
    "mount something": "mount -t tmpfs tmpfs /mnt",
    "bind the hidden parts of /proc": "mkdir -p /p && mount -t proc proc /p",
    "move to a root of its own": "mkdir -p /r && cd /r && pivot_root . .",
    "make namespaces with other powers": "unshare -m true",
    "enter the namespaces of the first process": "nsenter -t 1 -m -n true && ls /var/lib/dpkg",
    "read the kernel's memory": "test -s /proc/kcore && dd if=/proc/kcore of=/dev/null count=1",
    "read the disk": "mknod /disk b 254 0 && dd if=/disk of=/dev/null count=1",
    "talk to the machine's network interfaces": "ip link add x type dummy",
    "set the clock": "date -s @$(date +%s) 2>&1 | grep permitted >&2 && exit 1; true",
}


@pytest.mark.parametrize("what", ATTEMPTS)
async def test_root_in_a_container_cannot(node, what):
    await node.sandbox()
    state = await node.run(f"({ATTEMPTS[what]}) 2>/dev/null && echo did it", **PROTECTED)
    assert (state.exit_code != 0, node.log()) == (True, ""), what


async def test_processes_of_another_pod_cannot_be_seen_signalled_or_traced(node):
    await node.sandbox("one")
    await node.sandbox("other")
    victim = await node.start("exec sleep 1234", "victim", "one")
    await node.run(
        f"ps | grep -c '[s]leep 1234'; kill -9 {victim.pid}; echo $?; cat /proc/{victim.pid}/environ; echo $?",
        "attacker",
        "other",
    )
    assert node.log("attacker").split() == ["0", "1", "1"]
    assert (await node.state("victim")).phase == "running"


async def test_in_a_shared_pid_namespace_the_node_stays_out_of_reach(node):
    """The pause process is in sight of all: through its /proc nothing of the node may be reached."""
    await node.sandbox(share_pid=True)
    await node.run("for d in root cwd fd; do ls -A /proc/1/$d/; done; echo end")
    assert node.log() == "end\n"


async def test_a_volume_s_links_lead_nowhere_but_the_container(node, tmp_path):
    """What a pod finds in a volume was written by anybody."""
    (tmp_path / "secret").write_text("of the node")
    volume = tmp_path / "volume"
    volume.mkdir()
    (volume / "link").symlink_to(tmp_path / "secret")
    (volume / "up").symlink_to("../" * 30 + str(tmp_path / "secret"))
    await node.sandbox()
    await node.run("cat /v/link /v/up; cat /v/../../../etc/hostname", mounts=(Mount(str(volume), "/v"),))
    assert "of the node" not in node.log()


def hostile(*members: tuple[str, bytes, str]) -> io.BytesIO:
    """A layer: (name, type, what a link leads to)."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, kind, link in members:
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, link
            data = b"owned" if kind == tarfile.REGTYPE else b""
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    buffer.seek(0)
    return buffer


@pytest.mark.parametrize(
    "members",
    [
        [("../outside", tarfile.REGTYPE, "")],
        [("a/../../outside", tarfile.REGTYPE, "")],
        [("link", tarfile.SYMTYPE, "{top}"), ("link/outside", tarfile.REGTYPE, "")],
        [("link", tarfile.SYMTYPE, ".."), ("link/outside", tarfile.REGTYPE, "")],
        [("hard", tarfile.LNKTYPE, "../secret")],
        [("hard", tarfile.LNKTYPE, "{top}/secret")],
        [("link", tarfile.SYMTYPE, "{top}/secret"), ("link", tarfile.REGTYPE, "")],
        [("dir", tarfile.SYMTYPE, "{top}"), ("dir/.wh.secret", tarfile.REGTYPE, "")],
    ],
    ids=lambda members: "+".join(name for name, _, _ in members),
)
def test_a_layer_writes_and_reads_nothing_outside_of_itself(tmp_path: Path, members):
    (tmp_path / "secret").write_text("untouched")
    store = tmp_path / "layers"
    store.mkdir()
    filled = [(name, kind, link.replace("{top}", str(tmp_path))) for name, kind, link in members]
    stream = hostile(*filled)
    digest = f"sha256:{hashlib.sha256(stream.getvalue()).hexdigest()}"
    try:
        layers.unpack(stream, digest, store)
    except EngineError:
        assert list(store.iterdir()) == []  # refused as a whole
    assert (tmp_path / "secret").read_text() == "untouched"
    assert (tmp_path / "secret").stat().st_nlink == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["layers", "secret"]
