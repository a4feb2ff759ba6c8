"""What only makes sense together: gates and sensitive columns, contract and target, tuning and parameters."""

from __future__ import annotations

from collections.abc import Mapping, Set

from kernos.base.errors import InvalidError
from kernos.spec.manifest import Manifest, Rule
from kernos.spec.place import Place, located, nearest


def check_manifest(manifest: Manifest, places: Mapping[str, Place], parameters: Set[str]) -> None:
    """InvalidError at the first thing that does not fit. `places` says where each thing stands: `gate …`,
    `column …`, `flow …`; `parameters` are the names of all parameters of all steps and flows."""
    _check_contract(manifest, places)
    for rule in manifest.gates:
        with located(places[f"gate {rule.text}"]):
            _check_gate(manifest, rule)
    for flow in manifest.flows:
        with located(places[f"flow {flow.name}"]):
            for name in flow.tune:
                if name not in parameters:
                    raise InvalidError(
                        f"tune names {name!r}, which no step or flow takes.",
                        hint=nearest(name, sorted(parameters)),
                    )


def _check_contract(manifest: Manifest, places: Mapping[str, Place]) -> None:
    columns = [column.name for column in manifest.contract]
    if not columns:
        return
    with located(places[f"column {columns[0]}"]):
        for name, what in [
            (manifest.target, "target"),
            *((column, "sensitive column") for column in manifest.sensitive),
        ]:
            if name not in columns:
                raise InvalidError(
                    f"The {what} {name!r} is not in the contract.", hint=nearest(name, columns)
                )


def _check_gate(manifest: Manifest, rule: Rule) -> None:
    if rule.column and rule.column not in manifest.sensitive:
        raise InvalidError(
            f"The gate {rule.text!r} needs {rule.column!r} to be sensitive.",
            hint=f"Write App(…, sensitive=[{rule.column!r}]). {nearest(rule.column, manifest.sensitive)}",
        )
