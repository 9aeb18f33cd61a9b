"""Every setting of every part of shim, with its default and the reason for it.

The command line is made from these dataclasses (see ``shim.cli``), so that a flag, its default and its help
text stand in one place. The node parts have theirs in ``nodeagent.settings`` and ``netproxy.settings``.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from shim.api.flags import flag
from shim.api.version import MINOR

VERSION = f"v1.{MINOR}"
CONTROLLERS_PORT, SCHEDULER_PORT = 10257, 10259  # upstream's


@dataclass(frozen=True, slots=True)
class ApiServerSettings:
    """``shim apiserver``: the API server with its store. Needs no root."""

    data_dir: Path = flag("where the store, the certificates and the admin kubeconfig live")
    port: int = flag("port for HTTPS; 0 picks a free one", 6443)
    bind: tuple[str, ...] = flag("addresses to listen on; the first is in the admin kubeconfig", ("127.0.0.1",))
    advertise_address: str = flag("address pods reach this server at (endpoint of the kubernetes Service)", "")
    service_cidr: str = flag("addresses for Services; the first is the kubernetes Service's", "10.96.0.0/16")
    node_port_range: str = flag("ports for NodePort Services", "30000-32767")
    store: str = flag("etcd://[user:password@]host:port,host:port; empty: a file in the data directory", "")
    etcd_cafile: Path | None = flag("certificate of the authority of etcd's members; with it TLS is spoken", None)
    etcd_certfile: Path | None = flag("certificate to show to etcd's members", None)
    etcd_keyfile: Path | None = flag("key of that certificate", None)
    encryption_provider_config: Path | None = flag("which resources are encrypted in the store; empty: none", None)
    encryption_provider_config_automatic_reload: bool = flag("take up changes of that file within a minute", False)
    event_ttl: float = flag("seconds an event is kept after it was last written", 3600.0)
    max_requests_inflight: int = flag(
        "requests that read under way at once; with the next flag: seats that priority levels share", 400
    )
    max_mutating_requests_inflight: int = flag("the same of requests that write", 200)
    enable_priority_and_fairness: bool = flag(
        "queue requests by FlowSchemas and PriorityLevelConfigurations; false: by the two limits alone", True
    )
    request_timeout: float = flag("seconds a request may take that is no watch, log or stream", 60.0)
    authorization_mode: str = flag("RBAC, or AlwaysAllow for test suites that want an open server", "RBAC")
    enable_admission_plugins: tuple[str, ...] = flag(
        "admission plugins to run beside those of upstream's default; a node writes what is its own, as kubeadm has it",
        ("NodeRestriction",),
    )
    authentication_config: Path | None = flag("issuers whose tokens are believed, and where nobody may be nobody", None)
    anonymous_auth: bool = flag("let requests without credentials be those of system:anonymous", True)
    requestheader_client_ca_file: Path | None = flag("CA of proxies that name users in headers; empty: none may", None)
    requestheader_allowed_names: tuple[str, ...] = flag("common names of such proxies; empty: any of that CA", ())
    requestheader_username_headers: tuple[str, ...] = flag("headers that name the user", ("X-Remote-User",))
    requestheader_uid_headers: tuple[str, ...] = flag("headers that name its uid", ("X-Remote-Uid",))
    requestheader_group_headers: tuple[str, ...] = flag("headers that name its groups", ("X-Remote-Group",))
    requestheader_extra_headers_prefix: tuple[str, ...] = flag("begins of headers with more", ("X-Remote-Extra-",))
    audit_policy_file: Path | None = flag("of which requests the audit log tells; empty: there is none", None)
    audit_log_path: str = flag("file of the audit log; - is standard output", "")
    audit_log_maxsize: int = flag("megabytes until the file is put aside; 0: 100", 0)
    audit_log_maxage: int = flag("days such files are kept; 0: for ever", 0)
    audit_log_maxbackup: int = flag("how many of them are kept; 0: all", 0)
    service_account_issuer: tuple[str, ...] = flag(
        "who tokens are from; the first signs, the others are believed", ("https://kubernetes.default.svc",)
    )
    service_account_key_file: tuple[str, ...] = flag("keys that tokens may be signed with; empty: pki/sa.pub", ())
    service_account_signing_key_file: Path | None = flag("key that signs tokens; empty: pki/sa.key", None)
    service_account_jwks_uri: str = flag("where others find these keys; empty: below the issuer", "")
    service_account_max_token_expiration: float = flag("seconds a token may be asked for; 0: no limit", 0.0)
    service_account_extend_token_expiration: bool = flag("let tokens of pods live a year, as upstream does", True)
    api_audiences: tuple[str, ...] = flag("whom tokens for this server name; empty: the issuers", ())
    scheduler_address: str = flag(
        "where the scheduler says how it is, for componentstatuses", f"127.0.0.1:{SCHEDULER_PORT}"
    )
    controllers_address: str = flag("where the controllers say how they are", f"127.0.0.1:{CONTROLLERS_PORT}")
    metric_resolution: float = flag("seconds between looks at kubelets for metrics.k8s.io; 0 does not serve it", 0.0)
    disable_admission_plugins: tuple[str, ...] = flag("admission plugins of upstream's default not to run", ())


@dataclass(frozen=True, slots=True)
class ControllerSettings:
    """``shim controllers``: the controller manager."""

    kubeconfig: Path = flag("how to reach the API server")
    leader_elect: str = flag("name of this one among several, of which one works by a Lease; empty: it is alone", "")
    cluster_cidr: str = flag("addresses for pods; each node is given a /24 of it", "10.244.0.0/16")
    cluster_dns: str = flag("address for the Service kube-dns; empty: there is none", "")
    service_cidr: str = flag("addresses for Services, told to machines that join", "10.96.0.0/16")
    public_url: str = flag("where other machines reach the API server; published, so that they can join", "")
    root_ca_file: Path | None = flag("certificate published to every namespace as kube-root-ca.crt", None)
    service_account_private_key_file: Path | None = flag("signs the tokens that lie in Secrets; empty: none are", None)
    local_path: Path = flag("folder on each node for volumes made on demand", Path("/var/lib/shim-volumes"))
    cluster_signing_cert_file: Path | None = flag("CA that signs what CertificateSigningRequests ask for", None)
    cluster_signing_key_file: Path | None = flag("its private key; without both, nothing is signed", None)
    node_monitor_grace_period: float = flag("seconds without a lease renewal until a node is NotReady", 40.0)
    bind_address: str = flag("address to show health and metrics at", "127.0.0.1")
    secure_port: int = flag("port to show them at", CONTROLLERS_PORT)
    tls_cert_file: Path | None = flag("certificate of that port; without one nothing is shown", None)
    tls_private_key_file: Path | None = flag("key of that certificate", None)
    client_ca_file: Path | None = flag("CA of certificates of those who look; others have tokens", None)


@dataclass(frozen=True, slots=True)
class SchedulerSettings:
    """``shim scheduler``: places pods on nodes."""

    kubeconfig: Path = flag("how to reach the API server")
    config: Path | None = flag("KubeSchedulerConfiguration with profiles; without one there is the default one", None)
    leader_elect: str = flag("name of this one among several, of which one works by a Lease; empty: it is alone", "")
    bind_address: str = flag("address to show health and metrics at", "127.0.0.1")
    secure_port: int = flag("port to show them at", SCHEDULER_PORT)
    tls_cert_file: Path | None = flag("certificate of that port; without one nothing is shown", None)
    tls_private_key_file: Path | None = flag("key of that certificate", None)
    client_ca_file: Path | None = flag("CA of certificates of those who look; others have tokens", None)
