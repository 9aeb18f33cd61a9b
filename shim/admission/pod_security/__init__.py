"""The Pod Security Standards (https://kubernetes.io/docs/concepts/security/pod-security-standards/), by namespace.

``policy`` reads a namespace's labels, ``checks`` judges a pod by a level in a version, ``plugin`` asks both at each
write of a pod, of what has pods, and of a namespace.
"""
