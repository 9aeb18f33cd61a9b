"""Paths inside one volume that hide each other: only the last of them would be seen."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from shim.api.meta import Object
from shim.resources.causes import shown


class _Place(NamedTuple):
    path: str
    source: str = ""

    def __str__(self) -> str:
        return f"{shown(self.path)} ({self.source})" if self.source else shown(self.path)


def warnings(volumes: Iterable[Object]) -> list[str]:
    """Every overlap in every volume."""
    found: list[str] = []
    for volume in volumes:
        for kind, items in _parts(volume):
            overlaps = _overlaps(_Place(item.get("path") or "") for item in items or ())
            found += [
                f"volume {shown(volume.get('name') or '')} ({kind}): overlapping paths: {text}" for text in overlaps
            ]
        found += _projected(volume.get("name") or "", (volume.get("projected") or {}).get("sources") or ())
    return found


def _parts(volume: Object) -> Iterator[tuple[str, Iterable[Object] | None]]:
    """The plain volumes made of several files, as warnings call them."""
    for field, word, name in (("configMap", "ConfigMap", "name"), ("secret", "Secret", "secretName")):
        source = volume.get(field)
        if source is not None:
            yield f"{word} {shown(source.get(name) or '')}", source.get("items")
    if volume.get("downwardAPI") is not None:
        yield "DownwardAPI", volume["downwardAPI"].get("items")


def _projected(name: str, sources: Iterable[Object]) -> Iterator[str]:
    places: list[_Place] = []
    for source in sources:
        if not any(value is not None for value in source.values()):
            yield f"volume {shown(name)} (Projected) has no sources provided"
        places += _places(source)
    for text in _overlaps(places):
        yield f"volume {shown(name)} (Projected): overlapping paths: {text}"


def _places(source: Object) -> Iterator[_Place]:
    for field, word in (("configMap", "ConfigMap"), ("secret", "Secret"), ("downwardAPI", "DownwardAPI")):
        part = source.get(field)
        if part is not None and part.get("items") is not None:
            told = word if field == "downwardAPI" else f"{word} {shown(part.get('name') or '')}"
            yield from (_Place(item.get("path") or "", told) for item in part["items"])
            return
    token, bundle, certificate = (
        source.get(field) for field in ("serviceAccountToken", "clusterTrustBundle", "podCertificate")
    )
    if token is not None:
        yield _Place(token.get("path") or "", "ServiceAccountToken")
    elif bundle is not None:
        told = bundle["name"] if bundle.get("name") is not None else bundle.get("signerName") or ""
        yield _Place(bundle.get("path") or "", f"ClusterTrustBundle {shown(told)}")
    elif certificate is not None:
        for field, told in (
            ("certificateChainPath", "chain"),
            ("keyPath", "key"),
            ("credentialBundlePath", "credential bundle"),
        ):
            if certificate.get(field):
                yield _Place(certificate[field], f"PodCertificate {told}")


def _overlaps(places: Iterable[_Place]) -> Iterator[str]:
    """Of each place with every one before it that is the same, above it or below it."""
    before: list[_Place] = []
    for place in places:
        here = place._replace(path=place.path.rstrip("/"))
        for other in before:
            if here.path and other.path and (_below(here.path, other.path) or _below(other.path, here.path)):
                yield f"{here} with {other}"
        before.append(here)


def _below(path: str, parent: str) -> bool:
    return f"{path}/".startswith(f"{parent}/")
