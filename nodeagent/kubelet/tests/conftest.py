import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # for stories and world

from world import world


@pytest.fixture
async def node(tmp_path):
    """A node with its API server, the real ones."""
    async with world(tmp_path) as it:
        yield it
