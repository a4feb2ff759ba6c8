from __future__ import annotations

import msgspec

from kernos.govern.card import CardFacts, card
from kernos.govern.evidence import Figure
from kernos.govern.fairness import GroupLine
from kernos.govern.judge import Verdict

FACTS = CardFacts(
    app="diabetes",
    doc="Finds patients whose disease progresses.",
    target="progressed",
    task="classification",
    created_ms=1_790_000_000_000,
    kernos="0.1.0",
    code="sha256:" + "a" * 64,
    model="sha256:" + "b" * 64,
    signer="ed25519:0123456789abcdef",
    data=["/data/diabetes@3"],
    training_rows=331,
    held_out_rows=111,
    inputs=["bmi", "bp"],
    sensitive=["sex"],
    params={"C": "0.7"},
    metrics={"accuracy": Figure(0.75, 0.66, 0.82, 111)},
    groups=[GroupLine("sex", "f", 60, 0.4, 0.7, 0.8, None)],
    verdicts=[
        Verdict("accuracy >= 0.65", True, 0.75, 0.66, 0.82, 111, ""),
        Verdict("parity_gap(sex) <= 0.3", False, None, None, None, 111, "the sensitive column is missing"),
    ],
    parity_rows=442,
    parity_max_difference=1.2e-7,
)


def test_the_card_tells_every_fact() -> None:
    text = card(FACTS)

    for fact in (
        "Finds patients whose disease progresses.",
        "| data | /data/diabetes@3 |",
        "| training rows | 331 |",
        "| parameter C | 0.7 |",
        "| accuracy | 0.75 | 0.66 to 0.82 | 111 |",
        "| sex | f | 60 | 0.4 | 0.7 | 0.8 |  |",
        "| accuracy >= 0.65 | passed |".replace(">", "&gt;"),
        "REFUSED",
        "442 rows were predicted by the estimator",
        "ed25519:0123456789abcdef",
        "kernos package verify",
    ):
        assert fact in text


def test_the_card_makes_nothing_up() -> None:
    bare = CardFacts(
        app="a", doc="", target="y", task="regression", created_ms=0, kernos="0", code="", model="", signer=""
    )

    text = card(bare)

    assert "does not say what it is for" in text
    assert text.count("None recorded.") == 3
    assert "Not checked." in text
    assert "no groups were compared" in text


def test_text_from_outside_carries_no_markup() -> None:
    evil = "x | y\n# Head <script>alert(1)</script> ![i](http://a/b) `code` &amp; \x1b[31m"

    text = card(msgspec.structs.replace(FACTS, doc=evil, params={evil: evil}))

    assert "<script>" not in text
    assert "\n# Head" not in text
    assert "![" not in text
    assert "\x1b" not in text
    assert "x \\| y" in text


def test_the_same_facts_give_the_same_card() -> None:
    assert card(FACTS) == card(msgspec.convert(msgspec.to_builtins(FACTS), CardFacts))
