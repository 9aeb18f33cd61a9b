"""This kubelet's settings in the words of upstream's KubeletConfiguration, for ``/configz``. Pure."""

from __future__ import annotations

from nodeagent.kubelet import logrotate, node, nodeinfo, restarts, shutdown
from nodeagent.kubelet.eviction import evictions, thresholds
from nodeagent.kubelet.statics import folder, page
from nodeagent.settings import NodeAgentSettings
from shim.api import quantity
from shim.api.duration import go_duration
from shim.api.meta import Object
from shim.client import reviews


def configuration(settings: NodeAgentSettings) -> Object:
    """Only what there is here; the rest of upstream's settings has no counterpart."""
    return {
        "kind": "KubeletConfiguration",
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "address": settings.node_ip,
        **({"allowedUnsafeSysctls": list(unsafe)} if (unsafe := settings.allowed_unsafe_sysctls) else {}),
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True, "cacheTTL": go_duration(reviews.KNOWN_FOR)},
            "x509": {"clientCAFile": str(settings.client_ca)},
        },
        "authorization": {
            "mode": "Webhook",
            "webhook": {
                "cacheAuthorizedTTL": go_duration(reviews.ALLOWED_FOR),
                "cacheUnauthorizedTTL": go_duration(reviews.DENIED_FOR),
            },
        },
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{settings.cgroup_root}",
        "clusterDNS": [settings.cluster_dns],
        "clusterDomain": settings.cluster_domain,
        "configMapAndSecretChangeDetectionStrategy": "Watch",
        "containerLogMaxFiles": logrotate.KEPT,
        "containerLogMaxSize": quantity.canonical(f"{logrotate.LIMIT >> 10}Ki"),
        "containerLogMaxWorkers": 1,
        "containerLogMonitorInterval": go_duration(logrotate.EVERY),
        "cpuCFSQuota": True,
        "cpuCFSQuotaPeriod": "100ms",
        "cpuManagerPolicy": "none",
        "crashLoopBackOff": {"maxContainerRestartPeriod": go_duration(restarts.LONGEST)},
        "cgroupsPerQOS": True,
        "enableDebugFlagsHandler": False,
        "enableDebuggingHandlers": True,
        "enableProfilingHandler": False,
        "enableServer": True,
        "enableSystemLogHandler": True,
        "enableSystemLogQuery": True,
        "enforceNodeAllocatable": ["pods"],
        "evictionHard": _by_signal(settings.eviction_hard, "<"),
        "evictionMaxPodGracePeriod": settings.eviction_max_pod_grace_period,
        "evictionMinimumReclaim": _by_signal(settings.eviction_minimum_reclaim, "="),
        "evictionPressureTransitionPeriod": go_duration(settings.eviction_pressure_transition_seconds),
        "evictionSoft": _by_signal(settings.eviction_soft, "<"),
        "evictionSoftGracePeriod": _by_signal(settings.eviction_soft_grace_period, "="),
        "failCgroupV1": False,
        "failSwapOn": False,
        "fileCheckFrequency": go_duration(folder.READ_AGAIN),
        "healthzPort": 0,
        "httpCheckFrequency": go_duration(page.ASK_AGAIN),
        "housekeepingInterval": go_duration(evictions.LOOK_EVERY),
        "imageGCHighThresholdPercent": settings.image_gc_high_threshold,
        "imageGCLowThresholdPercent": settings.image_gc_low_threshold,
        "imagePullCredentialsVerificationPolicy": settings.image_pull_credentials_verification_policy,
        "preloadedImagesVerificationAllowlist": list(settings.preloaded_images_verification_allowlist),
        "imageMaximumGCAge": go_duration(settings.image_maximum_gc_age),
        "imageMinimumGCAge": go_duration(settings.image_minimum_gc_age),
        "kubeReserved": _by_signal(settings.kube_reserved, "="),
        "localStorageCapacityIsolation": True,
        "makeIPTablesUtilChains": False,
        "maxPods": settings.max_pods,
        "memoryManagerPolicy": "None",
        "memorySwap": {"swapBehavior": settings.swap_behavior},
        "nodeLeaseDurationSeconds": node.LEASE_SECONDS,
        "nodeStatusMaxImages": nodeinfo.IMAGES_SHOWN,
        "nodeStatusReportFrequency": go_duration(node.REPORT_EVERY),
        **({"podCIDR": settings.pod_cidr} if settings.pod_cidr else {}),
        "podPidsLimit": settings.pod_pids_limit,
        "port": settings.port,
        "podLogsDir": str(settings.data_dir / "logs" / "pods"),
        "readOnlyPort": settings.read_only_port,
        "registerNode": True,
        "seccompDefault": settings.seccomp_default,
        "serializeImagePulls": False,
        **_shutdown(settings),
        **({"staticPodPath": settings.pod_manifest_path} if settings.pod_manifest_path else {}),
        **({"staticPodURL": settings.manifest_url} if settings.manifest_url else {}),
        "systemReserved": _by_signal(settings.system_reserved, "="),
        "tlsCertFile": str(settings.tls_cert),
        "tlsPrivateKeyFile": str(settings.tls_key),
        "topologyManagerPolicy": "none",
        "topologyManagerScope": "container",
    }


def _shutdown(settings: NodeAgentSettings) -> Object:
    if not settings.shutdown_grace_period_by_pod_priority:
        whole, critical = settings.shutdown_grace_period, settings.shutdown_grace_period_critical_pods
        return {"shutdownGracePeriod": whole, "shutdownGracePeriodCriticalPods": critical}
    listed = [
        {"priority": period.priority, "shutdownGracePeriodSeconds": period.seconds}
        for period in shutdown.periods(settings)
    ]
    return {"shutdownGracePeriodByPodPriority": listed}


def _by_signal(text: str, sign: str) -> dict[str, str]:
    return dict(thresholds.split(text, sign))
