"""Who a pod is and whom it knows: its hostname, /etc/hosts and /etc/resolv.conf."""

from __future__ import annotations

from pathlib import Path

from shim.api.meta import Object

HOSTS_HEADER = "# Kubernetes-managed hosts file.\n"
HOSTS_HEADER_HOST_NETWORK = "# Kubernetes-managed hosts file (host network).\n"
LONGEST_HOSTNAME = 63
SEARCH_LIMIT, NAMESERVER_LIMIT = 32, 3


def hostname_of(pod: Object, cluster_domain: str, node_name: str = "") -> tuple[str, str]:
    """The hostname inside the pod and its domain (``""`` without a subdomain)."""
    spec, meta = pod["spec"], pod["metadata"]
    if spec.get("hostNetwork") and node_name:
        return node_name, ""
    if spec.get("hostnameOverride"):
        return str(spec["hostnameOverride"]), ""
    name = str(spec.get("hostname") or meta["name"])[:LONGEST_HOSTNAME].rstrip("-.")
    domain = f"{spec['subdomain']}.{meta['namespace']}.svc.{cluster_domain}" if spec.get("subdomain") else ""
    if spec.get("setHostnameAsFQDN") and domain:
        return f"{name}.{domain}", domain
    return name, domain


def hosts_file(pod: Object, ip: str, hostname: str, domain: str) -> str:
    """What the pod reads as /etc/hosts."""
    if pod["spec"].get("hostNetwork"):
        node = Path("/etc/hosts")
        text = HOSTS_HEADER_HOST_NETWORK + (node.read_text(errors="replace") if node.exists() else "")
    else:
        short = hostname.removesuffix(f".{domain}") if domain else hostname
        names = f"{short}.{domain}\t{short}" if domain else short
        text = (
            HOSTS_HEADER + "127.0.0.1\tlocalhost\n"
            "::1\tlocalhost ip6-localhost ip6-loopback\n"
            "fe00::0\tip6-localnet\n"
            "fe00::0\tip6-mcastprefix\n"
            "fe00::1\tip6-allnodes\n"
            "fe00::2\tip6-allrouters\n"
            f"{ip}\t{names}\n"
        )
    aliases = pod["spec"].get("hostAliases") or ()
    if aliases:
        text += "\n# Entries added by HostAliases.\n"
        text += "".join(f"{alias['ip']}\t" + "\t".join(alias.get("hostnames") or ()) + "\n" for alias in aliases)
    return text


def resolv_file(pod: Object, *, cluster_dns: str, cluster_domain: str, node: str) -> str:
    """What the pod reads as /etc/resolv.conf; ``node`` is the text of the node's own."""
    spec = pod["spec"]
    servers, search, options = _parse(node)
    policy = spec.get("dnsPolicy") or "ClusterFirst"
    if policy == "ClusterFirst" and spec.get("hostNetwork"):
        policy = "Default"
    if policy in ("ClusterFirst", "ClusterFirstWithHostNet"):
        namespace = pod["metadata"]["namespace"]
        servers = [cluster_dns]
        search = [f"{namespace}.svc.{cluster_domain}", f"svc.{cluster_domain}", cluster_domain, *search]
        options = ["ndots:5"]
    elif policy == "None":
        servers, search, options = [], [], []
    if config := spec.get("dnsConfig"):
        servers = list(dict.fromkeys([*servers, *(config.get("nameservers") or ())]))
        search = list(dict.fromkeys([*search, *(config.get("searches") or ())]))
        merged = {option.partition(":")[0]: option for option in options}
        for option in config.get("options") or ():
            value = option.get("value")
            merged[option["name"]] = f"{option['name']}:{value}" if value else option["name"]
        options = list(merged.values())
    lines = []
    if search:
        lines.append("search " + " ".join(search[:SEARCH_LIMIT]))
    lines += [f"nameserver {server}" for server in servers[:NAMESERVER_LIMIT]]
    if options:
        lines.append("options " + " ".join(options))
    return "\n".join(lines) + "\n"


def _parse(text: str) -> tuple[list[str], list[str], list[str]]:
    servers: list[str] = []
    search: list[str] = []
    options: list[str] = []
    for line in text.splitlines():
        match line.split():
            case ["nameserver", server, *_]:
                servers.append(server)
            case ["search", *domains]:
                search = [domain.rstrip(".") or "." for domain in domains]
            case ["options", *words]:
                options = words
    return servers, [domain for domain in search if domain != "."], options


def node_resolv() -> str:
    """The node's own resolv.conf; behind systemd's stub the real one, for 127.0.0.53 means nothing in a pod."""
    for name in ("/run/systemd/resolve/resolv.conf", "/etc/resolv.conf"):
        path = Path(name)
        if path.exists():
            return path.read_text(errors="replace")
    return ""
