"""The model card: Markdown, written from facts alone. What nobody measured is not in it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from kernos.base.clock import iso
from kernos.govern.evidence import Figure
from kernos.govern.fairness import GroupLine
from kernos.govern.judge import Verdict


class CardFacts(msgspec.Struct, frozen=True):
    """Everything a card says. Counts are rows; times are ms since 1970."""

    app: str
    doc: str
    """The App's own words on what it is for."""
    target: str
    task: str
    created_ms: int
    kernos: str
    code: str
    """Digest of the App's source bundle."""
    model: str
    """Digest of the model file."""
    signer: str
    """Id of the signing key."""
    data: Sequence[str] = ()
    """Dataset versions: `/data/income@3`."""
    training_rows: int = 0
    held_out_rows: int = 0
    inputs: Sequence[str] = ()
    sensitive: Sequence[str] = ()
    params: Mapping[str, str] = {}
    metrics: Mapping[str, Figure] = {}
    groups: Sequence[GroupLine] = ()
    verdicts: Sequence[Verdict] = ()
    parity_rows: int = 0
    """Rows replayed through both the estimator and the model file."""
    parity_flips: int = 0
    parity_max_difference: float = 0.0


def card(facts: CardFacts) -> str:
    """The card as Markdown. Text from outside is escaped: it can neither break a table nor carry markup."""
    sections = [
        _head(facts),
        _training(facts),
        _table("Metrics on held-out rows", ["metric", "value", "95 % interval", "rows"], _metric_rows(facts)),
        _fairness(facts),
        _table("Gates", ["rule", "verdict", "value", "95 % interval", "note"], _verdict_rows(facts)),
        _parity(facts),
        _limits(facts),
        _verification(facts),
    ]
    return "\n\n".join(sections) + "\n"


def _head(facts: CardFacts) -> str:
    purpose = _plain(facts.doc) or "The App does not say what it is for."
    return f"# {_plain(facts.app)}\n\n## Intended use\n\n{purpose}"


def _training(facts: CardFacts) -> str:
    rows = [
        ("predicts", f"{facts.target} ({facts.task})"),
        ("from", ", ".join(facts.inputs) or "not recorded"),
        ("kept out of the inputs", ", ".join(facts.sensitive) or "nothing"),
        ("data", ", ".join(facts.data) or "not recorded"),
        ("training rows", str(facts.training_rows)),
        ("held-out rows", str(facts.held_out_rows)),
        ("made", iso(facts.created_ms)),
        ("code", facts.code),
        ("model file", facts.model),
        ("Kernos", facts.kernos),
        *((f"parameter {name}", value) for name, value in sorted(facts.params.items())),
    ]
    return _table("How it was made", ["", ""], rows)


def _metric_rows(facts: CardFacts) -> Iterable[Sequence[str]]:
    for name, figure in facts.metrics.items():
        yield name, _number(figure.value), _interval(figure.low, figure.high), str(figure.rows)


def _fairness(facts: CardFacts) -> str:
    rows = [
        (
            line.column,
            line.group,
            str(line.rows),
            *(
                _number(value)
                for value in (
                    line.selection_rate,
                    line.accuracy,
                    line.true_positive_rate,
                    line.false_positive_rate,
                )
            ),
        )
        for line in facts.groups
    ]
    head = ["column", "group", "rows", "selection rate", "accuracy", "true positives", "false positives"]
    return _table("Groups", head, rows)


def _verdict_rows(facts: CardFacts) -> Iterable[Sequence[str]]:
    for verdict in facts.verdicts:
        word = "passed" if verdict.passed else "REFUSED"
        yield verdict.rule, word, _number(verdict.value), _interval(verdict.low, verdict.high), verdict.note


def _parity(facts: CardFacts) -> str:
    text = (
        f"{facts.parity_rows} rows were predicted by the estimator and by the model file: "
        f"{facts.parity_flips} answers differ; scores differ by {facts.parity_max_difference:.3g} at most."
    )
    return f"## Training and serving agree\n\n{text if facts.parity_rows else 'Not checked.'}"


def _limits(facts: CardFacts) -> str:
    limits = [
        f"The figures hold for rows like the {facts.held_out_rows} held-out ones; others were not measured.",
        "Intervals are 95 % for each figure alone, not for all together.",
        "Differences between groups are measured, not explained; equal figures do not prove equal treatment.",
    ]
    if not facts.sensitive:
        limits.append("No sensitive column was declared, so no groups were compared.")
    return "## Limits\n\n" + "\n".join(f"- {limit}" for limit in limits)


def _verification(facts: CardFacts) -> str:
    return (
        f"## Signature\n\nSigned by {_plain(facts.signer)}. To check every file of the package:\n\n"
        "    kernos package verify <file>.kpkg"
    )


def _table(title: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(_plain(cell) for cell in row) + " |" for row in rows]
    if not lines:
        return f"## {title}\n\nNone recorded."
    rule = "|" + "---|" * len(head)
    return "\n".join([f"## {title}", "", "| " + " | ".join(head) + " |", rule, *lines])


def _plain(text: str) -> str:
    """One line without markup: HTML and Markdown characters are escaped."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    for character, escaped in (("\\", "\\\\"), ("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")):
        line = line.replace(character, escaped)
    for character in "|`*[]!":
        line = line.replace(character, f"\\{character}")
    return line


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _interval(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f"{low:.4g} to {high:.4g}"
