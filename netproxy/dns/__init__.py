"""Cluster DNS: ``zone`` says what names mean, ``answers`` puts it on the wire, ``server`` has the sockets."""
