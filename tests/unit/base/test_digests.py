from pathlib import Path

from kernos.base.digests import canonical, of_bytes, of_file, of_value


def test_the_digest_of_nothing_is_the_known_one() -> None:
    assert of_bytes(b"") == "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_a_file_has_the_digest_of_its_bytes(tmp_path: Path) -> None:
    data = bytes(range(256)) * 10_000
    (tmp_path / "f").write_bytes(data)

    assert of_file(tmp_path / "f") == of_bytes(data)


def test_the_order_of_keys_does_not_count() -> None:
    assert of_value({"a": 1, "b": [2, 3]}) == of_value({"b": [2, 3], "a": 1})
    assert of_value([1, 2]) != of_value([2, 1])
    assert canonical({"b": 1, "a": "é"}) == '{"a":"é","b":1}'.encode()
