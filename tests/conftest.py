"""What every test shares: deterministic Hypothesis, no user configuration, loud skips."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "kernos", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow], database=None
)
settings.load_profile("kernos")

for name in [name for name in os.environ if name.startswith("KERNOS_") and name != "KERNOS_DATA"]:
    del os.environ[name]


@pytest.fixture
def data_folder() -> Path:
    """Real data sets that are not part of the project; tests that need them skip where they are absent."""
    folder = os.environ.get("KERNOS_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("KERNOS_DATA does not name a folder with the benchmark data sets")
    return Path(folder)
