"""Setting up takes nothing of the little that a container may use, and the container no more than that."""

from __future__ import annotations

from pathlib import Path

import pytest

from nodeagent.engine.contract import Resources
from nodeagent.linux import cgroups, procfs

HUNDREDTH = Resources(cpu_quota_us=1000)
SETTING_UP = 9  # periods that it took within the limit: some 20 ms of a processor


@pytest.mark.parametrize("own_users", [False, True])
async def test_a_hundredth_of_a_processor_is_all_the_programs_own(node, until, own_users):
    await node.sandbox(own_users=own_users, resources=HUNDREDTH)
    state = await node.start("exec sleep 1000", resources=HUNDREDTH)
    tree, at = cgroups.detect(), f"{node.cgroup_root}/kubepods/pod/main"
    assert procfs.pids_in(tree.procs_files(f"{node.cgroup_root}/starting")) == set()
    assert tree.usage(at)["throttled_periods"] < SETTING_UP / 2
    limited = [path for path in tree.cpu_files(at) if str(state.pid) in Path(path).read_text().split()]
    assert limited == tree.cpu_files(at)
    # a command is under the limit too, and sees its container's cgroup as the root
    code, told, _ = await node.exec("cat", "/proc/self/cgroup")
    assert code == 0
    controller = "cpu" if cgroups.version() == 1 else ""
    assert "/" in [line.split(":")[2] for line in told.splitlines() if controller in line.split(":")[1].split(",")]
    before = tree.usage(at)["throttled_periods"]
    working = await node.engine.exec("main", ["sh", "-c", "while true; do true; done"])
    await until(lambda: tree.usage(at)["throttled_periods"] > before + 5)
    await working.close()
