"""Removing images that nobody uses, when the disk they are on gets full: the one used longest ago first.

Only what a registry can give again goes: what was imported or made here is kept.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable

from nodeagent.engine.contract import EngineError, Image, ImageStore
from nodeagent.kubelet.context import Node

log = logging.getLogger(__name__)

LOOK_EVERY = 300.0  # as upstream
EVERYTHING = 1 << 62  # bytes to free


async def keep_room(node: Node) -> None:
    """Look again and again, until cancelled."""
    settings, failed_before = node.settings, False
    while True:
        await asyncio.sleep(LOOK_EVERY)
        if settings.image_maximum_gc_age:
            await asyncio.to_thread(collect, node.images, EVERYTHING, settings.image_maximum_gc_age)
        disk = os.statvfs(settings.image_dir)
        capacity, free = disk.f_blocks * disk.f_frsize, disk.f_bavail * disk.f_frsize
        wanted = to_free(capacity, free, settings.image_gc_high_threshold, settings.image_gc_low_threshold)
        if not wanted:
            failed_before = False
            continue
        freed = await asyncio.to_thread(collect, node.images, wanted, settings.image_minimum_gc_age)
        if freed < wanted:
            message = (
                f"Failed to garbage collect required amount of images. Attempted to free {wanted} bytes,"
                f" but only found {freed} bytes eligible to free."
            )
            node.recorder.event(node.reference, "Warning", "FreeDiskSpaceFailed", message)
            if failed_before:  # the first time it may be that statistics are only now coming in, as upstream has it
                node.recorder.event(node.reference, "Warning", "ImageGCFailed", message)
        failed_before = freed < wanted


def to_free(capacity: int, free: int, high: int, low: int) -> int:
    """How many bytes, if more than ``high`` percent are used, until only ``low`` percent are. Pure."""
    used = 100 - free * 100 // capacity if capacity else 0
    return max(0, capacity * (100 - low) // 100 - free) if used >= high else 0


async def remove_unused(node: Node) -> None:
    """All of them, whatever their age: the disk is full."""
    await asyncio.to_thread(collect, node.images, EVERYTHING, 0)


def collect(images: ImageStore, wanted: int, age: float, clock: Callable[[], float] = time.time) -> int:
    """Remove images until ``wanted`` bytes are free that nobody used for ``age`` seconds; how many are."""
    freed = 0
    for used_at, image in sorted(_candidates(images), key=lambda pair: pair[0]):
        if freed >= wanted:
            break
        if clock() - used_at < age:
            continue
        try:
            images.remove(image.id)
        except EngineError:
            continue  # in use, or gone meanwhile
        log.info("image %s removed: nobody uses it", (image.tags or (image.id,))[0])
        freed += image.size
    return freed


def _candidates(images: ImageStore) -> list[tuple[float, Image]]:
    found = []
    for image in images.images():
        try:
            if image.pulled:
                found.append((images.used_at(image.id), image))
        except OSError:
            continue
    return found
