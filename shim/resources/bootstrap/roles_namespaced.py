"""Roles that hold in one namespace alone, by namespace; their grammar is that of the other role files."""

from __future__ import annotations

NAMESPACED = {
    "kube-public": {
        "system:controller:bootstrap-signer": """
            read | core | configmaps
            update | core | configmaps | cluster-info
            create patch update | core events.k8s.io | events
        """,
    },
    "kube-system": {
        "extension-apiserver-authentication-reader": """
            read | core | configmaps | extension-apiserver-authentication
        """,
        "system::leader-locking-kube-controller-manager": """
            create get list update watch | coordination.k8s.io | leases
            create get list update watch | coordination.k8s.io | leasecandidates
        """,
        "system::leader-locking-kube-scheduler": """
            create get list update watch | coordination.k8s.io | leases
            create get list update watch | coordination.k8s.io | leasecandidates
        """,
        "system:controller:bootstrap-signer": """
            read | core | secrets
        """,
        "system:controller:cloud-provider": """
            create get list watch | core | configmaps
        """,
        "system:controller:token-cleaner": """
            delete get list watch | core | secrets
            create patch update | core events.k8s.io | events
        """,
    },
}
