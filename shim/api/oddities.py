"""What does a client send that is never stored, and yet is seen by some on the way? Decoding keeps it for them.

Go drops an empty list or map only when it prints an object. Until then a rule may tell it from an absent one, and
whoever sent it owns the field if it is one that is always printed. Fields of features that are off are taken out
once managedFields were written, so their senders own them, too.
"""

from __future__ import annotations

from enum import Enum, auto


class Oddity(Enum):
    """Of what an object has, until :func:`shim.api.decoding.prune` takes it away."""

    ALPHA = auto()  # a field of a feature that is off
    PRINTED = auto()  # an empty list or map of a field that is always printed
    TOLD = auto()  # an empty list or map that a rule of the field's kind tells from an absent one


EMPTIES = frozenset((Oddity.PRINTED, Oddity.TOLD))
"""What rules are shown."""
OWNED = frozenset((Oddity.ALPHA, Oddity.PRINTED))
"""What managedFields are made of."""

ALPHA = {
    "CSIDriverSpec": ("preventPodSchedulingIfMissing",),
    "Lifecycle": ("stopSignal",),
    "PodSpec": ("schedulingGroup",),
    "PodStatus": ("nodeAllocatableResourceClaimStatuses",),
}
"""Fields of v1.36 whose features are off, by struct."""

TOLD = {
    "CSINodeDriver": ("topologyKeys",),
    "DeviceClaim": ("config", "constraints"),
    "DeviceClaimConfiguration": ("requests",),
    "DeviceConstraint": ("requests",),
    "DeviceRequest": ("firstAvailable",),
    "EphemeralContainer": ("ports", "resizePolicy", "restartPolicyRules"),
    "JSONSchemaProps": ("allOf", "anyOf", "definitions", "dependencies", "enum", "oneOf", "patternProperties"),
    "ExactDeviceRequest": ("selectors",),
    "HPAScalingRules": ("policies",),
    "ObjectMeta": ("finalizers", "labels", "managedFields", "ownerReferences"),
    "PersistentVolumeClaimSpec": ("accessModes",),
    "PersistentVolumeSpec": ("capacity",),
    "PodFailurePolicyOnExitCodesRequirement": ("values",),
    "PodSecurityContext": ("supplementalGroups",),
    "PodSpec": ("overhead",),
    "ResourceQuotaSpec": ("scopes",),
    "ResourceRequirements": ("claims", "limits", "requests"),
    "ResourceSliceSpec": ("devices", "sharedCounters"),
    "StorageClass": ("parameters",),
    "SuccessPolicy": ("rules",),
    "VolumeResourceRequirements": ("limits", "requests"),
}
"""Fields of which some rule tells an empty value from an absent one, by struct."""
