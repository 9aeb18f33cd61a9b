"""Who brings a bootstrap token? ``system:bootstrap:ID``, while its Secret in kube-system is there and says so."""

from __future__ import annotations

import datetime
import hmac
import logging

from shim.api import bootstrap_tokens
from shim.server.users import AUTHENTICATED, User
from shim.store.cache import Cache

log = logging.getLogger(__name__)

_SECRETS = f"/registry/secrets/{bootstrap_tokens.NAMESPACE}/{bootstrap_tokens.PREFIX}"


def bearer(cache: Cache, text: str) -> User | None:
    """The user this token stands for; None when it is none, or not (or no longer) good."""
    parsed = bootstrap_tokens.parse(text)
    entry = cache.get(_SECRETS + parsed[0]) if parsed else None
    if parsed is None or entry is None:
        return None
    stored = entry.decode()
    if stored["metadata"].get("deletionTimestamp"):
        return None
    try:
        token = bootstrap_tokens.read(stored)
    except ValueError as error:
        log.info("bootstrap token is refused: %s", error)
        return None
    good = hmac.compare_digest(token.secret, parsed[1]) and "authentication" in token.usages
    if not good or token.is_expired(datetime.datetime.now(datetime.UTC)):
        return None
    groups = sorted({bootstrap_tokens.GROUP, *token.groups})
    return User(bootstrap_tokens.USER_PREFIX + token.id, (*groups, AUTHENTICATED))
