"""Cluster DNS: names of Services and pods, answered on every node from watched objects."""
