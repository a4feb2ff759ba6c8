from __future__ import annotations

import pytest

from kernos.base.errors import InvalidError
from kernos.spec.check import check_manifest
from kernos.spec.contract import parse_column
from kernos.spec.gates import parse_rule
from kernos.spec.manifest import Flow, Manifest
from kernos.spec.place import Place

PLACE = Place("app.py", 3)
GATE = parse_rule("parity_gap(sex) <= 0.1")


def check(manifest: Manifest) -> None:
    places = {f"gate {rule.text}": PLACE for rule in manifest.gates}
    places |= {f"flow {flow.name}": PLACE for flow in manifest.flows}
    places |= {f"column {column.name}": PLACE for column in manifest.contract}
    check_manifest(manifest, places, {"C", "source"})


def test_what_fits_together_passes() -> None:
    columns = [parse_column(name, "int") for name in ("y", "sex")]

    check(
        Manifest(
            "a", "y", ["sex"], contract=columns, gates=[GATE], flows=[Flow("build", "", tune={"C": [0, 1]})]
        )
    )


@pytest.mark.parametrize(
    ("manifest", "says"),
    [
        (Manifest("a", "y", gates=[GATE]), "needs 'sex' to be sensitive"),
        (Manifest("a", "y", contract=[parse_column("x", "int")]), "target 'y' is not in the contract"),
        (Manifest("a", "y", ["sex"], contract=[parse_column("y", "int")]), "sensitive column 'sex'"),
        (Manifest("a", "y", flows=[Flow("build", "", tune={"D": [0, 1]})]), "no step or flow takes"),
    ],
)
def test_what_does_not_fit_is_told_with_its_place(manifest: Manifest, says: str) -> None:
    with pytest.raises(InvalidError, match=says) as caught:
        check(manifest)

    assert caught.value.message.startswith("app.py:3: ")
