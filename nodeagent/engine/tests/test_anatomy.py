"""What is told of containers is what the kernel says of them, and each step that made them is kept."""

from __future__ import annotations

import os
from pathlib import Path

from nodeagent.engine import anatomy
from nodeagent.engine.contract import Mount, Resources


async def test_a_running_container_is_told_as_it_is(node, tmp_path):
    (tmp_path / "shared").mkdir()
    await node.sandbox()
    mount = Mount(str(tmp_path / "shared"), "/shared", readonly=True)
    limits = Resources(memory_limit=64 << 20)
    await node.start("sleep 100", mounts=(mount,), resources=limits, user="7:8", no_new_privileges=True)

    (sandbox,) = anatomy.sandboxes(node.data_dir, node.run_dir, node.cgroup_root)
    path, inode = sandbox.namespaces["net"]
    code, inside, _ = await node.exec("readlink", "/proc/self/ns/net")
    assert (code, inside.strip()) == (0, f"net:[{inode}]")
    assert os.stat(path).st_ino == inode

    (container,) = anatomy.containers(node.data_dir, "pod")
    assert container.pid in [process.pid for process in container.processes]
    assert container.namespaces["net"] == inode
    assert container.security["user"] == "7:8"
    assert container.security["no new privileges"] == "yes"
    assert "its users" not in container.security
    (shown,) = [each for each in container.mounts if each.target == "/shared"]
    assert "ro" in shown.options.split(",")
    limit = {Path(file).name: value for file, value in container.cgroup}
    assert str(64 << 20) in (limit.get("memory.limit_in_bytes"), limit.get("memory.max"))


def test_of_what_happened_to_memory_the_ends_are_told(tmp_path):
    (tmp_path / "memory.events").write_text("low 0\nhigh 0\nmax 9\noom 1\noom_kill 1\noom_group_kill 1\n")
    (tmp_path / "cpu.stat").write_text("usage_usec 7\nuser_usec 3\n")
    told = anatomy._contents([str(tmp_path / name) for name in ("memory.events", "gone", "cpu.stat")])
    assert [line for _, line in told] == ["oom_kill 1", "usage_usec 7"]


async def test_users_of_its_own_are_told(node):
    await node.sandbox(own_users=True)
    state = await node.start("sleep 100")
    (sandbox,) = anatomy.sandboxes(node.data_dir, node.run_dir, node.cgroup_root)
    (container,) = anatomy.containers(node.data_dir, "pod")
    base = int(Path(f"/proc/{state.pid}/uid_map").read_text().split()[1])
    assert container.security["user"] == f"{base}:{base}"
    assert container.security["its users"] == f"0 to 65535 are {base} to {base + 65535} on the node"
    assert sandbox.namespaces["user"][1] == container.namespaces["user"]
    told = [step["what"] for step in [*sandbox.steps, *container.steps]]
    for what in ("a user namespace for the pod, which owns the others", "enter the pod's user namespace"):
        assert what in told


async def test_the_steps_that_made_it_are_kept_in_their_order(node):
    await node.sandbox()
    await node.run("true", resources=Resources(cpu_shares=102), seccomp=True)
    (sandbox,) = anatomy.sandboxes(node.data_dir, node.run_dir, node.cgroup_root)
    (container,) = anatomy.containers(node.data_dir, "pod")
    steps = [*sandbox.steps, *container.preparation, *container.steps]
    assert [step["at"] for step in steps] == sorted(step["at"] for step in steps)
    order = ["a cgroup with limits", "namespaces for the pod", "join its cgroups", "stack the image's layers"]
    order += ["make that the root", "mount /proc and /sys", "fill /dev", "run the program"]
    told = [step["what"] for step in steps]
    assert [what for what in dict.fromkeys(told) if what in order] == order
    shell = [command for step in steps for command in step["shell"]]
    assert "pivot_root . ." in shell
    assert any("102" in command or "cpu.weight" in command for command in shell if command.startswith("echo"))
    assert "unshare --uts --net --ipc" in shell
    assert shell[-1].startswith("exec setpriv --reuid 0 --regid 0 --bounding-set -all,+chown")
    assert shell[-1].endswith("-- sh -c true")
    assert all(0 <= step["ms"] < 60_000 for step in steps)


async def test_what_has_ended_is_told_with_its_end(node):
    await node.sandbox()
    await node.run("exit 3")
    (container,) = anatomy.containers(node.data_dir, "pod")
    assert container.exit is not None
    assert (container.pid, container.exit["exit_code"], container.processes, container.mounts) == (0, 3, [], [])
