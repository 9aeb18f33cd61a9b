"""Who asks? What an extension server is told in headers, which it believes because of our certificate (``trust``)."""

from __future__ import annotations

from urllib.parse import quote

from multidict import CIMultiDict

from shim.api.status import internal
from shim.server.users import MASTERS, User

USER, UID, GROUP, EXTRA = "X-Remote-User", "X-Remote-Uid", "X-Remote-Group", "X-Remote-Extra-"
AGGREGATOR = User("system:kube-aggregator", (MASTERS,))
"""Who asks when no client does: one who may read everything, so that what there is is told whole."""
_TOKEN = "!#$&'*+-.^_`|~"  # what a header's name may hold beside letters and digits (RFC 9110, section 5.6.2)


def headers_of(user: User) -> CIMultiDict[str]:
    """Raises ApiError for a user whose name would become more than one header."""
    told: CIMultiDict[str] = CIMultiDict({USER: user.name})
    if user.uid:
        told[UID] = user.uid
    for group in user.groups:
        told.add(GROUP, group)
    for key, values in user.extra.items():
        for value in values:
            told.add(EXTRA + quote(key, safe=_TOKEN), value)
    if any(character in value for value in told.values() for character in "\r\n\0"):
        raise internal("the user cannot be told to an extension server")
    return told
