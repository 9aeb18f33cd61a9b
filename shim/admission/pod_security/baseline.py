"""What a pod may not do at the level ``baseline``: the known ways out of its container. Pure."""

from __future__ import annotations

from shim.admission.pod_security.words import (
    Annotations,
    Check,
    Refusal,
    containers,
    named,
    names_of,
    plural,
    quoted,
    security,
    setters,
)
from shim.api.meta import Object

_APPARMOR = "container.apparmor.security.beta.kubernetes.io/"
_PROFILES = ("RuntimeDefault", "Localhost")


def profile_type(context: Object, field: str) -> str | None:
    """The type of a profile, if it is none that is allowed."""
    profile = context.get(field)
    kind = None if profile is None else str(profile.get("type") or "")
    return None if kind in _PROFILES else kind


def profile_types(spec: Object, field: str) -> list[str]:
    holders = (spec, *containers(spec))
    return sorted({kind for each in holders if (kind := profile_type(security(each), field)) is not None})


def apparmor(annotations: Annotations, spec: Object) -> Refusal | None:
    values = profile_types(spec, "appArmorProfile")
    who = setters(spec, lambda context: profile_type(context, "appArmorProfile") is not None)
    marks = sorted(
        f'{key}="{value}"'
        for key, value in annotations.items()
        if key.startswith(_APPARMOR) and value not in ("", "runtime/default") and not value.startswith("localhost/")
    )
    if marks:
        who = " and ".join(filter(None, (who, plural("annotation", marks))))
    if not who:
        return None
    values += marks
    reason = plural("forbidden AppArmor profile", values)
    return Refusal(reason, f"{who} must not set AppArmor profile type to {quoted(values)}")


_DEFAULT_CAPABILITIES = frozenset(
    "AUDIT_WRITE CHOWN DAC_OVERRIDE FOWNER FSETID KILL MKNOD NET_BIND_SERVICE SETFCAP SETGID SETPCAP SETUID "
    "SYS_CHROOT".split()
)


def added_by(container: Object) -> set[str]:
    return set((security(container).get("capabilities") or {}).get("add") or ())


def beyond(spec: Object, allowed: frozenset[str]) -> str:
    names = names_of(spec, lambda container: added_by(container) - allowed)
    if not names:
        return ""
    added = sorted({each for container in containers(spec) for each in added_by(container) - allowed})
    return f"{named(names)} must not include {quoted(added)} in securityContext.capabilities.add"


def capabilities(_: Annotations, spec: Object) -> Refusal | None:
    detail = beyond(spec, _DEFAULT_CAPABILITIES)
    return Refusal("non-default capabilities", detail) if detail else None


def host_namespaces(_: Annotations, spec: Object) -> Refusal | None:
    shared = [f"{field}=true" for field in ("hostNetwork", "hostPID", "hostIPC") if spec.get(field)]
    return Refusal("host namespaces", ", ".join(shared)) if shared else None


def host_paths(_: Annotations, spec: Object) -> Refusal | None:
    names = [each.get("name", "") for each in spec.get("volumes") or () if each.get("hostPath") is not None]
    return Refusal("hostPath volumes", f"{plural('volume', names)} {quoted(names)}") if names else None


def _host_ports_of(container: Object) -> set[str]:
    return {str(port["hostPort"]) for port in container.get("ports") or () if port.get("hostPort")}


def host_ports(_: Annotations, spec: Object) -> Refusal | None:
    names = names_of(spec, _host_ports_of)
    if not names:
        return None
    ports = sorted({port for each in containers(spec) for port in _host_ports_of(each)})
    verb = "uses" if len(names) == 1 else "use"
    return Refusal("hostPort", f"{named(names)} {verb} {plural('hostPort', ports)} {', '.join(ports)}")


def _hosts_of(container: Object) -> set[str]:
    """Other hosts that probes and hooks would reach."""
    lifecycle = container.get("lifecycle") or {}
    handlers = [container.get(f"{kind}Probe") for kind in ("liveness", "readiness", "startup")]
    handlers += [lifecycle.get("postStart"), lifecycle.get("preStop")]
    actions = ((handler or {}).get(action) or {} for handler in handlers for action in ("httpGet", "tcpSocket"))
    return {action["host"] for action in actions if action.get("host")}


def probe_hosts(_: Annotations, spec: Object) -> Refusal | None:
    names = sorted(set(names_of(spec, _hosts_of)))
    if not names:
        return None
    reason = "probe or lifecycle host"
    hosts = sorted({host for each in containers(spec) for host in _hosts_of(each)})
    verb = "uses" if len(names) == 1 else "use"
    return Refusal(reason, f"{named(names)} {verb} {plural(reason, hosts)} {quoted(hosts)}")


def privileged(_: Annotations, spec: Object) -> Refusal | None:
    names = names_of(spec, lambda container: security(container).get("privileged"))
    return Refusal("privileged", f"{named(names)} must not set securityContext.privileged=true") if names else None


def _proc_mount_of(container: Object) -> str | None:
    kind = security(container).get("procMount")
    return None if kind in (None, "Default") else str(kind)


def proc_mount(_: Annotations, spec: Object) -> Refusal | None:
    names = names_of(spec, lambda container: _proc_mount_of(container) is not None)
    if not names:
        return None
    kinds = sorted({kind for each in containers(spec) if (kind := _proc_mount_of(each)) is not None})
    return Refusal("procMount", f"{named(names)} must not set securityContext.procMount to {quoted(kinds)}")


SELINUX = frozenset(("", "container_t", "container_init_t", "container_kvm_t"))


def selinux(allowed: frozenset[str]) -> Check:
    def options(holder: Object) -> Object:
        found: Object = security(holder).get("seLinuxOptions") or {}
        return found

    def is_bad(context: Object) -> bool:
        found = context.get("seLinuxOptions") or {}
        return (found.get("type") or "") not in allowed or bool(found.get("user") or found.get("role"))

    def check(_: Annotations, spec: Object) -> Refusal | None:
        who = setters(spec, is_bad)
        if not who:
            return None
        found = [options(each) for each in (spec, *containers(spec))]
        types = sorted({each["type"] for each in found if (each.get("type") or "") not in allowed})
        what = [f"{plural('type', types)} {quoted(types)}"] if types else []
        what += [f"{field} may not be set" for field in ("user", "role") if any(each.get(field) for each in found)]
        return Refusal("seLinuxOptions", f"{who} set forbidden securityContext.seLinuxOptions: {'; '.join(what)}")

    return check


_SECCOMP_POD = "seccomp.security.alpha.kubernetes.io/pod"
_SECCOMP_CONTAINER = "container.seccomp.security.alpha.kubernetes.io/"


def seccomp_annotations(annotations: Annotations, spec: Object) -> Refusal | None:
    """Before 1.19 there was no field."""
    keys = {_SECCOMP_POD, *(f"{_SECCOMP_CONTAINER}{each.get('name', '')}" for each in containers(spec))}
    bad = sorted(
        f'{key}="{annotations[key]}"'
        for key in keys & annotations.keys()
        if annotations[key] not in ("runtime/default", "docker/default")
        and not annotations[key].startswith("localhost/")
    )
    return Refusal("seccompProfile", f"forbidden {plural('annotation', bad)} {', '.join(bad)}") if bad else None


def seccomp(_: Annotations, spec: Object) -> Refusal | None:
    who = setters(spec, lambda context: profile_type(context, "seccompProfile") is not None)
    if not who:
        return None
    values = quoted(profile_types(spec, "seccompProfile"))
    return Refusal("seccompProfile", f"{who} must not set securityContext.seccompProfile.type to {values}")


SAFE_SYSCTLS = (
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.ping_group_range",
    "net.ipv4.ip_unprivileged_port_start",
)
SINCE_27 = (*SAFE_SYSCTLS, "net.ipv4.ip_local_reserved_ports")
SINCE_29 = (
    *SINCE_27,
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
)
SINCE_32 = (*SINCE_29, "net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem")


def sysctls(allowed: tuple[str, ...]) -> Check:
    def check(_: Annotations, spec: Object) -> Refusal | None:
        names = [each.get("name", "") for each in security(spec).get("sysctls") or ()]
        bad = [name for name in names if name not in allowed]
        return Refusal("forbidden sysctls", ", ".join(bad)) if bad else None

    return check


def host_process(_: Annotations, spec: Object) -> Refusal | None:
    names = names_of(spec, lambda container: (security(container).get("windowsOptions") or {}).get("hostProcess"))
    who = ["pod"] if (security(spec).get("windowsOptions") or {}).get("hostProcess") else []
    who += [named(names)] if names else []
    if not who:
        return None
    return Refusal("hostProcess", f"{' and '.join(who)} must not set securityContext.windowsOptions.hostProcess=true")
