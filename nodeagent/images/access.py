"""Who may use an image that is here already? Whoever could have pulled it. Pure. See KEP-2535.

An image that was pulled with a credential was shown to one who had that. Kept with it, by repository, is ``ANYONE``,
or of each Secret that opened it where it is and a digest of what it says: ``{"namespace/name/uid": "…"}``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence

from nodeagent.images.credentials import Credential

ANYONE = "anyone"
Access = Mapping[str, str | Mapping[str, str]]
"""By repository."""


def digest(credential: Credential) -> str:
    """Of the name and the password: they may be in more than one Secret."""
    told = [credential.username, credential.password, credential.token]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()


def allowed(access: Access | None, repository: str, credentials: Sequence[Credential]) -> bool:
    """None: nobody kept who pulled it, as it was before this was kept at all, and all may use it.

    A Secret that says something else now is still the one that opened it, and one that says the same is as good.
    """
    if access is None:
        return True
    keys = access.get(repository, {})
    if isinstance(keys, str):
        return keys == ANYONE
    return any(each.origin in keys or digest(each) in keys.values() for each in credentials if each.origin)


def opened(access: Access | None, repository: str, credential: Credential | None) -> Access:
    """What is kept once it was pulled with this credential; None is without any."""
    known = dict(access or {})
    keys = known.get(repository, {})
    if keys == ANYONE or credential is None or not credential.origin:
        return {**known, repository: ANYONE}
    assert not isinstance(keys, str)
    return {**known, repository: {**keys, credential.origin: digest(credential)}}


class Policy:
    """Which images are asked about: ``imagePullCredentialsVerificationPolicy`` of a kubelet's configuration."""

    NAMES = ("NeverVerify", "NeverVerifyPreloadedImages", "NeverVerifyAllowlistedImages", "AlwaysVerify")

    def __init__(self, name: str, allowlist: Sequence[str] = ()) -> None:
        """``allowlist``: repositories, or beginnings of them that end in ``/*``. Raises ValueError."""
        if name not in self.NAMES:
            raise ValueError(f"{name!r} is none of {', '.join(self.NAMES)}")
        self._name, self._allowlist = name, allowlist

    def asks(self, repository: str, *, pulled: bool) -> bool:
        """``pulled``: by a node, not brought here otherwise."""
        match self._name:
            case "NeverVerify":
                return False
            case "NeverVerifyPreloadedImages":
                return pulled
            case "NeverVerifyAllowlistedImages":
                return not any(_fits(pattern, repository) for pattern in self._allowlist)
            case _:
                return True


def _fits(pattern: str, repository: str) -> bool:
    return repository.startswith(pattern[:-1]) if pattern.endswith("/*") else repository == pattern
