"""What each value means of fields that take one of a few: ``kubectl explain`` shows it below the field.

Fields that take the same values mean the same by them; those whose values say all there is to say are not here.
"""

from __future__ import annotations

from collections.abc import Iterable

_MEANINGS: tuple[dict[str, str], ...] = (
    # pods
    {
        "Always": "pull the image each time a container starts.",
        "IfNotPresent": "pull the image only where the node has it not yet.",
        "Never": "use what the node has; without the image the container does not start.",
    },
    {
        "FallbackToLogsOnError": "read the file; if it is empty and the container failed, take the end of its log.",
        "File": "read the file at terminationMessagePath and nothing else.",
    },
    {
        "Localhost": "a profile from a file on the node.",
        "RuntimeDefault": "the profile that comes with the container runtime.",
        "Unconfined": "no profile: nothing is filtered.",
    },
    {
        "": "nothing is checked before the volume is mounted.",
        "BlockDevice": "a block device has to be there.",
        "CharDevice": "a character device has to be there.",
        "Directory": "a directory has to be there.",
        "DirectoryOrCreate": "an empty directory is made where there is nothing.",
        "File": "a file has to be there.",
        "FileOrCreate": "an empty file is made where there is nothing.",
        "Socket": "a Unix socket has to be there.",
    },
    {
        "Always": "owner and mode of the whole volume are set at every mount.",
        "OnRootMismatch": "they are set only where those of its root are not yet as they should be.",
    },
    {
        "Merge": "the groups of the image are joined with those that are named here.",
        "Strict": "only groups that are named here count; those of the image are left out.",
    },
    {
        "ClusterFirst": "ask the DNS of the cluster first, unless the pod is in the network of its node.",
        "ClusterFirstWithHostNet": "ask the DNS of the cluster first, also in the network of the node.",
        "Default": "ask whom the node asks.",
        "None": "ask whom dnsConfig names and nobody else.",
    },
    {
        "Never": "pods of this priority wait for room, and evict nobody.",
        "PreemptLowerPriority": "pods of lower priority may be evicted to make room.",
    },
    {
        "Failed": "all containers have ended, at least one of them in failure, and none starts again.",
        "Pending": "the pod is accepted, and some container does not run yet.",
        "Running": "it is bound to a node, and at least one container runs or is being restarted.",
        "Succeeded": "all containers have ended well, and none starts again.",
        "Unknown": "its node cannot be asked.",
    },
    {
        "BestEffort": "nothing is requested and nothing limited.",
        "Burstable": "something is requested or limited, but not everything alike.",
        "Guaranteed": "each container's limits of CPU and memory are its requests.",
    },
    {
        "Default": "the runtime hides what it hides by default.",
        "Unmasked": "nothing of /proc is hidden.",
    },
    {
        "Bidirectional": "mounts of the node show in the container, and those of the container on the node.",
        "HostToContainer": "mounts that the node makes later show in the container.",
        "None": "neither sees what the other mounts later.",
    },
    {
        "Honor": "nodes that the pod could not go to for this reason are left out of the count.",
        "Ignore": "all nodes count.",
    },
    {
        "DoNotSchedule": "the pod waits rather than break the constraint.",
        "ScheduleAnyway": "nodes that keep the constraint are preferred, no more.",
    },
    # nodes and their taints
    {
        "Pending": "the machine is made, and not set up yet.",
        "Running": "it is set up, and its components run.",
        "Terminated": "it is taken out of the cluster.",
    },
    {
        "NoExecute": "pods without a toleration are evicted, and none is placed here.",
        "NoSchedule": "no pods without a toleration are placed here; those that run stay.",
        "PreferNoSchedule": "pods without a toleration are placed here only when nowhere else is room.",
    },
    {
        "NoExecute": "pods that use the device without a toleration are evicted, and it is given to none.",
        "NoSchedule": "the device is not given to new pods without a toleration.",
        "None": "the taint tells something, and has no effect.",
    },
    # namespaces, quota
    {"Active": "objects can be made in it.", "Terminating": "it is being emptied, and then deleted."},
    {
        "BestEffort": "pods that request and limit nothing.",
        "CrossNamespacePodAffinity": "pods whose affinity looks at other namespaces.",
        "NotBestEffort": "pods that request or limit something.",
        "NotTerminating": "pods without activeDeadlineSeconds.",
        "PriorityClass": "pods of a priority class.",
        "Terminating": "pods with activeDeadlineSeconds.",
        "VolumeAttributesClass": "claims of a volume attributes class.",
    },
    # volumes
    {
        "InProgress": "the driver is at it.",
        "Infeasible": "the driver has refused it; another class may be asked for.",
        "Pending": "something it needs is missing, such as the class.",
    },
    {"Block": "a raw device, without a file system.", "Filesystem": "mounted, and formatted first if need be."},
    {
        "Bound": "it has a volume.",
        "Lost": "its volume is gone, and all data with it.",
        "Pending": "it has no volume yet.",
    },
    {
        "Delete": "the volume is deleted when its claim is.",
        "Recycle": "it is emptied and offered again; no longer to be used.",
        "Retain": "it is kept for its administrator to decide.",
    },
    {
        "Available": "no claim has it yet.",
        "Bound": "a claim has it.",
        "Failed": "it could not be deleted or emptied.",
        "Pending": "it is not ready yet.",
        "Released": "its claim is gone, and nobody has taken it back yet.",
    },
    {
        "Immediate": "a volume is made and bound as soon as there is a claim.",
        "WaitForFirstConsumer": "it is made and bound where the first pod that uses it goes.",
    },
    # Services and the network
    {"SCTP": "the Stream Control Transmission Protocol.", "TCP": "streams of bytes.", "UDP": "single packets."},
    {"HTTP": "plain, as http://.", "HTTPS": "over TLS, as https://; the certificate is not checked."},
    {
        "Cluster": "packets go to endpoints on any node.",
        "Local": "they go only to endpoints on the node they came to; where there are none they are dropped.",
    },
    {
        "PreferDualStack": "addresses of both families where the cluster has both, else of one.",
        "RequireDualStack": "addresses of both families, or the Service is refused.",
        "SingleStack": "an address of one family.",
    },
    {
        "ClientIP": "one client is always sent to the same endpoint.",
        "None": "each connection may go to another endpoint.",
    },
    {
        "ClusterIP": "reached inside the cluster, by an address of its own.",
        "ExternalName": "another name for something outside, told by DNS; nothing is forwarded.",
        "LoadBalancer": "like NodePort, with a load balancer of the provider in front.",
        "NodePort": "like ClusterIP, and at a port of each node.",
    },
    {
        "FQDN": "the addresses are names.",
        "IPv4": "the addresses are IPv4.",
        "IPv6": "the addresses are IPv6.",
    },
    {
        "Exact": "the whole path has to be the same, in upper and lower case too.",
        "ImplementationSpecific": "what matches is for the class of the Ingress to say.",
        "Prefix": "the first elements of the path, between slashes, have to be the same.",
    },
    # admission
    {
        "Equivalent": "requests for another version of a resource match as well; they are converted.",
        "Exact": "only requests for what the rules name literally match.",
    },
    {
        "Fail": "a failure to evaluate or to call refuses the request.",
        "Ignore": "such a failure is passed over.",
    },
    {
        "IfNeeded": "it is asked once more when others have changed the object after it.",
        "Never": "it is asked once for each request.",
    },
    {
        "None": "calls change nothing elsewhere.",
        "NoneOnDryRun": "calls change nothing elsewhere when the request is a dry run.",
        "Some": "calls change something elsewhere; dry runs are refused.",
        "Unknown": "nobody knows; dry runs are refused.",
    },
    {
        "ApplyConfiguration": "merged as by server-side apply.",
        "JSONPatch": "a list of operations as of RFC 6902.",
    },
    {
        "*": "resources of both kinds.",
        "Cluster": "resources that are in no namespace.",
        "Namespaced": "resources that are in namespaces.",
    },
    {
        "FieldValueDuplicate": "the value has to be unique, and is not.",
        "FieldValueForbidden": "no value is allowed here, or not this one.",
        "FieldValueInvalid": "the value is wrong.",
        "FieldValueRequired": "a value is missing.",
    },
    # workloads
    {
        "OnDelete": "a pod is replaced when somebody deletes it.",
        "RollingUpdate": "pods are replaced by new ones step by step.",
    },
    {
        "Recreate": "all old pods end before new ones are made.",
        "RollingUpdate": "new pods are made and old ones end step by step.",
    },
    {
        "OrderedReady": "pods are made one after the other, and end in the opposite order.",
        "Parallel": "pods are made and end all at once.",
    },
    {
        "Allow": "runs may overlap.",
        "Forbid": "a run is left out while the one before is not finished.",
        "Replace": "the run under way is ended for the new one.",
    },
    {
        "Indexed": "each pod has an index, and the job is done when one of each has succeeded.",
        "NonIndexed": "the job is done when so many pods have succeeded.",
    },
    {
        "Failed": "a pod is replaced when it has failed for good.",
        "TerminatingOrFailed": "it is replaced as soon as it is being deleted, or has failed.",
    },
    {
        "Count": "the failure counts, as without a rule.",
        "FailIndex": "the index has failed, and is not tried again.",
        "FailJob": "the whole job has failed, and its pods are ended.",
        "Ignore": "the pod is replaced, and its failure is not counted.",
    },
    {
        "AlwaysAllow": "pods that are not ready can be evicted whatever the budget says.",
        "IfHealthyBudget": "they can be evicted while enough others are ready.",
    },
)
_BY_VALUES = {frozenset(meanings): meanings for meanings in _MEANINGS}


def meanings(values: Iterable[str]) -> dict[str, str]:
    """By the values of a field what they mean; empty where nothing is told of them."""
    return _BY_VALUES.get(frozenset(values), {})
