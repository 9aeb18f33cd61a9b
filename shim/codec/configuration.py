"""Files that configure a server: YAML of one kind, in upstream's form."""

from __future__ import annotations

from collections.abc import Sequence

import yaml

from shim.api.meta import Object


class ConfigurationError(ValueError):
    """The file is no configuration of its kind; the text says where and why, and shows nothing that is secret."""


def read_configuration(text: str, kind: str, versions: Sequence[str]) -> Object:
    """The content of a file of this kind, in one of these versions. Raises ConfigurationError."""
    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigurationError(str(error)) from None
    if not isinstance(found, dict) or found.get("kind") != kind or found.get("apiVersion") not in versions:
        article = "an" if kind[0] in "AEIOU" else "a"
        raise ConfigurationError(f"it is not {article} {kind} of {versions[0]}")
    return found
