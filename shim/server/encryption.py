"""Encryption at rest, as the server is told by a file: what is sealed in the store, and by which keys from now on.

Keys are replaced while the server runs when that is asked for: what lies in the store stays as it is until it is
written again, and a write that changes nothing is one then.
"""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from pathlib import Path

from shim.codec.configuration import ConfigurationError
from shim.server import encryption_file
from shim.server.routes import Routes
from shim.store.contract import Store
from shim.store.encrypted import EncryptedStore
from shim.store.encryption import Encryption, Sealer

log = logging.getLogger(__name__)

INTERVAL = 60.0  # seconds between looks at the file; upstream's


class ConfiguredEncryption:
    """The file, and the store it speaks of."""

    def __init__(self, path: Path, routes: Routes, store: Store) -> None:
        """Raises OSError, and ConfigurationError for a configuration that is none."""
        self._path, self._routes = path, routes
        self._text = path.read_text()
        self.store = EncryptedStore(store, self._choose())

    async def follow(self) -> None:
        """Take up what the file says by now, until cancelled; what is none is told, and changes nothing."""
        while True:
            await asyncio.sleep(INTERVAL)
            before = self._text
            try:
                self._text = await asyncio.to_thread(self._path.read_text)
                if self._text != before:
                    self.store.choose(self._choose())
                    log.info("%s: taken up", self._path)
            except (OSError, UnicodeDecodeError, ConfigurationError) as error:
                log.error("reading it again: %s", error)

    def _choose(self) -> partial[tuple[Sealer, ...]]:
        try:
            return partial(_sealers, encryption_file.read(self._text), self._routes)
        except ConfigurationError as error:
            raise ConfigurationError(f"{self._path}: {error}") from None


def _sealers(encryption: Encryption, routes: Routes, bucket: str) -> tuple[Sealer, ...]:
    """Those of the resource kept in a bucket; custom ones, not known yet, are told by its name."""
    try:
        resource = routes.of_key(bucket)
    except (KeyError, ValueError):
        *_, group, name, _ = ("", "", *bucket.split("/"))
        return encryption.sealers(group if "." in group else "", name)
    return encryption.sealers(resource.group, resource.name)
