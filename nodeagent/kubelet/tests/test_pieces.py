"""Small rules: back-off, status patches, files that change at once, names, security, resources."""

import base64
import json
import os
import socket
import stat
from types import SimpleNamespace

import pytest
from stories import container, pod

from nodeagent.engine.contract import ContainerState, EngineError, Image, ImageConfig
from nodeagent.kubelet import actions, identity, names, pullsecrets, resources
from nodeagent.kubelet.containerspec import shown_image
from nodeagent.kubelet.errors import ConfigError
from nodeagent.kubelet.images import ImageMissing, PodImages
from nodeagent.kubelet.inventory import termination_message
from nodeagent.kubelet.plan import BackOff
from nodeagent.kubelet.podstate import PodState
from nodeagent.kubelet.resize import due, limits_of
from nodeagent.kubelet.restarts import next_delay, waits_until
from nodeagent.kubelet.security import DEFAULT_CAPABILITIES, security_of
from nodeagent.kubelet.statuswriter import status_patch
from nodeagent.kubelet.volumes import atomic
from nodeagent.kubelet.volumes.folders import empty_dir, host_path, unmount_below
from shim.api.duration import go_duration


def test_delays_double_to_five_minutes_and_are_forgotten():
    delay, seconds = None, []
    for at in range(7):
        delay = next_delay(delay, event_at=at, now=at)
        seconds.append(delay.seconds)
    assert seconds == [10, 20, 40, 80, 160, 300, 300]
    assert waits_until(delay, event_at=10, now=11) == 310
    assert waits_until(delay, event_at=1000, now=1001) == 0
    assert next_delay(delay, event_at=1000, now=1000).seconds == 10
    assert [go_duration(s) for s in (10, 80, 300)] == ["10s", "1m20s", "5m0s"]


def test_a_container_that_has_to_wait_is_told_of_again_and_again():
    told, clock = [], [0.0]
    node = SimpleNamespace(
        clock=SimpleNamespace(now=lambda: clock[0]),
        inventory=SimpleNamespace(runs=lambda uid: {}),
        recorder=SimpleNamespace(event=lambda about, type_, reason, *more, **also: told.append((clock[0], reason))),
        images=None,
        image_policy=None,
    )
    state, news = PodState(node, pod(), lambda: None), []
    for clock[0] in (0.0, 10.0, 74.0, 75.0, 140.0, 150.0):
        news.append(actions.back_off(state, BackOff("containers", "c", "c-3", 300.0)))
    assert told == [(at, "BackOff") for at in (0.0, 75.0, 150.0)]
    assert news == [True, *[False] * 5]  # its status says so already
    actions.back_off(state, BackOff("containers", "c", "c-4", 300.0))  # the next life has failed too
    assert told[3:] == [(150.0, "BackOff")]


def test_a_status_patch_names_only_what_changed():
    ready = {"type": "Ready", "status": "False", "reason": "ContainersNotReady"}
    gate = {"type": "example.com/gate", "status": "True"}
    old = {"phase": "Pending", "message": "m", "podIPs": [{"ip": "1"}], "conditions": [ready, gate]}
    new = {"phase": "Pending", "podIPs": [{"ip": "2"}], "conditions": [gate, {"type": "Ready", "status": "True"}]}
    assert status_patch(old, old) == {}
    assert status_patch(old, new) == {
        "message": None,
        "podIPs": [{"ip": "2"}, {"$patch": "replace"}],
        "conditions": [{"type": "Ready", "status": "True", "reason": None}],
        "$setElementOrder/conditions": [{"type": "example.com/gate"}, {"type": "Ready"}],
    }


def test_files_change_all_at_once(tmp_path):
    target = tmp_path / "v"
    assert atomic.write(target, {"a": atomic.File(b"1", 0o400), "d/b": atomic.File(b"2", 0o644)})
    assert os.readlink(target / "a") == "..data/a"
    assert (target / "d/b").read_bytes() == b"2"
    assert (target / "a").stat().st_mode & 0o777 == 0o400
    assert not atomic.write(target, {"a": atomic.File(b"1", 0o400), "d/b": atomic.File(b"2", 0o644)})
    assert atomic.write(target, {"a": atomic.File(b"3", 0o644)})
    assert (target / "a").read_bytes() == b"3"
    assert not (target / "d").is_symlink()
    assert len([entry for entry in target.iterdir() if entry.name.startswith("..2")]) == 1


def test_all_folders_of_a_volume_are_the_group_s(tmp_path):
    atomic.write(tmp_path / "v", {"d/e/f": atomic.File(b"1", 0o400)}, gid=1234)
    found = [tmp_path / "v", *(path for path in (tmp_path / "v").rglob("*") if not path.is_symlink())]
    assert {(path.name, path.stat().st_gid) for path in found if not path.name.startswith("..")} == {
        (name, 1234) for name in ("v", "d", "e", "f")
    }


def test_a_runtime_class_adds_to_requests_and_to_limits_that_there_are():
    asked = {"requests": {"cpu": "1"}, "limits": {"cpu": "1", "memory": "1Mi"}}
    told = pod(container(resources=asked), overhead={"cpu": "500m", "memory": "1Mi", "ephemeral-storage": "1Mi"})
    assert resources.texts(resources.pod_totals(told, "requests")) == {
        "cpu": "1500m",
        "ephemeral-storage": "1Mi",
        "memory": "1Mi",
    }
    assert resources.texts(resources.pod_totals(told, "limits")) == {"cpu": "1500m", "memory": "2Mi"}
    assert resources.pod_limits(told).cpu_quota_us == 150_000


def test_a_host_path_must_be_what_it_is_said_to_be(tmp_path):
    (tmp_path / "dir").mkdir()
    (tmp_path / "file").touch()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
    os.mknod(tmp_path / "char", stat.S_IFCHR, os.makedev(1, 3))
    os.mknod(tmp_path / "block", stat.S_IFBLK, os.makedev(7, 0))
    is_one = {"Directory": "dir", "File": "file", "Socket": "socket", "CharDevice": "char", "BlockDevice": "block"}
    for kind, named in is_one.items():
        for name in ("missing", *is_one.values()):
            told = {"path": str(tmp_path / name), "type": kind}
            if name == named:
                assert host_path(told) == tmp_path / name
            else:
                with pytest.raises(ValueError, match=r"hostPath type check failed: .* is not a"):
                    host_path(told)
    for kind, new in (("DirectoryOrCreate", "a/b"), ("FileOrCreate", "new"), ("", "c/d")):
        path = host_path({"path": str(tmp_path / new), "type": kind})
        assert path.is_file() if kind == "FileOrCreate" else path.is_dir()
        assert stat.S_IMODE(path.stat().st_mode) == (0o644 if kind == "FileOrCreate" else 0o755)
    for kind, why in (("FileOrCreate", "open {}: not a directory"), ("DirectoryOrCreate", "mkdir {}: not a directory")):
        path = tmp_path / "file/below"
        with pytest.raises(ValueError, match=f"^{why.format(path)}$"):
            host_path({"path": str(path), "type": kind})


def test_who_a_pod_is():
    a_pod = pod(hostname="web", subdomain="svc", hostAliases=[{"ip": "1.2.3.4", "hostnames": ["x", "y"]}])
    name, domain = identity.hostname_of(a_pod, "cluster.local")
    assert (name, domain) == ("web", "svc.ns.svc.cluster.local")
    hosts = identity.hosts_file(a_pod, "10.1.0.2", name, domain)
    assert "10.1.0.2\tweb.svc.ns.svc.cluster.local\tweb\n" in hosts
    assert hosts.endswith("1.2.3.4\tx\ty\n")


def test_whom_a_pod_asks_for_names():
    def resolv(**spec):
        node = "nameserver 8.8.8.8\nsearch example.org\noptions rotate\n"
        return identity.resolv_file(pod(**spec), cluster_dns="10.96.0.10", cluster_domain="cluster.local", node=node)

    search = "search ns.svc.cluster.local svc.cluster.local cluster.local example.org\n"
    assert resolv() == search + "nameserver 10.96.0.10\noptions ndots:5\n"
    assert resolv(dnsPolicy="Default") == "search example.org\nnameserver 8.8.8.8\noptions rotate\n"
    config = {"nameservers": ["1.1.1.1"], "options": [{"name": "ndots", "value": "2"}]}
    assert resolv(dnsPolicy="None", dnsConfig=config) == "nameserver 1.1.1.1\noptions ndots:2\n"
    assert resolv(hostNetwork=True) == resolv(dnsPolicy="Default")


@pytest.mark.parametrize(
    ("told", "default", "expected"),
    [
        (None, False, (False, "")),
        (None, True, (True, "")),
        ({"type": "Unconfined"}, True, (False, "")),
        ({"type": "RuntimeDefault"}, False, (True, "")),
        ({"type": "Localhost", "localhostProfile": "own/strict.json"}, True, (False, "own/strict.json")),
    ],
)
def test_which_filter_of_system_calls(told, default, expected):
    of_pod = {"seccompProfile": told} if told else {}
    found = security_of(pod(securityContext=of_pod), container(), ImageConfig(), filtered=default)
    assert (found.seccomp, found.seccomp_profile) == expected
    almighty = container(securityContext={"privileged": True})
    assert not security_of(pod(securityContext=of_pod), almighty, ImageConfig()).seccomp


def test_what_a_container_may_do():
    plain = security_of(pod(), container(), ImageConfig(user="app"))
    assert (plain.user, plain.capabilities, plain.no_new_privileges) == ("app", DEFAULT_CAPABILITIES, False)
    told = {"runAsUser": 1000, "capabilities": {"drop": ["ALL"], "add": ["NET_ADMIN"]}}
    of_pod = {"runAsGroup": 3000, "fsGroup": 2000, "runAsUser": 1}
    found = security_of(pod(securityContext=of_pod), container(securityContext=told), ImageConfig())
    assert (found.user, found.groups, found.capabilities) == ("1000:3000", (2000,), {"CAP_NET_ADMIN"})
    with pytest.raises(ConfigError, match="image will run as root"):
        security_of(pod(), container(securityContext={"runAsNonRoot": True}), ImageConfig())


def test_resources_become_limits():
    burstable = container(resources={"requests": {"cpu": "250m", "memory": "64Mi"}, "limits": {"memory": "128Mi"}})
    limits = resources.container_limits(burstable)
    assert (limits.cpu_shares, limits.cpu_quota_us, limits.memory_limit) == (256, None, 128 << 20)
    a_pod = pod(burstable, container("free"), status={"qosClass": "Burstable"})
    assert resources.pod_limits(a_pod).memory_limit is None
    assert resources.cgroup_of(a_pod) == "kubepods/burstable/podu"
    assert resources.oom_score(a_pod, burstable, 1 << 30) == 938


def test_huge_pages_are_limited_to_what_was_asked_for_and_the_pod_s_are_for_all():
    asks = {"cpu": "1", "hugepages-2Mi": "16Mi", "hugepages-1Gi": "1Gi"}
    known = ((2 << 20, 16 << 20), (1 << 30, 1 << 30))
    greedy = container("greedy", resources={"requests": asks, "limits": asks})
    assert resources.container_limits(greedy).huge_pages == known
    assert resources.container_limits(container()).huge_pages == ()
    assert resources.pod_limits(pod(greedy, container("free"))).huge_pages == known
    shared = pod(container(), resources={"requests": asks, "limits": asks})
    assert limits_of(due(shared, shared["spec"]["containers"][0])).huge_pages == known


@pytest.mark.parametrize(
    ("medium", "asked", "said"),
    [
        ("HugePages", (), "medium HugePages: hugePages storage requested, but there is no resource request"),
        ("HugePages-1Gi", (2 << 20,), "no resource request"),
        ("HugePages", (2 << 20, 1 << 30), "multiple huge page sizes"),
        ("Paper", (2 << 20,), 'unknown storage medium "Paper"'),
    ],
)
def test_a_volume_in_pages_that_nobody_asks_for(tmp_path, medium, asked, said):
    with pytest.raises(ValueError, match=said):
        empty_dir({"medium": medium}, tmp_path, asked)


@pytest.mark.needs_root
def test_a_volume_of_huge_pages(tmp_path):
    empty_dir({"medium": "HugePages-2Mi"}, tmp_path / "v", [2 << 20, 1 << 30])
    try:
        assert os.statvfs(tmp_path / "v").f_bsize == 2 << 20
    finally:
        unmount_below(tmp_path)


def test_whom_the_kernel_kills_first_asked_for_least():
    def asks(name, memory, **more):
        return container(name, resources={"requests": {"memory": memory}}, **more)

    def score(of, **spec):
        made = pod(asks("main", "100Mi"), container("free"), status={"qosClass": "Burstable"}, **spec)
        return resources.oom_score(made, of, 1000 << 20)

    sidecar = container("side", restartPolicy="Always")
    assert (score(asks("main", "100Mi")), score(container("free"))) == (900, 999)
    busy = pod(asks("main", "100Mi"), init=[sidecar], status={"qosClass": "Burstable"})
    assert resources.oom_score(busy, sidecar, 1000 << 20) == 900  # as the container it serves
    whole = {"requests": {"memory": "300Mi"}}
    assert (score(asks("main", "100Mi"), resources=whole), score(container("free"), resources=whole)) == (800, 900)


def test_init_containers_count_with_the_sidecars_before_them():
    def asks(name, cpu, **more):
        return container(name, resources={"requests": {"cpu": cpu}}, **more)

    init = [asks("s", "1", restartPolicy="Always"), asks("i", "3")]
    assert resources.texts(resources.pod_totals(pod(asks("c", "2"), init=init), "requests")) == {"cpu": "4"}


class Registry:
    """A store and the registry behind it: what is in ``here`` is there, what is in ``there`` can be pulled."""

    def __init__(self, here=(), there=(), *, secret=False):
        self.here, self.there, self.secret = dict(here), dict(there), secret

    def find(self, reference):
        return self.here.get(reference)

    async def pull(self, reference, credentials):
        if reference not in self.there:
            raise EngineError("no such image")
        self.here[reference] = self.there[reference]
        return self.there[reference]

    def allowed(self, image, reference, credentials):
        return not self.secret or "key" in credentials


async def no_keys(image):
    return []


async def test_a_missing_image_is_an_error_then_a_back_off_told_of_at_every_look():
    told, clock = [], [0.0]
    images, one = PodImages(Registry(), no_keys, lambda: clock[0]), container(imagePullPolicy="IfNotPresent")
    shown = []
    while clock[0] < 65:
        with pytest.raises(ImageMissing) as caught:
            await images.ensure(one, lambda *event: told.append((clock[0], event[1])))
        if caught.value.news:
            told.append((clock[0], "Error"))
        if shown[-1:] != [caught.value.waiting.reason]:
            shown.append(caught.value.waiting.reason)
        clock[0] = caught.value.waiting.retry_at
    assert shown == ["ErrImagePull", "ImagePullBackOff"] * 3
    assert [at for at, reason in told if reason == "Pulling"] == [0, 10, 30]
    assert [at for at, reason in told if reason == "BackOff"] == [1, 22.5, 42.5, 55]
    assert [at for at, reason in told if reason == "Error"] == [0, 1, 10, 22.5, 30, 42.5, 55]


def an_image(id_, pulled):
    return Image(id_, ("busybox",), (), 7, ImageConfig(), pulled)


@pytest.mark.parametrize(
    ("here", "policy", "found", "events"),
    [
        (None, "IfNotPresent", "new", ["Pulling", "Pulled"]),
        (an_image("old", True), "IfNotPresent", "old", ["Pulled"]),
        (an_image("old", True), "Always", "new", ["Pulling", "Pulled"]),
        (an_image("own", False), "Always", "own", ["Pulled"]),
        (an_image("old", True), "Never", "old", ["Pulled"]),
        (None, "Never", "ErrImageNeverPull", ["ErrImageNeverPull"]),
    ],
)
async def test_pull_policies(here, policy, found, events):
    store = Registry({"busybox": here} if here else {}, {"busybox": an_image("new", True)})
    told = []
    try:
        image = await PodImages(store, no_keys).ensure(
            container(imagePullPolicy=policy), lambda *event: told.append(event[1])
        )
        result = image.id
    except ImageMissing as missing:
        result = missing.waiting.reason
    assert (result, told) == (found, events)


async def test_a_name_that_is_none():
    with pytest.raises(ImageMissing) as caught:
        await PodImages(Registry(), no_keys).ensure(container(image="Not:A:Name"), lambda *event: None)
    assert caught.value.waiting.reason == "InvalidImageName"


@pytest.mark.parametrize(
    ("refused", "reason"),
    [
        ({"imagePullPolicy": "Never"}, "ErrImageNeverPull"),
        ({"image": "Not:A:Name"}, "InspectFailed"),
    ],
)
async def test_what_no_registry_is_asked_for_is_told_of_at_each_try(refused, reason):
    told, images, tries = [], PodImages(Registry(), no_keys, lambda: 0.0), []
    for _ in range(3):
        with pytest.raises(ImageMissing) as caught:
            await images.ensure(container(**refused), lambda *event: told.append(event[1]))
        tries.append(caught.value.waiting.retry_at)
    assert told == [reason] * 3
    assert tries == [1.0, 12.5, 12.5]  # a second look as soon as the sandbox is heard of


async def test_an_image_here_is_none_for_who_could_not_pull_it():
    there = {"reg.test/app:1": Image("sha256:1", ("reg.test/app:1",), (), 1, ImageConfig(), pulled=True)}
    told, store = [], Registry(here=there, secret=True)

    async def key(image):
        return ["key"]

    async def reason(keys, policy):
        one = container(image="reg.test/app:1", imagePullPolicy=policy)
        try:
            await PodImages(store, keys).ensure(one, lambda *event: told.append(event[1]))
        except ImageMissing as missing:
            return missing.waiting.reason
        return ""

    assert await reason(no_keys, "IfNotPresent") == "ErrImagePull"
    assert await reason(no_keys, "Never") == "ErrImageNeverPull"  # as if it were not here: that is nobody's business
    assert [await reason(key, policy) for policy in ("IfNotPresent", "Never")] == ["", ""]
    store.secret = False
    assert await reason(no_keys, "Never") == ""


async def test_pull_secrets():
    config = base64.b64encode(json.dumps({"auths": {"reg.test": {"username": "u", "password": "p"}}}).encode()).decode()
    meta = {"namespace": "ns", "name": "good", "uid": "7"}
    good = {"metadata": meta, "type": "kubernetes.io/dockerconfigjson", "data": {".dockerconfigjson": config}}
    secrets = {"good": good, "odd": {}}

    async def secret(name):
        if name not in secrets:
            raise ConfigError(name)
        return secrets[name]

    missing = []
    a_pod = pod(imagePullSecrets=[{"name": "good"}, {"name": "odd"}, {"name": "gone"}])
    found = await pullsecrets.credentials(a_pod, "reg.test/x", secret, missing.append)
    assert ([(c.username, c.origin) for c in found], missing) == ([("u", "ns/good/7")], ["gone"])
    assert await pullsecrets.credentials(a_pod, "other.test/x", secret, missing.append) == []


def test_the_image_is_shown_by_its_full_name():
    image = Image("sha256:1", ("docker.io/library/busybox:latest", "docker.io/library/busybox:1"), (), 1, ImageConfig())
    assert shown_image("busybox", image) == "docker.io/library/busybox:latest"
    assert shown_image("busybox:1", image) == "docker.io/library/busybox:1"


def test_a_failed_container_may_leave_the_end_of_its_log_as_its_message(tmp_path):
    log = tmp_path / "0.log"
    log.write_text("T stdout P one \nT stdout F line\nT stderr F and  more\nT stdout P the end\n")
    labels = {names.CONTAINER_LOG: str(log), names.CONTAINER_MESSAGE_POLICY: "FallbackToLogsOnError"}

    def message(exit_code: int) -> str:
        return termination_message(ContainerState("c", "s", "i", "exited", labels, exit_code=exit_code))

    assert message(1) == "one line\nand  more\nthe end"
    assert message(0) == ""
