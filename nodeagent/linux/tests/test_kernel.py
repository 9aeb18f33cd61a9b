"""Kernel facilities, on a real kernel: each test in a forked process of its own or undone at its end."""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import socket
import traceback
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from nodeagent.linux import (
    capabilities,
    cgroup2,
    cgroups,
    device_filter,
    hugepages,
    libc,
    mounts,
    namespaces,
    pressure,
    procfs,
    seccomp,
)
from nodeagent.linux.cgroup2 import Version2
from nodeagent.linux.tests.trees import sleeps_in, version_2

pytestmark = pytest.mark.needs_root


def in_child(story: Callable[[], None]) -> None:
    """Run ``story`` in a forked process, which may change its namespaces and powers as it likes."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            story()
        except BaseException:
            os.write(write, traceback.format_exc().encode())
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read) as file:
        failure = file.read()
    os.waitpid(pid, 0)
    assert not failure, failure


def test_failures_name_number_operation_and_object(tmp_path):
    with pytest.raises(OSError, match=r"\[Errno 2\] umount: No such file or directory: '/no/such'"):
        libc.umount("/no/such")
    with pytest.raises(OSError, match=r"pivot_root: .*: '/tmp'"):
        libc.pivot_root("/tmp", "/tmp")


def test_a_namespace_is_held_entered_and_released(tmp_path):
    held = str(tmp_path / "net")

    def make() -> None:
        namespaces.unshare(namespaces.NET)
        namespaces.loopback_up()
        namespaces.hold("net", held)

    assert not namespaces.is_held(held)
    in_child(make)
    try:
        assert namespaces.is_held(held)
        home = namespaces.identity("net")
        with namespaces.entered(held, namespaces.NET):
            assert namespaces.identity("net", "thread-self") == os.stat(held).st_ino != home
            with socket.create_server(("127.0.0.1", 0)) as server:
                socket.create_connection(server.getsockname()).close()
        assert namespaces.identity("net", "thread-self") == home
    finally:
        namespaces.release(held)
    namespaces.release(held)
    assert not os.path.exists(held)


def test_mounts_are_taken_along_and_attached_readonly(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    (tmp_path / "a/file").write_text("x")

    def story() -> None:
        namespaces.unshare(namespaces.MOUNT)
        libc.mount("", "/", "", mounts.REC | mounts.PRIVATE)
        libc.mount("tmpfs", str(tmp_path / "a"), "tmpfs", 0, "size=64k")
        (tmp_path / "a/inner").touch()
        mounts.attach(mounts.take(str(tmp_path / "a"), readonly=True), str(tmp_path / "b"))
        assert os.listdir(tmp_path / "b") == ["inner"]
        with pytest.raises(OSError, match="Read-only"):
            (tmp_path / "b/new").touch()
        (tmp_path / "a/new").touch()
        assert mounts.below(str(tmp_path)) == [str(tmp_path / "a"), str(tmp_path / "b")]
        mounts.detach(str(tmp_path / "b"))
        assert mounts.below(str(tmp_path)) == [str(tmp_path / "a")]

    in_child(story)
    assert mounts.below(str(tmp_path)) == []


def test_overlay_takes_names_with_commas_and_colons(tmp_path):
    folder = tmp_path / "a,b:c"
    for name in ("low1", "low2", "up", "work", "root"):
        (folder / name).mkdir(parents=True)
    (folder / "low1/file").write_text("first")
    (folder / "low2/file").write_text("second")

    def story() -> None:
        namespaces.unshare(namespaces.MOUNT)
        libc.mount("", "/", "", mounts.REC | mounts.PRIVATE)
        os.chdir(folder)
        mounts.overlay(str(folder / "root"), ["low1", "low2"], str(folder / "up"), str(folder / "work"))
        assert (folder / "root/file").read_text() == "first"
        (folder / "root/new").touch()

    in_child(story)
    assert (folder / "up/new").exists()


def test_open_in_root_follows_no_way_out(tmp_path):
    (tmp_path / "etc").mkdir()
    (tmp_path / "out").symlink_to("/etc")
    root = os.open(tmp_path, os.O_RDONLY)
    try:
        for path in ("out", "../../../etc", "out/../out"):
            fd = libc.open_in_root(root, path, os.O_RDONLY)
            assert os.fstat(fd).st_ino == (tmp_path / "etc").stat().st_ino
            os.close(fd)
    finally:
        os.close(root)


def test_capabilities_are_limited_and_do_not_come_back():
    def story() -> None:
        kept = capabilities.mask(["CAP_KILL", "CAP_SETUID"])
        capabilities.limit(kept)
        capabilities.apply(kept)
        status = Path("/proc/self/status").read_text()
        assert f"CapEff:\t{kept:016x}" in status
        assert f"CapBnd:\t{kept:016x}" in status
        with pytest.raises(PermissionError):
            os.chroot("/")

    in_child(story)


def test_capability_names():
    assert capabilities.normal("net_admin") == "CAP_NET_ADMIN"
    assert capabilities.mask(["CAP_CHOWN", "CAP_CHECKPOINT_RESTORE"]) == 1 | 1 << 40
    with pytest.raises(ValueError, match="CAP_FLY"):
        capabilities.mask(["CAP_FLY"])


def test_seccomp_refuses_and_allows():
    def story() -> None:
        seccomp.install(0)
        with pytest.raises(PermissionError):
            libc.mount("tmpfs", "/tmp", "tmpfs")
        with pytest.raises(PermissionError):
            libc.unshare(namespaces.UTS)
        with pytest.raises(PermissionError):
            socket.socket(socket.AF_VSOCK)
        socket.socket(socket.AF_UNIX).close()
        personality = ctypes.CDLL(None).personality
        assert (personality(0x0040000), personality(0xFFFFFFFF)) == (-1, 0)  # without random addresses; which is it?
        pid = os.fork()  # still allowed: it makes no namespace
        if pid == 0:
            os._exit(3)
        assert os.waitpid(pid, 0)[1] == 3 << 8

    in_child(story)

    def with_capability() -> None:
        seccomp.install(capabilities.mask(["CAP_SYS_ADMIN"]))
        libc.unshare(namespaces.UTS)

    in_child(with_capability)


def test_seccomp_programs_exist_for_both_machines():
    for machine in ("x86_64", "aarch64"):
        assert len(seccomp.program(0, machine)) % 8 == 0


def test_a_process_is_told_from_another_by_its_start():
    pid = os.fork()
    if pid == 0:
        signal.pause()
    started = procfs.start_time(pid)
    assert procfs.end(pid, started + 1)  # another than meant: nothing is done
    assert procfs.start_time(pid) == started
    assert procfs.end(pid, started)
    assert procfs.start_time(pid) == 0
    os.waitpid(pid, 0)
    assert procfs.end(pid, started)


@pytest.fixture
def cgroup() -> Iterator[tuple[cgroups.Cgroups, str]]:
    path = f"test-{uuid.uuid4().hex[:8]}/a/b"
    tree = cgroups.detect()
    tree.create(path)
    tree.create(path)
    try:
        yield tree, path
    finally:
        tree.remove(path.split("/")[0])
        tree.remove(path.split("/")[0])
    assert not any(os.path.exists(os.path.join(h.point, path.split("/")[0])) for h in cgroups.hierarchies())


def test_cgroup_counts_limits_and_ends_processes(cgroup):
    tree, path = cgroup
    tree.limit(path, cpu_shares=100, cpu_quota_us=20_000, memory_limit=16 << 20, pids_limit=5)
    tree.restrict_devices(path)
    pid = sleeps_in(tree, path)
    assert procfs.pids_in(tree.procs_files(path)) == {pid}
    usage = tree.usage(path)
    assert usage["pids"] == 1
    assert 0 <= usage["memory_bytes"] <= 16 << 20
    assert cgroups.oom_kills(tree.oom_file(path)) == 0
    assert procfs.pids_in(tree.procs_files(path.split("/")[0])) == {pid}
    tree.remove_empty(path)  # it is not
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        assert procfs.kill_all(tree.procs_files(path))
    finally:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)


def test_version_2_makes_enters_and_removes():
    with version_2() as (tree, folder):
        top = folder.name
        tree.create(f"{top}/a/b")
        pid = sleeps_in(tree, f"{top}/a/b")
        assert procfs.pids_in(tree.procs_files(top)) == {pid}
        tree.remove_empty(top)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    assert not folder.exists()


def test_what_hides_in_a_cgroup_of_its_own_is_ended_too(cgroup):
    tree, path = cgroup
    files = tree.procs_files(path)
    tree.create(f"{path}/own")
    pid = sleeps_in(tree, f"{path}/own")
    assert procfs.pids_in(tree.procs_files(path)) == {pid}
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        assert procfs.kill_all(files)
        assert procfs.pids_in(tree.procs_files(path)) == set()
    finally:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)


def test_version_2_passes_every_controller_on_that_may_be(tmp_path, monkeypatch):
    """As a kubelet does: what it limits nothing by, a pod may still look at."""
    (tmp_path / "cgroup.controllers").write_text("cpuset cpu io memory hugetlb pids rdma misc\n")
    (tmp_path / "cgroup.subtree_control").touch()
    tree, passed = Version2(str(tmp_path)), []

    def write(path, name, value):
        passed.append(value)
        if value == "+rdma":
            raise OSError(errno.EINVAL, name)

    monkeypatch.setattr(tree, "_write", write)
    tree.create("pod")
    assert passed == ["+cpu +hugetlb +memory +pids", "+cpuset", "+io", "+misc", "+rdma"]
    tree.create("other")
    assert passed.count("+rdma") == 1


def test_version_2_limits_huge_pages(tmp_path):
    names = [f"hugetlb.{hugepages.name(size)}.{kind}" for size in hugepages.sizes() for kind in ("max", "rsvd.max")]
    with version_2() as (tree, folder):
        path = f"{folder.name}/a"
        if "hugetlb" in (folder.parent / "cgroup.controllers").read_text().split():
            tree.create(path)
        else:  # version 1 has the controller: files like its own show what is written
            tree = cgroup2.Version2(str(tmp_path))
            (tmp_path / path).mkdir(parents=True)
            for name in names:
                (tmp_path / path / name).write_text("max")
        tree.limit_huge_pages(path, {2 << 20: 6 << 20})
        limits = {file: int(Path(tree._file(path, file)).read_text()) for file in names}
    # a processor may have other sizes than 2 MB, a kernel none at all: what it does not name is not limited
    assert limits == {name: 6 << 20 if name.startswith("hugetlb.2MB.") else 0 for name in names}


def test_version_2_tells_of_memory_and_swap_as_far_as_the_kernel_counts_them(tmp_path):
    files = {
        "cpu.stat": "usage_usec 7\nnr_throttled 2\n",
        "memory.stat": "anon 4096\ninactive_file 1024\n",
        "memory.current": "9216\n",
        "pids.current": "3\n",
    }
    swap = {"memory.peak": "10240\n", "memory.swap.current": "100\n", "memory.swap.max": "300\n"}
    tree = cgroup2.Version2(str(tmp_path))
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    usage = tree.usage("")
    assert (usage["cpu_ns"], usage["throttled_periods"], usage["memory_bytes"], usage["pids"]) == (7000, 2, 8192, 3)
    assert (usage["memory_most"], usage["memory_swap"], usage.get("swap_free")) == (0, 0, None)
    for name, text in swap.items():
        (tmp_path / name).write_text(text)
    usage = tree.usage("")
    assert (usage["memory_most"], usage["memory_swap"], usage.get("swap_free")) == (10240, 100, 200)
    (tmp_path / "memory.swap.max").write_text("max\n")
    assert "swap_free" not in tree.usage("")


def test_pressure_is_read_as_the_kernel_writes_it(tmp_path):
    (tmp_path / "io.pressure").write_text(
        "some avg10=1.50 avg60=0.25 avg300=0.00 total=2000\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=7\n"
    )
    assert pressure.of_cgroup(str(tmp_path)) == {
        "io": {"some": pressure.Stall(2_000_000, 1.5, 0.25, 0.0), "full": pressure.Stall(7000, 0.0, 0.0, 0.0)}
    }


def test_version_2_tells_where_work_stood_still():
    with version_2() as (tree, folder):
        tree.create(folder.name)
        counted = os.path.exists("/proc/pressure")
        assert set(tree.pressure(folder.name)) == (set(pressure.RESOURCES) if counted else set())
    assert tree.pressure(folder.name) == {}


def test_device_filter_loads_in_the_kernel_and_decides():
    """Version 2's way."""
    with version_2() as (_, folder):
        folder.mkdir()
        device_filter.attach(str(folder))

        def story() -> None:
            Path(folder, "cgroup.procs").write_text("0")
            Path("/dev/null").write_text("x")
            Path("/dev/urandom").open("rb").close()
            with pytest.raises(PermissionError):
                Path("/dev/kmsg").open("rb").close()

        in_child(story)
