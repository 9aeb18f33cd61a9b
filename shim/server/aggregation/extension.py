"""One group version that an extension server serves: what its APIService says, and how the server is reached."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from shim import pki
from shim.api.keys import SERVICES
from shim.api.meta import Object
from shim.client.reach import NowhereToGo, address_of, believing, name_of, why
from shim.server.aggregation.identity import AGGREGATOR, headers_of
from shim.server.aggregation.merging import Document, Part
from shim.server.backends import Backend
from shim.server.proxying import session_to
from shim.store.cache import Cache

PATIENCE = 5.0  # seconds for an answer to a question of our own
_READ = {"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": "kube-apiserver"}


class Trouble(Exception):
    """An extension server could not be asked, or gave no good answer; the text says why."""


@dataclass(frozen=True, slots=True)
class Spec:
    """What an APIService says, but for its condition."""

    name: str
    group: str
    version: str
    place: tuple[int, int]
    namespace: str
    service: str
    port: int
    bundle: str
    insecure: bool

    @classmethod
    def of(cls, obj: Object) -> Spec:
        spec = obj["spec"]
        service = spec["service"]
        return cls(
            obj["metadata"]["name"],
            spec.get("group") or "",
            spec["version"],
            (spec["groupPriorityMinimum"], spec["versionPriority"]),
            service["namespace"],
            service["name"],
            service.get("port") or 443,
            spec.get("caBundle") or "",
            bool(spec.get("insecureSkipTLSVerify")),
        )

    @property
    def path(self) -> str:
        """Where the group version is, at the extension server as at ours."""
        return f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"


@dataclass(frozen=True, slots=True)
class Described:
    """What an extension server says of its group version; nothing while it cannot be asked."""

    resources: list[Object] | None = None
    """As aggregated discovery has them."""
    openapi_v2: Part | None = None
    openapi_v3: str = ""
    """Where its document of version 3 is, with its hash."""
    converted: Document | None = None
    """That document, where the server has none and ours is made of its version 2."""


@dataclass
class Extension:
    """A group version and the connections to its server, which serve one request after the other."""

    spec: Spec
    cache: Cache
    data_dir: Path
    available: bool = False
    """As the APIService's condition says: whichever API server has looked last has written it."""
    described: Described = Described()
    _backend: Backend | None = field(default=None, init=False)
    _session: aiohttp.ClientSession | None = field(default=None, init=False)

    @property
    def service_key(self) -> str:
        return f"{SERVICES}{self.spec.namespace}/{self.spec.service}"

    @property
    def slices_prefix(self) -> str:
        return f"/registry/endpointslices/{self.spec.namespace}/"

    def service(self) -> Object | None:
        entry = self.cache.get(self.service_key)
        return entry.decode() if entry is not None else None

    def slices(self) -> Iterable[Object]:
        for entry in self.cache.range(self.slices_prefix):
            if entry.labels.get("kubernetes.io/service-name") == self.spec.service:
                yield entry.decode()

    def backend(self) -> Backend:
        """Where the server is now. Raises NowhereToGo."""
        spec, service = self.spec, self.service()
        if service is None:
            raise NowhereToGo(f'service "{spec.service}" not found')
        host = address_of(service, spec.port)
        if self._backend is None or self._backend.host != host:
            tls = self._backend.tls if self._backend is not None else self._tls()
            self._backend = Backend(host, spec.port, tls, name_of(spec.namespace, spec.service))
        return self._backend

    def url(self, path: str) -> str:
        """Raises Trouble."""
        try:
            backend = self.backend()
        except NowhereToGo as error:
            raise Trouble(str(error)) from None
        return f"{backend.scheme}://{backend.authority}{path}"

    def session(self) -> aiohttp.ClientSession:
        """Raises NowhereToGo."""
        if self._session is None:
            self._session = session_to(self.backend(), kept=True)
        return self._session

    async def fetch(self, path: str, tag: str = "") -> tuple[int, bytes, str]:
        """Ask in our own name: status, body and ETag; 304 when what we have under ``tag`` still holds.

        Raises Trouble.
        """
        headers = {**_READ, **({"If-None-Match": tag} if tag else {}), **headers_of(AGGREGATOR)}
        url = self.url(path)
        backend = self.backend()
        try:
            async with (
                asyncio.timeout(PATIENCE),
                self.session().get(url, headers=headers, server_hostname=backend.name, allow_redirects=False) as answer,
            ):
                return answer.status, await answer.read(), answer.headers.get("ETag", "")
        except TimeoutError:
            raise Trouble(f'Get "{url}": context deadline exceeded') from None
        except (aiohttp.ClientError, OSError) as error:
            raise Trouble(f'Get "{url}": {why(error, backend.authority, backend.name)}') from None

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    def _tls(self) -> ssl.SSLContext:
        """Raises NowhereToGo."""
        context = believing("" if self.spec.insecure else self.spec.bundle)
        if self.spec.insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        own = self.data_dir / "pki" / pki.FRONT_PROXY.user
        context.load_cert_chain(own.with_suffix(".crt"), own.with_suffix(".key"))
        return context
