import pytest

from kernos.base.errors import InvalidError, RefusedError
from kernos.serve.address import check_address


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "::1"])
def test_this_machine_is_fine(host: str) -> None:
    check_address(host, 0)
    check_address(host, 65535)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1"])
def test_beyond_this_machine_is_refused_with_a_way_out(host: str) -> None:
    with pytest.raises(RefusedError) as caught:
        check_address(host, 0)

    assert "proxy" in caught.value.hint


@pytest.mark.parametrize(
    ("host", "port"), [("localhost", 0), ("", 0), ("127.0.0.1", -1), ("127.0.0.1", 65536)]
)
def test_what_is_no_address_is_invalid(host: str, port: int) -> None:
    with pytest.raises(InvalidError):
        check_address(host, port)
