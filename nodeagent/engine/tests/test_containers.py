"""Containers run, end, and tell how."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import re
from pathlib import Path

import pytest

from nodeagent.engine import user
from nodeagent.engine.contract import EngineError, ImageMissing, Mount, Resources, StartFailed
from nodeagent.linux import libc, mounts, procfs


async def test_a_container_runs_and_its_output_is_logged(node):
    await node.sandbox()
    state = await node.run("echo out; echo err >&2; printf rest; exit 3")
    assert (state.phase, state.exit_code, state.signal, state.pid) == ("exited", 3, 0, 0)
    assert 0 < state.created_at <= state.started_at <= state.finished_at
    lines = (node.data_dir / "logs/main.log").read_text().splitlines()
    stamp = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z"
    assert sorted(re.sub(stamp, "T", line) for line in lines) == ["T stderr F err", "T stdout F out", "T stdout P rest"]


async def test_who_changes_the_images_keeps_one_container_waiting_and_not_the_engine(node):
    await node.sandbox()
    with node.images._locked(fcntl.LOCK_EX):
        making = asyncio.create_task(node.engine.create_container(node.spec("true")))
        await node.sandbox("another")
        assert not making.done()
    assert (await making).phase == "created"


async def test_events_tell_of_start_and_exit(node):
    await node.sandbox()
    events = node.engine.events()
    await node.start("exit 1")
    assert [(await anext(events)).phase, (await anext(events)).exit_code] == ["running", 1]


async def test_process_one_has_only_itself_in_sight(node):
    await node.sandbox()
    await node.run("echo $$; ls -d /proc/[0-9]* | wc -l; hostname; echo $HOSTNAME; echo $HOME; pwd")
    assert node.log() == "1\n3\nhost-pod\nhost-pod\n/root\n/\n".replace("3", node.log().split()[1])
    assert int(node.log().split()[1]) <= 4


async def test_the_node_sees_no_mounts_of_a_container(node):
    await node.sandbox()
    before = [*mounts.below(str(node.run_dir)), *mounts.below(str(node.data_dir))]
    await node.start("sleep 100")
    assert [*mounts.below(str(node.run_dir)), *mounts.below(str(node.data_dir))] == before
    assert {os.path.basename(point) for point in before} == {"net", "ipc", "uts"}


async def test_a_container_sees_no_mounts_of_the_node(node):
    await node.sandbox()
    await node.run("cat /proc/mounts; ls /run")
    assert str(node.run_dir) not in node.log()
    assert {line.split()[1] for line in node.log().splitlines() if " " in line} >= {
        "/",
        "/proc",
        "/dev",
        "/sys",
        "/dev/shm",
    }


async def test_dev_has_what_programs_expect(node):
    await node.sandbox()
    state = await node.run(
        "set -e; echo gone >/dev/null; head -c 4 /dev/zero | wc -c; head -c 4 /dev/urandom | wc -c;"
        "echo x >/dev/stderr;"
        "test -c /dev/full -a -c /dev/tty -a -c /dev/random; echo s >/dev/shm/s; test -d /dev/mqueue; readlink /dev/fd"
    )
    assert state.exit_code == 0
    assert node.log().split() == ["4", "4", "/proc/self/fd"]


async def test_devices_of_the_node_are_out_of_reach(node):
    await node.sandbox()
    await node.run("mknod /tmp/kmsg c 1 11; cat /tmp/kmsg; echo $?; mknod /tmp/null c 1 3; echo x > /tmp/null; echo $?")
    assert node.log().split() == ["1", "0"]
    assert "Operation not permitted" in node.log(stream="stderr")


@pytest.mark.parametrize(("listed", "groups"), [(True, [5, 7, 33]), (False, [5, 33])])
def test_groups_that_list_a_user_are_its_own_unless_told_otherwise(tmp_path, listed, groups):
    (tmp_path / "passwd").write_text("root:x:0:0::/root:/bin/sh\nwww:x:33:33::/var/www:/bin/false\n")
    (tmp_path / "group").write_text("www:x:33:\nweb:x:7:root,www\nother:x:8:root\n")
    found = user.find("33", [5], listed=listed, passwd=str(tmp_path / "passwd"), group=str(tmp_path / "group"))
    assert (found.uid, found.gid, found.groups, found.home) == (33, 33, groups, "/var/www")


async def test_environment_user_and_groups(node):
    await node.sandbox()
    await node.run(
        "id; echo $A $HOME; pwd; touch /tmp/x; ls -ln /tmp/x | awk '{print $3, $4}'; grep CapEff /proc/self/status",
        user="www-data", groups=(7,), env=(("A", "1"), ("A", "2")), cwd="/made/here",
    )  # fmt: skip
    assert node.log().splitlines() == [
        "uid=33(www-data) gid=33(www-data) groups=7,33(www-data)",
        "2 /var/www",
        "/made/here",
        "33 33",
        "CapEff:\t0000000000000000",
    ]


def test_tables_of_users_that_a_container_made_to_be_waited_at(tmp_path):
    os.mkfifo(tmp_path / "passwd")
    assert user.find("5", [], passwd=str(tmp_path / "passwd"), group="/dev/zero") == (5, 0, [0], "/")


async def test_numeric_user_not_in_passwd(node):
    await node.sandbox()
    await node.run("id -u; id -g; echo $HOME", user="1234:5678")
    assert node.log().split() == ["1234", "5678", "/"]


async def test_capabilities_are_what_was_asked(node):
    await node.sandbox()
    await node.run("grep Cap /proc/self/status; chown 1 /tmp; echo $?", capabilities=frozenset({"CAP_NET_RAW"}))
    assert "CapBnd:\t0000000000002000" in node.log()
    assert "CapEff:\t0000000000002000" in node.log()
    assert node.log().endswith("\n1\n")


async def test_unknown_capability_is_refused_by_name(node):
    await node.sandbox()
    with pytest.raises(EngineError, match="CAP_FLY"):
        await node.engine.create_container(node.spec("true", capabilities=frozenset({"CAP_FLY"})))


async def test_privileged_can_mount(node):
    await node.sandbox()
    assert (
        await node.run("mount -t tmpfs none /mnt || mkdir /mnt && mount -t tmpfs none /mnt", privileged=True)
    ).exit_code == 0
    assert (await node.run("mkdir -p /mnt; mount -t tmpfs none /mnt", "plain")).exit_code != 0


async def test_readonly_root_and_paths(node):
    await node.sandbox()
    await node.run(
        "touch /x || echo root; touch /dev/shm/x && echo shm; echo 1 > /proc/sys/kernel/panic || echo sysctl;"
        "cat /proc/keys | wc -c; ls /sys/firmware | wc -l; mkdir /sys/fs/cgroup/memory/x || echo cgroup",
        readonly_root=True, readonly_paths=("/proc/sys",),
        masked_paths=("/proc/keys", "/sys/firmware", "/proc/nothing"),
    )  # fmt: skip
    assert node.log().split() == ["root", "shm", "sysctl", "0", "0", "cgroup"]


async def test_mounts(node, tmp_path):
    (tmp_path / "dir").mkdir()
    (tmp_path / "dir/file").write_text("content")
    (tmp_path / "hosts").write_text("127.0.0.1 localhost")
    await node.sandbox()
    await node.run(
        "cat /a/b/file; touch /a/b/new; cat /etc/hosts; touch /ro/x || echo refused;"
        "df /scratch | tail -1 | awk '{print $2}';"
        "cat /nested/in/file",
        mounts=(
            Mount(str(tmp_path / "dir"), "/nested/in"),
            Mount(str(tmp_path / "dir"), "/a/b"),
            Mount(str(tmp_path / "hosts"), "/etc/hosts"),
            Mount(str(tmp_path / "dir"), "/ro", readonly=True),
            Mount("", "/scratch", kind="tmpfs", options="size=64k,mode=1777"),
            Mount("", "/nested", kind="tmpfs"),
        ),
    )
    assert node.log().split() == ["content127.0.0.1", "localhostrefused", "64", "content"]
    assert (tmp_path / "dir/new").exists()


@pytest.mark.parametrize("below", [True, False])
async def test_read_only_may_stop_at_what_is_mounted_below(node, tmp_path, below):
    source = tmp_path / "source"
    (source / "inner").mkdir(parents=True)
    libc.mount("tmpfs", str(source / "inner"), "tmpfs", 0, "size=64k")
    try:
        await node.sandbox()
        mount = Mount(str(source), "/v", readonly=True, readonly_below=below)
        await node.run("touch /v/file; echo $?; touch /v/inner/file; echo $?", mounts=(mount,))
        assert node.log().split() == ["1", "1" if below else "0"]
    finally:
        libc.umount(str(source / "inner"), mounts.DETACH)


async def test_a_symlink_in_the_image_cannot_point_a_mount_at_the_node(node, tmp_path):
    victim, source = tmp_path / "victim", tmp_path / "source"
    victim.mkdir()
    source.mkdir()
    (source / "mine").touch()
    await node.sandbox()
    await node.engine.create_container(node.spec("ls /link/made", mounts=(Mount(str(source), "/link/made"),)))
    upper = node.data_dir / "containers/main/upper"
    upper.mkdir()
    (upper / "link").symlink_to(f"{'../' * 20}{victim}")  # as an image could have it
    await node.engine.start_container("main")
    assert (await node.exited()).exit_code == 0
    assert node.log() == "mine\n", "what the link means is made in the container"
    assert list(victim.iterdir()) == []


async def test_missing_mount_source_fails_the_start(node):
    await node.sandbox()
    with pytest.raises(StartFailed, match="/no/such/source"):
        await node.start("true", mounts=(Mount("/no/such/source", "/x"),))
    assert (await node.state()).phase == "exited"


@pytest.mark.parametrize(
    ("argv", "code", "message"),
    [
        (("nothere",), 127, 'exec: "nothere": executable file not found in $PATH'),
        (("/no/such",), 127, 'exec: "/no/such": stat /no/such: no such file or directory'),
        (("/etc/passwd",), 126, 'exec: "/etc/passwd": permission denied'),
        (("/tmp",), 126, 'exec: "/tmp": is a directory'),
    ],
)
async def test_what_cannot_be_started_says_why(node, argv, code, message):
    await node.sandbox()
    with pytest.raises(StartFailed) as failed:
        await node.start("", argv=argv)
    assert (str(failed.value), failed.value.code) == (message, code)
    state = await node.state()
    assert (state.phase, state.exit_code, state.message) == ("exited", code, message)


async def test_unknown_user_fails_the_start(node):
    await node.sandbox()
    with pytest.raises(StartFailed, match="unable to find user nobody-here: no matching entries in passwd file"):
        await node.start("true", user="nobody-here")


async def test_missing_image(node):
    await node.sandbox()
    with pytest.raises(ImageMissing):
        await node.start("true", image="not/here:1")


async def test_stop_signal_then_kill(node):
    await node.sandbox()
    await node.start("trap 'exit 9' USR1; while :; do sleep 0.01; done", stop_signal="SIGUSR1")
    while procfs.start_time((await node.state()).pid) == 0:
        pass
    await node.exec("sh", "-c", "until grep -q 'SigCgt:.*[2-9a-f]..$' /proc/1/status; do sleep 0.01; done")
    await node.engine.stop_container("main", 10)
    assert (await node.state()).exit_code == 9
    await node.start("sleep 100", "deaf")  # process 1 without a handler does not hear SIGTERM
    await node.engine.stop_container("deaf", 0.05)
    state = await node.state("deaf")
    assert (state.exit_code, state.signal) == (137, 9)
    await node.engine.stop_container("deaf", 1)


async def test_memory_limit_kills(node):
    await node.sandbox(resources=Resources(memory_limit=128 << 20))
    state = await node.run(
        "head -c 200m /dev/zero | tail", resources=Resources(memory_limit=32 << 20), argv=("tail", "/dev/zero")
    )
    assert (state.exit_code, state.oom_killed) == (137, True)


async def test_limits_are_set_and_usage_is_told(node):
    await node.sandbox()
    resources = Resources(cpu_shares=512, cpu_quota_us=50_000, memory_limit=64 << 20, pids_limit=20)
    await node.start("sleep 100", resources=resources)
    usage = await node.engine.usage("main")
    assert usage["pids"] == 1
    assert 0 < usage["memory_bytes"] < 64 << 20
    assert usage["cpu_ns"] > 0
    code, out, _ = await node.exec("sh", "-c", "for i in $(seq 40); do sleep 1 & done; echo done")
    assert "done" not in out or code != 0


async def test_long_lines_are_cut_at_16_kib(node):
    await node.sandbox()
    await node.run("head -c 40000 /dev/zero | tr '\\0' a; echo")
    entries = [line.split(" ", 3)[2:] for line in (node.data_dir / "logs/main.log").read_text().splitlines()]
    assert [(tag, len(text)) for tag, text in entries] == [("P", 16384), ("P", 16384), ("F", 7232)]


async def test_much_output_is_complete(node):
    await node.sandbox()
    await node.run("seq 200000")
    assert node.log() == "".join(f"{number}\n" for number in range(1, 200001))


async def test_seccomp_profile_refuses(node):
    await node.sandbox()
    script = "unshare -U true 2>/dev/null; echo $?; grep Seccomp: /proc/self/status"
    await node.run(script, seccomp=True, no_new_privileges=True)
    assert node.log().split() == ["1", "Seccomp:", "2"]


@pytest.mark.parametrize("no_new_privileges", [True, False])
async def test_a_profile_of_the_user_s_own(node, tmp_path, no_new_privileges):
    rule = {"names": ["mkdir", "mkdirat", "of_the_future"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28}
    profile = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}
    (tmp_path / "profile.json").write_text(json.dumps(profile))
    await node.sandbox()
    await node.start(
        "mkdir /x; echo $?; sleep 100",
        seccomp_profile=str(tmp_path / "profile.json"),
        no_new_privileges=no_new_privileges,
        user="65534",
    )
    (tmp_path / "profile.json").unlink()  # what was asked for at the beginning holds
    code, _, said = await node.exec("mkdir", "/y")
    assert (code, "No space left on device" in said) == (1, True)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (None, "No such file"),
        ("{}", "not a seccomp profile"),
        ("nonsense", "Expecting value"),
        ('{"defaultAction": "SCMP_ACT_SHRUG"}', "unknown action SCMP_ACT_SHRUG"),
    ],
)
async def test_a_profile_that_is_none_is_refused(node, tmp_path, text, problem):
    if text is not None:
        (tmp_path / "profile.json").write_text(text)
    await node.sandbox()
    with pytest.raises(EngineError, match=f"cannot load seccomp profile.*{problem}"):
        await node.engine.create_container(node.spec("true", seccomp_profile=str(tmp_path / "profile.json")))
    assert await node.engine.containers() == []


async def test_host_image_shows_programs_and_no_secrets(node):
    await node.sandbox()
    state = await node.run(
        "/usr/bin/env true && ls /root /home /var/lib && test ! -e /etc/shadow && echo x > /usr/new &&"
        " grep -q root /etc/passwd",
        image="localhost/host",
    )
    assert (state.exit_code, node.log(stream="stderr")) == (0, "")
    assert not Path("/usr/new").exists()


async def test_busybox_serves_and_fetches(node):
    await node.sandbox()
    await node.start("echo page > /var/www/index.html; exec httpd -f -p 80 -h /var/www", "server")
    await node.run("until wget -q -O - http://127.0.0.1/ 2>/dev/null; do sleep 0.02; done")
    assert node.log() == "page\n"


async def test_removal_leaves_no_files(node):
    await node.sandbox()
    await node.run("echo > /big")
    assert (node.data_dir / "containers/main/upper/big").exists()
    await node.engine.remove_container("main")
    await node.engine.remove_container("main")
    assert os.listdir(node.data_dir / "containers") == []
    with pytest.raises(EngineError):
        await node.engine.start_container("main")


async def test_log_can_be_moved_away(node):
    await node.sandbox()
    await node.start("read x; echo after", stdin=True)
    log = node.data_dir / "logs/main.log"
    log.rename(f"{log}.1")
    await node.engine.reopen_log("main")
    process = await node.engine.attach("main")
    process.stdin.write(b"\n")
    await process.wait()
    await process.close()
    assert node.log() == "after\n"
