"""A proxy in front vouches for somebody: it has a certificate of a CA of its own, and names the user in headers.

https://kubernetes.io/docs/reference/access-authn-authz/authentication/#authenticating-proxy
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import unquote

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.x509.oid import NameOID

from shim.server.users import AUTHENTICATED, UNAUTHENTICATED, User
from shim.settings import ApiServerSettings


class RequestHeaders:
    """Which proxies are believed, and the names of their headers."""

    def __init__(self, ca: bytes, clients_ca: bytes, settings: ApiServerSettings) -> None:
        """Raises ValueError for a CA that is not PEM."""
        self._authorities = x509.load_pem_x509_certificates(ca)
        self._clients = x509.load_pem_x509_certificates(clients_ca)
        self._allowed = frozenset(settings.requestheader_allowed_names)
        self._names = settings.requestheader_username_headers
        self._uids = settings.requestheader_uid_headers
        self._groups = settings.requestheader_group_headers
        self._extras = tuple(prefix.lower() for prefix in settings.requestheader_extra_headers_prefix)

    def vouches(self, certificate: x509.Certificate) -> bool:
        """Whether a client certificate (whose dates TLS has checked) is that of a proxy."""
        names = [str(each.value) for each in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
        if self._allowed and (not names or names[-1] not in self._allowed):
            return False
        return any(_issued_by(certificate, authority) for authority in self._authorities)

    def is_client(self, certificate: x509.Certificate) -> bool:
        """Whether it is one of the clients' CA: TLS lets in those of both."""
        return any(_issued_by(certificate, authority) for authority in self._clients)

    def user(self, headers: Mapping[str, str]) -> User | None:
        """The user a proxy names; None when it names nobody."""
        name = _first(headers, self._names)
        if not name:
            return None
        groups: list[str] = []
        extra: dict[str, tuple[str, ...]] = {}
        wanted = [header.lower() for header in self._groups]
        for header, value in headers.items():
            lowered = header.lower()
            if lowered in wanted:
                groups.append(value)
            for prefix in self._extras:
                if lowered.startswith(prefix):
                    key = unquote(lowered[len(prefix) :])
                    extra[key] = (*extra.get(key, ()), value)
        if not {AUTHENTICATED, UNAUTHENTICATED} & set(groups):
            groups.append(AUTHENTICATED)
        return User(name, tuple(groups), _first(headers, self._uids), extra)


def _first(headers: Mapping[str, str], names: tuple[str, ...]) -> str:
    return next((headers[name] for name in names if headers.get(name)), "")


def _issued_by(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(authority)
    except (InvalidSignature, ValueError, TypeError):
        return False
    return True
