"""Tokens of other issuers: which are believed, and which users their claims make.

``config`` reads ``--authentication-config``, ``claims`` turns claims into users, ``issuer`` knows an issuer's keys.
"""
