"""plugins.toml: what a plugin gets of it, and what is said when it cannot."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from l2tpns_core.plugins.discovery import PluginError
from l2tpns_core.plugins.settings import MAX_FILE_BYTES, SettingsError, SettingsFile


@dataclass
class Room:
    size: int = 1


@dataclass
class Settings:
    speed: int = 64
    factor: float = 1.0
    polite: bool = True
    greeting: str = "hello"
    networks: list[str] = field(default_factory=list)
    rooms: dict[str, Room] = field(default_factory=dict, metadata={"tables": True})


@dataclass
class Needy:
    url: str
    seconds: float | None = None

    def __post_init__(self) -> None:
        if not self.url.startswith("https:"):
            raise ValueError(f"url {self.url} is not https")


@dataclass
class Failing:
    def __post_init__(self) -> None:
        raise RuntimeError("a mistake of the plugin")


@dataclass
class Unresolved:
    what: "NoSuchType" = None  # type: ignore[name-defined]  # noqa: F821, RUF100


@dataclass
class Impossible:
    when: set[int] = field(default_factory=set)


def read(tmp_path: Path, text: str, schema: type | None = Settings, name: str = "p") -> Any:
    file = SettingsFile(tmp_path / "plugins.toml")
    file.path.write_text(text)
    return file.read().of(name, schema)


def test_without_a_file_all_is_default(tmp_path: Path) -> None:
    assert SettingsFile(tmp_path / "plugins.toml").read().of("p", Settings) == Settings()


def test_every_type_is_taken(tmp_path: Path) -> None:
    text = """
    [p]
    speed = 128
    factor = 2
    polite = false
    greeting = "hallo"
    networks = ["a", "b"]
    [p.red]
    size = 3
    [p.blue]
    [other]
    whatever = 1
    """
    assert read(tmp_path, text) == Settings(
        128, 2.0, False, "hallo", ["a", "b"], {"red": Room(3), "blue": Room()}
    )


REFUSED = [
    ("[p]\nspede = 1", '[p] spede: no such setting, did you mean "speed"?'),
    ("[p]\nzzz = 1", "[p] zzz: no such setting, there are speed, factor"),
    ("[p]\nspeed = '1'", "[p] speed: expected a whole number, not '1'"),
    ("[p]\nspeed = true", "[p] speed: expected a whole number, not True"),
    ("[p]\nspeed = 1.5", "[p] speed: expected a whole number, not 1.5"),
    ("[p]\nfactor = 'x'", "[p] factor: expected a number"),
    ("[p]\npolite = 1", "[p] polite: expected true or false, not 1"),
    ("[p]\nnetworks = 'a'", "[p] networks: expected a list"),
    ("[p]\nnetworks = [1]", "[p] networks: expected a text in quotes, not 1"),
    ("[p.red]\nsize = 'x'", "[p.red] size: expected a whole number"),
    ("[p.red]\ncolour = 1", "[p.red] colour: no such setting, there are size"),
    ("p = 3", "p must be a table, [p]"),
    ("[p]\nspeed = " + "9" * 5000, "Exceeds the limit"),
    ("[p]\nspeed = ", "Invalid value (at end of document)"),
    ("[p]\nspeed = 1\nspeed = 2", "Cannot overwrite a value (at"),
]


@pytest.mark.parametrize(("text", "expected"), REFUSED)
def test_a_mistake_is_one_line_with_file_key_and_remedy(
    tmp_path: Path, text: str, expected: str
) -> None:
    with pytest.raises(SettingsError) as refusal:
        read(tmp_path, text)
    message = str(refusal.value)
    assert message.startswith(str(tmp_path / "plugins.toml"))
    assert expected in message
    assert "\n" not in message


def test_a_plugin_may_look_closer_and_need_something(tmp_path: Path) -> None:
    assert read(tmp_path, '[p]\nurl = "https://x"\nseconds = 3', Needy).seconds == 3.0
    with pytest.raises(SettingsError, match=r"\[p\] needs url"):
        read(tmp_path, "[p]", Needy)
    with pytest.raises(SettingsError, match=r"\[p\] url http://x is not https"):
        read(tmp_path, '[p]\nurl = "http://x"', Needy)


def test_settings_of_a_plugin_that_has_none_are_a_mistake(tmp_path: Path) -> None:
    assert read(tmp_path, "[other]\nx = 1", None) is None
    with pytest.raises(SettingsError, match="is of no use"):
        read(tmp_path, "[p]\nx = 1", None)


def test_a_declaration_that_cannot_be_is_the_plugins_mistake(tmp_path: Path) -> None:
    with pytest.raises(PluginError, match="must be a dataclass"):
        read(tmp_path, "", dict)
    with pytest.raises(PluginError, match="cannot be made: RuntimeError: a mistake of the plugin"):
        read(tmp_path, "", Failing)
    with pytest.raises(PluginError, match="cannot be made: NameError"):
        read(tmp_path, "", Unresolved)
    with pytest.raises(PluginError, match="a type that settings cannot have"):
        read(tmp_path, "[p]\nwhen = 3", Impossible)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "plugins.toml").mkdir()
    with pytest.raises(SettingsError, match="cannot be read: Is a directory"):
        SettingsFile(tmp_path / "plugins.toml").read()
    huge = tmp_path / "huge.toml"
    huge.write_bytes(b"#" * (MAX_FILE_BYTES + 1))
    with pytest.raises(SettingsError, match="longer than"):
        SettingsFile(huge).read()
    latin = tmp_path / "latin.toml"
    latin.write_bytes(b'[p]\ngreeting = "\xe9"')
    with pytest.raises(SettingsError, match="utf-8"):
        SettingsFile(latin).read()


def test_tables_of_nobody_are_known(tmp_path: Path) -> None:
    file = SettingsFile(tmp_path / "plugins.toml")
    file.path.write_text("[p]\n[gardn]\n")
    assert file.read().unused({"p", "garden"}) == ["gardn"]


@given(st.one_of(st.text(), st.binary().map(lambda data: data.decode("latin-1"))))
def test_any_text_gives_settings_or_a_settings_error(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.toml"
    path.write_text("[p]\n" + text, encoding="utf-8", newline="")
    problem, settings = "", None
    try:
        settings = SettingsFile(path).read().of("p", Settings)
    except SettingsError as error:
        problem = str(error)
    assert isinstance(settings, Settings) != bool(problem)
    assert "\n" not in problem.strip()
