"""Who is asking? A proxy that vouches for somebody, a client certificate, a bearer token, or nobody, in this order.

A connection's certificate cannot change, so what it says is read once and kept with the connection.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import lru_cache
from time import time

from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from shim.api.status import unauthorized
from shim.api.timing import Histogram
from shim.server import sockets
from shim.server.accounts import Refused
from shim.server.audit.record import RECORD
from shim.server.bearers import Bearers
from shim.server.connection import Connection
from shim.server.impersonation import Authorize, Impersonation, is_asked
from shim.server.oidc.config import Anonymous
from shim.server.request_headers import RequestHeaders
from shim.server.routes import RequestInfo
from shim.server.users import ANONYMOUS, AUTHENTICATED, User

_CREDENTIAL = "authentication.kubernetes.io/credential-id"
CERTIFICATES = 1024  # read ones that are kept: programs such as kubectl make a connection for each of their runs
_UID = x509.ObjectIdentifier("1.3.6.1.4.1.57683.2")  # of a certificate's subject: KEP-4871
_HOUR, _DAY = 3600, 86400
_VALIDITIES = (
    *(0, 1800, _HOUR, 2 * _HOUR, 6 * _HOUR, 12 * _HOUR, _DAY, 2 * _DAY, 4 * _DAY, 7 * _DAY),
    *(30 * _DAY, 90 * _DAY, 180 * _DAY, 365 * _DAY),
)


class Authenticator:
    """Finds the user of a request. Raises 401 for credentials that are not good."""

    def __init__(
        self,
        bearers: Bearers,
        authorize: Authorize,
        proxies: RequestHeaders | None = None,
        anonymous: Anonymous | None = None,
    ) -> None:
        """``anonymous`` None: who brings no credentials is nobody, on every path."""
        self._bearers, self._impersonation = bearers, Impersonation(authorize)
        self._proxies, self._anonymous = proxies, anonymous
        self._certified = lru_cache(maxsize=CERTIFICATES)(self._read)
        self.expirations = Histogram(_VALIDITIES)
        """How long certificates of clients were still good when they came."""

    def user_of(self, request: web.BaseRequest) -> User:
        """Who sends a request. Raises Waiting where that cannot be said yet."""
        connection = request.protocol
        assert isinstance(connection, Connection)
        user = connection.user
        if user is None:
            user = self._identify(connection)
        if time() > connection.certified_until:  # connections may last for days
            raise unauthorized()
        headers = request.headers
        if connection.is_proxy and self._proxies is not None and (meant := self._proxies.user(headers)):
            return meant
        if user is ANONYMOUS and "Authorization" in headers:
            user = self._bearer(headers["Authorization"])
        elif user is ANONYMOUS and sockets.asked(request):
            user = self._of_socket(headers)
        if user is ANONYMOUS and self._anonymous is not None and not self._anonymous.allows(request.path):
            raise unauthorized()
        return user

    def acting_as(self, user: User, request: web.BaseRequest, info: RequestInfo) -> User:
        """The user a request is made as. Raises 400 and 403."""
        headers = request.headers
        if not is_asked(headers):
            return user
        made, way = self._impersonation.user(user, headers, info)
        if made is not user and (record := request.get(RECORD)) is not None:
            record.impersonates(made, way)
        return made

    def _identify(self, connection: Connection) -> User:
        peer = connection.transport.get_extra_info("ssl_object") if connection.transport is not None else None
        raw = peer.getpeercert(True) if peer is not None else None
        connection.user = ANONYMOUS
        if raw:
            connection.user, connection.certified_until, connection.is_proxy = self._certified(raw)
            self.expirations.add(connection.certified_until - time())
        return connection.user

    def _read(self, raw: bytes) -> tuple[User, float, bool]:
        """What a certificate says, which TLS has verified: who brings it, until when, whether it is a proxy's."""
        certificate = x509.load_der_x509_certificate(raw)
        proxies = self._proxies
        user = ANONYMOUS
        if proxies is None or proxies.is_client(certificate):
            user = certificate_user(certificate) or ANONYMOUS
        vouches = proxies is not None and proxies.vouches(certificate)
        return user, certificate.not_valid_after_utc.timestamp(), vouches

    def _bearer(self, header: str) -> User:
        scheme, token, *_ = (*header.strip().split(" ", 2), "")
        if scheme.lower() != "bearer" or not token:
            return ANONYMOUS  # upstream too ignores schemes it does not know, and what follows a second space
        return self._holder(token)

    def _of_socket(self, headers: Mapping[str, str]) -> User:
        try:
            token = sockets.token(headers)
        except ValueError:
            raise unauthorized() from None
        return self._holder(token) if token else ANONYMOUS

    def _holder(self, token: str) -> User:
        try:
            return self._bearers.check(token)[0]
        except Refused:
            raise unauthorized() from None


def certificate_user(certificate: x509.Certificate) -> User | None:
    """The user a verified client certificate names; None when it names none."""

    def values(oid: x509.ObjectIdentifier) -> list[str]:
        return [str(each.value) for each in certificate.subject.get_attributes_for_oid(oid)]

    names = values(NameOID.COMMON_NAME)
    if not names or not names[-1]:
        return None
    groups, uids = values(NameOID.ORGANIZATION_NAME), values(_UID)
    digest = hashlib.sha256(certificate.public_bytes(Encoding.DER)).hexdigest()
    extra = {_CREDENTIAL: (f"X509SHA256={digest}",)}
    return User(names[-1], (*groups, AUTHENTICATED), uids[0] if uids else "", extra)
