"""From the API's container to the engine's: what it may write, and whose processes it sees."""

from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import pytest
from stories import container, pod

from nodeagent.engine.contract import ContainerSpec, Image, ImageConfig
from nodeagent.kubelet.containerspec import Surroundings, container_spec
from nodeagent.kubelet.errors import ConfigError
from nodeagent.kubelet.names import Paths
from nodeagent.kubelet.volumes import atomic

IMAGE = Image("sha256:1", ("docker.io/library/busybox:latest",), (), 0, ImageConfig(cmd=("sh",)))


def spec_of(story, one, tmp_path: Path, image: Image = IMAGE, values=MappingProxyType({}), **around) -> ContainerSpec:
    volumes = {volume["name"]: tmp_path / volume["name"] for volume in story["spec"].get("volumes", ())}
    return container_spec(
        story,
        one,
        id="0123456789",
        attempt=0,
        image=image,
        values=values,
        around=Surroundings(sandbox="s", files={}, volumes=volumes, memory_capacity=1 << 30, **around),
        paths=Paths(tmp_path),
    )


def test_what_the_api_wrote_containers_can_only_read(tmp_path):
    volumes = [
        {"name": "cm", "configMap": {"name": "cm"}},
        {"name": "s", "secret": {"secretName": "s"}},
        {"name": "d", "downwardAPI": {}},
        {"name": "p", "projected": {"sources": []}},
        {"name": "e", "emptyDir": {}},
        {"name": "h", "hostPath": {"path": "/h"}},
    ]
    one = container(volumeMounts=[{"name": each["name"], "mountPath": "/" + each["name"]} for each in volumes])
    mounts = spec_of(pod(one, volumes=volumes), one, tmp_path).mounts
    assert {mount.target for mount in mounts if mount.readonly} == {"/cm", "/s", "/d", "/p"}


def test_a_debug_container_is_put_among_the_processes_of_its_target(tmp_path):
    debug = {**container("debugger"), "targetContainerName": "app"}
    story = pod(container("app"), ephemeralContainers=[debug])
    assert spec_of(story, debug, tmp_path, running={"app": "run-7"}).pid_of == "run-7"
    with pytest.raises(ConfigError, match="unable to find target container app"):
        spec_of(story, debug, tmp_path)


def test_a_volume_may_be_an_image_or_a_part_of_one(tmp_path):
    mounts = [{"name": "m", "mountPath": "/m"}, {"name": "m", "mountPath": "/part", "subPath": "data"}]
    one = container(volumeMounts=mounts)
    story = pod(one, volumes=[{"name": "m", "image": {"reference": "model:1"}}])
    found = [mount for mount in spec_of(story, one, tmp_path, images={"m": "sha256:2"}).mounts if mount.kind == "image"]
    assert [(mount.source, mount.target, mount.sub) for mount in found] == [
        ("sha256:2", "/m", ""),
        ("sha256:2", "/part", "data"),
    ]


@pytest.mark.parametrize(
    ("told", "below"), [(None, False), ("Disabled", False), ("IfPossible", True), ("Enabled", True)]
)
def test_read_only_goes_for_what_is_mounted_below_when_asked(tmp_path, told, below):
    mount = {"name": "h", "mountPath": "/h", "readOnly": True, **({"recursiveReadOnly": told} if told else {})}
    one = container(volumeMounts=[mount])
    story = pod(one, volumes=[{"name": "h", "hostPath": {"path": "/h"}}])
    (found,) = [each for each in spec_of(story, one, tmp_path).mounts if each.target == "/h"]
    assert (found.readonly, found.readonly_below) == (True, told in ("IfPossible", "Enabled"))


@pytest.mark.parametrize(
    ("told", "user", "of_image"),
    [
        ({}, "www", True),
        ({"runAsUser": 7}, "7", True),  # its group is the one that the image's own table has for it
        ({"runAsUser": 7, "runAsGroup": 8, "supplementalGroupsPolicy": "Merge"}, "7:8", True),
        ({"supplementalGroupsPolicy": "Strict"}, "www", False),
    ],
)
def test_groups_of_the_image_are_a_user_s_own_unless_that_is_forbidden(tmp_path, told, user, of_image):
    """KEP-3619."""
    one, image = container(), replace(IMAGE, config=ImageConfig(cmd=("sh",), user="www"))
    found = spec_of(pod(one, securityContext=told), one, tmp_path, image)
    assert (found.user, found.groups_of_image) == (user, of_image)


def test_a_part_of_a_volume_is_made_where_it_lacks_and_never_outside(tmp_path):
    volume, outside = tmp_path / "e", tmp_path / "outside"
    volume.mkdir()
    outside.mkdir()
    (volume / "out").symlink_to(outside)

    def mounted(**how) -> list[tuple[str, str]]:
        one = container(volumeMounts=[{"name": "e", "mountPath": "/e", **how}])
        mounts = spec_of(
            pod(one, volumes=[{"name": "e", "emptyDir": {}}]), one, tmp_path, values={"NAME": "web"}
        ).mounts
        return [(mount.source, mount.sub) for mount in mounts if mount.target == "/e"]

    assert mounted(subPath="a/b") == [(str(volume), "a/b")]
    assert (volume / "a/b").is_dir()
    assert mounted(subPathExpr="logs/$(NAME)") == [(str(volume), "logs/web")]
    assert (volume / "logs/web").is_dir()
    (volume / "file").touch()
    of = 'for volumeMount "e" of container "c"'
    for how, why in [
        ({"subPath": "out"}, f"failed to prepare subPath {of}"),
        ({"subPath": "file/new"}, f"failed to prepare subPath {of}"),
        ({"subPath": "out/new"}, f"failed to create subPath directory {of}"),
        ({"subPath": "../outside"}, "unable to provision SubPath `../outside`: must not contain '..'"),
        ({"subPath": "/outside"}, "error SubPath `/outside` must not be an absolute path"),
        ({"subPathExpr": "$(OTHER)/$(NAME)/$$(NO)/$(ANOTHER)"}, "missing value for ANOTHER, OTHER"),
    ]:
        with pytest.raises(ConfigError) as refused:
            mounted(**how)
        assert str(refused.value) == why
    assert list(outside.iterdir()) == []


@pytest.mark.parametrize("name", ["../outside", "/outside", "a/../../outside"])
def test_files_of_the_api_stay_in_their_volume(tmp_path, name):
    with pytest.raises(ValueError, match="is not below the volume"):
        atomic.write(tmp_path / "volume", {name: atomic.File(b"x", 0o644)})
    assert list(tmp_path.iterdir()) == []
