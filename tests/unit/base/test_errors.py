import pickle

import pytest

from kernos.base.errors import (
    ConflictError,
    InvalidError,
    KernosError,
    NotFoundError,
    UnavailableError,
    from_problem,
    to_problem,
)


@pytest.mark.parametrize("kind", [InvalidError, NotFoundError, ConflictError, UnavailableError])
def test_a_problem_document_brings_the_same_error_back(kind: type[KernosError]) -> None:
    error = kind("what happened", hint="do this", column="age")

    again = from_problem(to_problem(error))

    assert type(again) is kind
    assert (again.message, again.hint, again.details) == ("what happened", "do this", {"column": "age"})


def test_an_unknown_code_is_still_an_error() -> None:
    again = from_problem({"code": "from_the_future", "detail": "it says", "details": 7})

    assert type(again) is KernosError
    assert again.message == "it says"
    assert again.details == {}


def test_errors_travel_between_processes() -> None:
    again = pickle.loads(pickle.dumps(ConflictError("held", hint="wait", by=3)))

    assert type(again) is ConflictError
    assert (again.hint, again.details) == ("wait", {"by": 3})


def test_the_text_holds_message_and_hint() -> None:
    assert str(InvalidError("No.", hint="Yes.")) == "No. Yes."
    assert str(InvalidError("No.")) == "No."
