"""Which commands would do what ``init.py`` does by system calls? Pure: a request in, command lines out."""

from __future__ import annotations

from collections.abc import Mapping

from nodeagent.engine import wire
from nodeagent.linux import capabilities
from nodeagent.linux.steps import quote

_LONGEST = 120  # of a value that is shown in full


def move(files: list[str]) -> list[str]:
    """Into other cgroups."""
    return [f"echo $$ > {path}" for path in files]


def overlay(root: wire.RootRequest) -> list[str]:
    folder = quote(root["directory"])
    options = f"lowerdir={':'.join(root['lower'])},upperdir={folder}/upper,workdir={folder}/work"
    lines = [f"cd {quote(root['layers'])}", f"mount -t overlay overlay -o {options} {folder}/rootfs"]
    for place, source in root["trees"].items():
        name = place.strip("/").replace("/", "-")
        options = f"lowerdir={source},upperdir={folder}/{name}.upper,workdir={folder}/{name}.work"
        lines.append(f"mount -t overlay overlay -o {options} {folder}/rootfs{place}")
    return lines


def kernel_files(request: wire.ContainerRequest) -> list[str]:
    options = "nosuid,nodev,noexec"
    lines = [f"mount -t proc proc /proc -o {options}", f"mount -t sysfs sysfs /sys -o {options}"]
    for name, fstype, more in request["cgroup_mounts"]:
        place = f"/sys/fs/cgroup/{name}".rstrip("/")
        lines.append(f"mount -t {fstype} cgroup {place} -o {','.join(filter(None, (options, more)))}")
    if not request["privileged"]:
        lines.append("mount -o remount,bind,ro /sys  # and the cgroups below")
    return lines


def devices(nodes: Mapping[str, tuple[int, int]], shm: str) -> list[str]:
    return [
        "mount -t tmpfs tmpfs /dev -o nosuid,mode=755,size=64m",
        "mount -t devpts devpts /dev/pts -o newinstance,ptmxmode=0666,mode=0620,gid=5",
        "mount -t mqueue mqueue /dev/mqueue",
        f"mount --bind {quote(shm)} /dev/shm",
        *(f"mknod -m 666 /dev/{name} c {major} {minor}" for name, (major, minor) in nodes.items()),
    ]


def mount(request: wire.MountRequest) -> list[str]:
    target = quote(request["target"])
    if request["kind"] == "tmpfs":
        return [f"mount -t tmpfs tmpfs {target} -o nosuid,nodev,{request['options']}".rstrip(",")]
    if (image := request["image"]) is not None:
        layers = ":".join(f"{image['layers']}/{name}" for name in image["lower"])
        scratch = quote(image["scratch"])
        made = f"mount -t overlay overlay -o ro,lowerdir={layers} {scratch}"
        part = f"{scratch}/{image['sub']}" if image["sub"] else scratch
        return [made, f"mount --bind -o ro {part} {target}"]
    options = " -o ro" if request["readonly"] else ""
    source = "/".join(filter(None, (request["source"], request["sub"])))
    lines = [f"mount --rbind{options} {quote(source)} {target}"]
    if request["propagation"] != "private":
        lines.append(f"mount --make-{request['propagation']} {target}")
    return lines


def protect(request: wire.ContainerRequest) -> list[str]:
    lines = [f"mount --bind -o ro {path} {path}" for path in request["readonly_paths"]]
    return lines + [f"mount --bind /dev/null {path}  # a folder: an empty tmpfs" for path in request["masked_paths"]]


def run(process: wire.ProcessRequest) -> list[str]:
    """The program, and what is taken away from it before: powers, system calls, another user."""
    held = [name.removeprefix("CAP_").lower() for name in capabilities.of_mask(process["capabilities"])]
    every = len(held) == len(capabilities.NAMES)
    bounds = "" if every else f" --bounding-set -all{''.join(f',+{name}' for name in held)}"
    new = " --no-new-privs" if process["no_new_privileges"] else ""
    user, _, group = process["user"].partition(":")
    who = f" --reuid {user or '0'} --regid {group or user or '0'}"
    lines = ["# and a seccomp filter, which no shell command installs"] if process["seccomp"] else []
    program = " ".join(quote(word if len(word) <= _LONGEST else word[:_LONGEST] + "…") for word in process["argv"])
    return [*lines, f"exec setpriv{who}{bounds}{new} -- {program}"]
