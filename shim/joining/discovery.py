"""Is this the cluster we mean? Its CA is believed when our token signed it, and when it is the one that was pinned.

The first request goes to a server nobody vouches for, and says nothing of the token but asks for what is published to
everyone. The second, by TLS that is checked with the CA just found, must get the same
(https://github.com/kubernetes/design-proposals-archive/blob/main/cluster-lifecycle/bootstrap-discovery.md).
"""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

import aiohttp
import yaml

from shim.api import bootstrap_tokens
from shim.api.certificates import key_pin
from shim.api.meta import Object
from shim.client import resource as r
from shim.client.kubeconfig import Access
from shim.client.reach import why
from shim.cluster import ClusterError

PATIENCE = 20.0  # seconds for the signature of a token that was only just made
RETRY = 0.5
SKEW = 300.0  # seconds; certificates are dated back by as much
TIMEOUT = aiohttp.ClientTimeout(total=15)
ATTEMPTS = 4  # of questions that are not answered in time: a busy master, or one whose etcd chooses a leader

_PATH = r.CONFIGMAPS.path(bootstrap_tokens.INFO_NAMESPACE, bootstrap_tokens.INFO_NAME)
_NOT_YET_VALID, _EXPIRED, _OTHER_NAME, _OTHER_ADDRESS = 9, 10, 62, 64  # X509_V_ERR_* of openssl


@dataclass(frozen=True, slots=True)
class Found:
    """A cluster we trust: where it was found, and the CA of it in PEM."""

    server: str
    ca: bytes


async def discover(server: str, token: str, pin: str = "", patience: float = PATIENCE) -> Found:
    """The cluster at a URL. ``pin`` is ``sha256:HEX`` of its CA's key. Raises ClusterError, in one line."""
    parsed = bootstrap_tokens.parse(token)
    if parsed is None:
        raise ClusterError("the token is not of the form abcdef.0123456789abcdef (see `shim token create`)")
    server = server.rstrip("/")
    if not server.startswith("https://"):
        raise ClusterError(f"{server}: the API server's address begins with https://")
    give_up = time.monotonic() + patience
    signature = bootstrap_tokens.SIGNATURE_PREFIX + parsed[0]
    while signature not in (data := await _published(server, Access(server, insecure=True))):
        if time.monotonic() > give_up:
            raise ClusterError(
                f"the cluster knows no token {json.dumps(parsed[0])}, or it has expired; make one on a master by "
                "`shim token create`"
            )
        await asyncio.sleep(RETRY)
    content = data.get(bootstrap_tokens.INFO_KEY, "")
    if not hmac.compare_digest(bootstrap_tokens.sign(content, *parsed), data[signature]):
        raise ClusterError(
            f"{server} is not the cluster this token is of, or the token is mistyped: what it publishes is not "
            "signed with it"
        )
    encoded = _certificate(content)
    if pin and not hmac.compare_digest(key_pin(encoded), pin.lower()):
        raise ClusterError(f"the CA of {server} is {key_pin(encoded)}, which is not the one pinned by --ca-hash")
    ca = base64.b64decode(encoded)
    if (await _published(server, Access(server, ca))).get(bootstrap_tokens.INFO_KEY) != content:
        raise ClusterError(f"{server} publishes something else to those who check its certificate")
    return Found(server, ca)


def _certificate(content: str) -> str:
    """The CA in a published kubeconfig, in base64 of PEM."""
    try:
        return str(yaml.safe_load(content)["clusters"][0]["cluster"]["certificate-authority-data"])
    except (yaml.YAMLError, KeyError, IndexError, TypeError):
        raise ClusterError("what the cluster publishes for machines that join is no kubeconfig") from None


async def _published(server: str, access: Access) -> Mapping[str, str]:
    """The entries of ``cluster-info``. Raises ClusterError."""
    for _ in range(ATTEMPTS):
        try:
            return await _ask(server, access)
        except TimeoutError:
            continue
    raise ClusterError(f"{server} does not answer in {TIMEOUT.total:g} s")


async def _ask(server: str, access: Access) -> Mapping[str, str]:
    """Raises TimeoutError, ClusterError."""
    context = access.ssl_context() or False
    try:
        async with (
            aiohttp.ClientSession(timeout=TIMEOUT, connector=aiohttp.TCPConnector(ssl=context)) as session,
            session.get(server + _PATH) as answer,
        ):
            check_clock(answer.headers.get("Date", ""))
            if answer.status in (403, 404):
                raise ClusterError(
                    f"{server} publishes nothing for machines that join: was it started by `shim server`?"
                )
            body: Object = await answer.json(content_type=None)
            if answer.status != 200:
                raise ClusterError(f"{server} answers {answer.status}: {body.get('message', '')}")
    except aiohttp.ClientConnectorCertificateError as error:
        raise ClusterError(_distrust(server, error.certificate_error)) from None
    except TimeoutError:
        raise
    except aiohttp.ClientConnectorError as error:
        address = server.removeprefix("https://")
        raise ClusterError(
            f"{server} cannot be reached: {why(error, address, urlsplit(server).hostname or '')}"
        ) from None
    except (aiohttp.ClientError, ValueError) as error:
        raise ClusterError(f"{server} cannot be reached: {str(error) or type(error).__name__}") from None
    return body.get("data") or {}


def _distrust(server: str, error: Exception) -> str:
    code = error.verify_code if isinstance(error, ssl.SSLCertVerificationError) else 0
    if code in (_NOT_YET_VALID, _EXPIRED):
        word = "not valid yet" if code == _NOT_YET_VALID else "expired"
        return f"the certificate of {server} is {word} by this machine's clock: is it right?"
    if code in (_OTHER_NAME, _OTHER_ADDRESS):
        return f"the certificate of {server} is not for that address: name one that it was started with"
    return f"the certificate of {server} is not of its cluster's CA: {error}"


def check_clock(date: str) -> None:
    """Raises ClusterError when this machine's clock is far from the server's."""
    try:
        ahead = time.time() - parsedate_to_datetime(date).timestamp()
    except ValueError:
        return
    if abs(ahead) > SKEW:
        minutes, way = round(abs(ahead) / 60), "ahead of" if ahead > 0 else "behind"
        raise ClusterError(
            f"this machine's clock is {minutes} min {way} the API server's: set it first, certificates depend on it"
        )
