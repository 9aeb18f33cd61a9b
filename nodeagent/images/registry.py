"""Asking a registry: manifests and blobs over HTTP, with the tokens or passwords it wants.

See https://github.com/opencontainers/distribution-spec and https://distribution.github.io/distribution/spec/auth/.
"""

from __future__ import annotations

import base64
import contextlib
import errno
import re
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp

from nodeagent.engine.contract import EngineError
from nodeagent.images.credentials import Credential
from nodeagent.images.endpoints import Endpoint
from nodeagent.images.reference import Reference

MANIFEST_TYPES = (
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.oci.image.index.v1+json",
)
LARGEST_MANIFEST = 4 << 20  # what registries themselves accept
TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=30, sock_read=60)
_PARAMETER = re.compile(r'(\w+)=(?:"([^"]*)"|([^\s,]+))')


class RegistryError(EngineError):
    """The registry refused, or could not be asked."""


class NotFound(RegistryError):
    """The registry has no such image."""


class Denied(RegistryError):
    """Not with these credentials."""


class Registry:
    """One registry at one endpoint, asked about one repository with one credential (or none)."""

    def __init__(
        self, http: aiohttp.ClientSession, endpoint: Endpoint, image: Reference, credential: Credential | None
    ) -> None:
        self._http, self._endpoint, self._image, self._credential = http, endpoint, image, credential
        self._authorization = ""

    async def digest(self, name: str) -> str:
        """Of the manifest with this tag or digest; "" when the registry does not say."""
        url = self._url("manifests", name)
        async with self._ask("HEAD", url, {"Accept": ", ".join(MANIFEST_TYPES)}) as answer:
            return answer.headers.get("Docker-Content-Digest", "")

    async def manifest(self, name: str) -> bytes:
        url = self._url("manifests", name)
        async with self._ask("GET", url, {"Accept": ", ".join(MANIFEST_TYPES)}) as answer:
            body = await answer.content.read(LARGEST_MANIFEST + 1)
            while not answer.content.at_eof() and len(body) <= LARGEST_MANIFEST:
                body += await answer.content.read(LARGEST_MANIFEST)
        if len(body) > LARGEST_MANIFEST:
            raise RegistryError(f"manifest {url} is larger than {LARGEST_MANIFEST} bytes")
        return body

    @contextlib.asynccontextmanager
    async def blob(self, digest: str, begin: int) -> AsyncIterator[aiohttp.ClientResponse]:
        """The blob from the byte ``begin`` on; an answer of 200 instead of 206 has all of it."""
        headers = {"Range": f"bytes={begin}-"} if begin else {}
        async with self._ask("GET", self._url("blobs", digest), headers) as answer:
            yield answer

    def _url(self, kind: str, name: str) -> str:
        return f"{self._endpoint.url}/v2/{self._image.path}/{kind}/{name}"

    @contextlib.asynccontextmanager
    async def _ask(self, method: str, url: str, headers: dict[str, str]) -> AsyncIterator[aiohttp.ClientResponse]:
        """Raises RegistryError for whatever is not an answer with the content."""
        try:
            answer = await self._send(method, url, headers)
            if answer.status == 401:
                answer.close()
                await self._authorize(answer.headers.getall("WWW-Authenticate", []))
                answer = await self._send(method, url, headers)
            async with answer:
                self._check(method, url, answer)
                yield answer
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise RegistryError(f'failed to do request: {method.capitalize()} "{url}": {reason(error)}') from error

    async def _send(self, method: str, url: str, headers: dict[str, str]) -> aiohttp.ClientResponse:
        if self._authorization:
            headers = {**headers, "Authorization": self._authorization}
        return await self._http.request(
            method, url, headers=headers, ssl=self._endpoint.verify, allow_redirects=True, timeout=TIMEOUT
        )

    def _check(self, method: str, url: str, answer: aiohttp.ClientResponse) -> None:
        if answer.status in (200, 206):
            return
        if answer.status == 404:
            raise NotFound(f"{self._image}: not found")
        if answer.status == 401:
            raise Denied(
                "pull access denied, repository does not exist or may require authorization: authorization failed"
            )
        status = f"{answer.status} {answer.reason}"
        problem = f"unexpected status from {method} request to {url}: {status}"
        raise Denied(problem) if answer.status == 403 else RegistryError(problem)

    async def _authorize(self, challenges: list[str]) -> None:
        """Answer the registry's challenge: with a token fetched from where it says, or a password."""
        for challenge in challenges:
            scheme, _, rest = challenge.partition(" ")
            if scheme.lower() == "bearer":
                parameters = {name: quoted or bare for name, quoted, bare in _PARAMETER.findall(rest)}
                self._authorization = f"Bearer {await self._token(parameters)}"
                return
            if scheme.lower() == "basic" and self._credential and self._credential.username:
                self._authorization = _basic(self._credential)
                return
        raise Denied("pull access denied, repository does not exist or may require authorization: authorization failed")

    async def _token(self, parameters: dict[str, str]) -> str:
        realm = parameters.get("realm", "")
        if not realm.startswith(("https://", "http://")):
            raise RegistryError(f'failed to authorize: the registry names no realm but "{realm}"')
        query = {
            "service": parameters.get("service", ""),
            "scope": parameters.get("scope") or f"repository:{self._image.path}:pull",
        }
        credential = self._credential
        if credential and credential.token:
            form = {**query, "grant_type": "refresh_token", "refresh_token": credential.token, "client_id": "kubeshim"}
            answer = await self._http.post(realm, data=form, ssl=self._endpoint.verify, timeout=TIMEOUT)
        else:
            headers = {"Authorization": _basic(credential)} if credential else {}
            answer = await self._http.get(
                realm, params=query, headers=headers, ssl=self._endpoint.verify, timeout=TIMEOUT
            )
        async with answer:
            if answer.status != 200:
                status = f"{answer.status} {answer.reason}"
                raise Denied(
                    f"failed to authorize: failed to fetch oauth token: unexpected status from"
                    f" {answer.method} request to {answer.url}: {status}"
                )
            told: Any = await answer.json(content_type=None)
            return str(told.get("token") or told.get("access_token") or "")


def _basic(credential: Credential) -> str:
    return "Basic " + base64.b64encode(f"{credential.username}:{credential.password}".encode()).decode()


def reason(error: BaseException) -> str:
    """Why a request could not be made, in the words Go has for it."""
    if isinstance(error, aiohttp.ClientConnectorError):
        if isinstance(error.os_error, socket.gaierror):
            return f"dial tcp: lookup {error.host}{_name_server()}: no such host"
        words = (error.os_error.strerror or str(error.os_error)).lower()
        if error.os_error.errno == errno.ECONNREFUSED:  # aiohttp's text names every address it tried
            words = "connection refused"
        return f"dial tcp {error.host}:{error.port}: connect: {words}"
    if isinstance(error, TimeoutError):
        return "i/o timeout"
    return str(error) or type(error).__name__


def _name_server() -> str:
    """Who was asked for the name, as Go's resolver tells of it."""
    try:
        lines = Path("/etc/resolv.conf").read_text().splitlines()
    except OSError:
        return ""
    servers = [words[1] for words in map(str.split, lines) if len(words) > 1 and words[0] == "nameserver"]
    if not servers:
        return ""
    return f" on [{servers[-1]}]:53" if ":" in servers[-1] else f" on {servers[-1]}:53"
