from __future__ import annotations

import inspect
from types import ModuleType

from kernos.console.source import Source
from kernos.console.system_source import SystemSource


def test_every_source_has_every_method_of_the_law(sample: ModuleType) -> None:
    wanted = {
        name: member for name, member in vars(Source).items() if not name.startswith("_") and callable(member)
    }

    for kind in (SystemSource, sample.FakeSource):
        for name, law in wanted.items():
            assert list(inspect.signature(getattr(kind, name)).parameters) == list(
                inspect.signature(law).parameters
            )
