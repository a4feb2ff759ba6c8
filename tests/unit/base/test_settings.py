from pathlib import Path

import pytest

from kernos.base.errors import InvalidError
from kernos.base.settings import Settings, load_settings


def test_defaults_need_nothing(tmp_path: Path) -> None:
    settings = load_settings({"home": str(tmp_path)}, environment={})

    assert settings == Settings(home=str(tmp_path))
    assert settings.home_path == tmp_path.resolve()


def test_a_flag_beats_the_environment_beats_the_file(tmp_path: Path) -> None:
    (tmp_path / "kernos.toml").write_text("[api]\nport = 1\n[plane]\nport = 1\n[kernel]\ncpus = 1\n")
    environment = {"KERNOS_HOME": str(tmp_path), "KERNOS_PLANE__PORT": "2", "KERNOS_KERNEL__CPUS": "2"}

    settings = load_settings({"kernel.cpus": 3}, environment=environment)

    assert (settings.api.port, settings.plane.port, settings.kernel.cpus) == (1, 2, 3)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[api]\nprot = 1\n", "api.prot"),
        ("colour = 1\n", "colour"),
        ("api = 1\n", "group"),
        ("[api]\nport = 'x'\n", "wrong value"),
        ("[api\n", "not TOML"),
    ],
)
def test_a_wrong_file_is_refused_by_name(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "kernos.toml").write_text(text)

    with pytest.raises(InvalidError, match=says) as caught:
        load_settings({"home": str(tmp_path)}, environment={})

    assert caught.value.hint


def test_an_unknown_variable_is_refused_and_the_nearest_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidError) as caught:
        load_settings({"home": str(tmp_path)}, environment={"KERNOS_API__PROT": "1"})

    assert "api.port" in caught.value.hint


def test_variables_of_the_client_are_no_settings(tmp_path: Path) -> None:
    environment = {"KERNOS_TOKEN": "t", "KERNOS_URL": "u", "KERNOS_DATA": "d", "PATH": "p"}

    assert load_settings({"home": str(tmp_path)}, environment=environment) == Settings(home=str(tmp_path))
