from __future__ import annotations

import pytest

from kernos.base.errors import InvalidError
from kernos.spec import place


def test_the_callers_line_is_the_line_outside_the_package() -> None:
    here = place.of_caller()

    assert here.file == __file__
    assert str(here).startswith("test_place.py:")


def test_an_error_inside_gets_the_place_in_front_and_keeps_its_details() -> None:
    with pytest.raises(InvalidError) as caught, place.located(place.Place("/x/app.py", 12)):
        raise InvalidError("it is wrong", hint="correct it", column=3)

    assert caught.value.message == "app.py:12: it is wrong"
    assert caught.value.details == {"column": 3, "file": "/x/app.py", "line": 12}


def test_the_nearest_word_is_offered_with_all_known_ones() -> None:
    assert place.nearest("acuracy", ["auc", "accuracy"]) == "Did you mean accuracy? Known: auc, accuracy."
    assert place.nearest("zzz", []) == "Known: none."
