"""How does a machine become part of a cluster? With a token: it finds the cluster, and is given its certificates.

``discovery`` trusts the cluster, ``certificates`` asks for what says who we are, ``node`` and ``master`` use both.
"""
