"""Root in a container tries to get out, and at others: each way is closed."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import io
import os
import platform
import stat
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from nodeagent.engine.contract import EngineError, Mount, StartFailed
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
    "as root of a user namespace, see the hidden parts of /proc": "unshare -Urmpf sh -c"
    " 'mkdir -p /p && mount -t proc proc /p && test -s /p/kcore'",
    "as root of a user namespace, uncover them": "unshare -Urm sh -c 'umount /proc/kcore && test -s /proc/kcore'",
    "as root of a user namespace, make /proc/sys writable": "unshare -Urm sh -c"
    " 'mount -o remount,rw,bind /proc/sys && x=$(cat /proc/sys/kernel/panic) && echo $x > /proc/sys/kernel/panic'",
    "have a cgroup of version 1 run a program of ours (CVE-2022-0492)": "unshare -UrmC sh -c 'mkdir -p /c && mount -t"
    " cgroup -o memory c /c && echo /x > /c/release_agent'",
    "read memory by a device of its own": "mknod /mem c 1 1 && head -c 1 /mem | grep -q .",
    "write to the kernel's log": "mknod /kmsg c 1 11 && echo x > /kmsg",
    "listen at the machine's console": "mknod /console c 5 1 && : < /console",
    "use a disk as swap": "mknod /loop b 7 0 && swapon /loop",
    "say which program the kernel runs for devices": "echo /x > /sys/kernel/uevent_helper",
    "say which program loads modules": "f=/proc/sys/kernel/modprobe; x=$(cat $f); echo $x > $f",
    "be killed last": "echo -1000 > /proc/self/oom_score_adj",
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


async def test_the_program_that_the_node_ran_for_it_cannot_be_changed(node):
    """CVE-2019-5736: ``/proc/self/exe`` is still the node's Python when a container's first program is looked up."""
    script = (
        "import os; own = os.open('/proc/self/exe', os.O_RDONLY); os.set_inheritable(own, True);"
        "os.execv('/usr/bin/perl', ['perl', '-e', 'chmod 0755, qq{/proc/self/fd/%d}; print $!' % own])"
    )
    python = os.path.realpath(sys.executable)
    before = os.stat(python).st_ctime_ns
    await node.sandbox()
    await node.run("", image="localhost/host", argv=("/proc/self/exe", "-c", script))
    assert (node.log(), os.stat(python).st_ctime_ns) == ("Read-only file system", before)


async def test_who_sees_the_node_s_processes_does_not_reach_into_them(node):
    """hostPID shows them all, and root in the container is root: but with less power than what it would look into."""
    await node.sandbox(host_pid=True, host_ipc=True)
    own = os.getpid()
    tries = [f"ls /proc/{own}/{what}/" for what in ("root", "cwd")]
    tries += [f"readlink /proc/{own}/{what}" for what in ("exe", "fd/0", "ns/mnt")]
    tries += [f"cat /proc/{own}/{what}" for what in ("environ", "maps", "mem")]
    tries += [f"nsenter -t {own} -{kind} true" for kind in "mniup"]
    script = "; ".join(f"({each}) >/dev/null 2>&1 && echo '{each}'" for each in tries)
    await node.run(f"ps | grep -c pytest; {script}; true")
    seen, *reached = node.log().splitlines()
    assert (seen != "0", reached) == (True, [])


async def test_in_a_shared_pid_namespace_the_node_stays_out_of_reach(node):
    """The pause process is in sight of all: through its /proc nothing of the node may be reached."""
    await node.sandbox(share_pid=True)
    await node.run("for d in root cwd fd; do ls -A /proc/1/$d/; done; cat /proc/1/environ /proc/1/maps; echo end")
    assert node.log() == "end\n"
    await node.run("tr '\\0' ' ' < /proc/1/cmdline", "name")
    assert node.log("name").split() == ["/pause"]


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


async def test_a_folder_that_becomes_a_link_leads_nowhere(node, tmp_path):
    """CVE-2021-25741: who writes to a volume changes it after it was looked at, and before it is mounted."""
    outside, volume = tmp_path / "outside", tmp_path / "volume"
    for folder, text in ((outside, "outside"), (volume / "data", "data"), (volume / "inside", "inside")):
        folder.mkdir(parents=True)
        (folder / "file").write_text(text)
    await node.sandbox()
    await node.engine.create_container(node.spec("cat /v/file", mounts=(Mount(str(volume), "/v", sub="data"),)))
    (volume / "data").rename(volume / "before")
    (volume / "data").symlink_to(outside)
    with pytest.raises(StartFailed, match="failed to prepare subPath data: No such file or directory"):
        await node.engine.start_container("main")
    (volume / "link").symlink_to("/inside")  # the volume's own
    await node.run("cat /v/file", "other", mounts=(Mount(str(volume), "/v", sub="link"),))
    assert node.log("other") == "inside"


async def test_what_the_node_has_open_is_no_way_out(node, tmp_path):
    """CVE-2024-21626: a container that begins its life in, or mounts something below, a folder that the node left open.

    The folder around a subPath, say: its number is not known, but there are not many.
    """
    (tmp_path / "volume/data").mkdir(parents=True)
    (tmp_path / "secret").write_text("of the node")
    part = Mount(str(tmp_path / "volume"), "/v", sub="data")
    await node.sandbox()
    for number in range(3, 18):
        opened = f"/proc/self/fd/{number}"
        with contextlib.suppress(StartFailed):
            await node.run("cat ../../secret", f"begins-{number}", cwd=opened, mounts=(part,))
            assert node.log(f"begins-{number}") == ""
        with contextlib.suppress(StartFailed):
            planted = Mount(str(tmp_path / "volume"), f"{opened}/../planted")
            await node.start("true", f"mounts-{number}", mounts=(part, planted))
    assert not list(tmp_path.rglob("planted"))


async def test_a_volume_at_dev_uncovers_nothing(node, tmp_path):
    """CVE-2025-31133: what hides the kernel's files is not looked for where the pod has put something else."""
    (tmp_path / "null").symlink_to("/etc/passwd")
    await node.sandbox()
    await node.run("cat /proc/interrupts", mounts=(Mount(str(tmp_path), "/dev"),), **PROTECTED)
    assert (node.log(), node.log(stream="stderr")) == ("", "")


async def test_keys_that_the_node_s_session_keeps_with_the_kernel_stay_there(node):
    """No two containers have a keyring in common, and none has the node's: see session-keyring(7)."""
    ask = (
        "perl -e 'print syscall({x86_64 => 250, aarch64 => 219}->{$ARGV[0]}, 0, -3, 0), qq{\\n}' " + platform.machine()
    )
    await node.sandbox()
    await node.run(ask, "one", image="localhost/host")
    await node.run(ask, "two", image="localhost/host")
    ours = await asyncio.to_thread(subprocess.getoutput, ask) + "\n"
    assert len({ours, node.log("one"), node.log("two")}) == 3


@pytest.mark.parametrize("own_users", [False, True])
async def test_a_device_in_a_layer_opens_nothing(node, images, tmp_path, own_users):
    for name, kind, device in (("mem", stat.S_IFCHR, (1, 1)), ("disk", stat.S_IFBLK, (254, 0))):
        os.mknod(tmp_path / name, kind | 0o666, os.makedev(*device))
        (tmp_path / name).chmod(0o666)
    images.build(tmp_path, "devices:1", {}, base="busybox")
    await node.sandbox(own_users=own_users)
    await node.run("stat -c %F /mem /disk; cat /mem; cat /disk", image="devices:1")
    assert node.log() == "character special file\nblock special file\n"
    assert node.log(stream="stderr").count("Operation not permitted") == 2


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
        [(".wh...", tarfile.REGTYPE, "")],  # takes away ".."
        [("a/.wh...", tarfile.REGTYPE, "")],
        [(".wh..", tarfile.REGTYPE, "")],
        [("dir", tarfile.SYMTYPE, "{top}"), ("dir/.wh..wh..opq", tarfile.REGTYPE, "")],
        [("a", tarfile.SYMTYPE, "b"), ("b", tarfile.SYMTYPE, "a"), ("a/file", tarfile.REGTYPE, "")],
        [("hard", tarfile.LNKTYPE, "dir/secret"), ("dir", tarfile.SYMTYPE, "{top}")],
        [("dir", tarfile.SYMTYPE, "{top}"), ("hard", tarfile.LNKTYPE, "dir/secret")],
    ],
    ids=lambda members: "+".join(name for name, _, _ in members),
)
def test_a_layer_writes_and_reads_nothing_outside_of_itself(tmp_path: Path, members):
    (tmp_path / "secret").write_text("untouched")
    store = tmp_path / "layers"
    (store / "others").mkdir(parents=True)  # another image's layer
    (store / "others/file").touch()
    filled = [(name, kind, link.replace("{top}", str(tmp_path))) for name, kind, link in members]
    stream = hostile(*filled)
    digest = f"sha256:{hashlib.sha256(stream.getvalue()).hexdigest()}"
    try:
        layers.unpack(stream, digest, store)
    except EngineError:
        assert [path.name for path in store.iterdir()] == ["others"]  # refused as a whole
    assert (store / "others/file").exists()
    assert (tmp_path / "secret").read_text() == "untouched"
    assert (tmp_path / "secret").stat().st_nlink == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["layers", "secret"]
