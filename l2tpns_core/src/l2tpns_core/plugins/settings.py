"""plugins.toml: a table of settings for each plugin, checked against what the plugin declares.

A plugin declares its settings as a dataclass in its class attribute `Settings`. Fields are bool,
int, float, str, or a list of one of these; a field with the metadata {"tables": True} and the type
`dict[str, SomeDataclass]` takes every sub-table, by name.
"""

import dataclasses
import difflib
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, get_args, get_origin, get_type_hints

import tomli

from l2tpns_core.plugins.discovery import PluginError, describe
from l2tpns_core.plugins.watch import FAILURES

FILE_NAME: Final = "plugins.toml"
MAX_FILE_BYTES: Final = 1 << 20
MAX_SHOWN_CHARS: Final = 60

_KINDS: Final[dict[object, str]] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a text in quotes",
}


class SettingsError(PluginError):
    """Settings that cannot be used; the text is one line that names the file, the key and what
    was expected."""


class SettingsFile:
    """The file beside the startup-config. A file that is not there is an empty one."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> "SettingsTables":
        """The file as it is now. Raises SettingsError."""
        try:
            with self.path.open("rb") as file:
                data = file.read(MAX_FILE_BYTES + 1)
        except FileNotFoundError:
            return SettingsTables(self.path, {})
        except OSError as error:
            raise SettingsError(f"{self.path}: cannot be read: {error.strerror}") from error
        if len(data) > MAX_FILE_BYTES:
            raise SettingsError(f"{self.path}: longer than {MAX_FILE_BYTES} bytes")
        try:
            return SettingsTables(self.path, tomli.loads(data.decode()))
        except (ValueError, RecursionError) as error:  # not only TOMLDecodeError
            raise SettingsError(f"{self.path}: {error}") from error


@dataclasses.dataclass(slots=True, frozen=True)
class SettingsTables:
    """What was in the file."""

    path: Path
    tables: Mapping[str, object]

    def of(self, plugin: str, schema: type | None) -> Any:
        """The settings of a plugin: an instance of `schema`, or None when it declares none. Raises
        SettingsError."""
        table = self.tables.get(plugin, {})
        if not isinstance(table, dict):
            raise SettingsError(f"{self.path}: {plugin} must be a table, [{plugin}]")
        if schema is None:
            if table:
                raise SettingsError(f"{self.path}: [{plugin}] is of no use, it has no settings")
            return None
        if not dataclasses.is_dataclass(schema):
            raise PluginError(f'plugin "{plugin}": its Settings must be a dataclass')
        try:
            return _make(schema, table, plugin, self.path)
        except PluginError:
            raise
        except FAILURES as error:  # border: not our code
            raise PluginError(
                f'plugin "{plugin}": its Settings cannot be made: {describe(error)}'
            ) from error

    def unused(self, plugins: set[str]) -> list[str]:
        """The tables of no plugin."""
        return [name for name in self.tables if name not in plugins]


def _make(schema: type, table: dict[str, object], place: str, path: Path) -> Any:
    """An instance of a dataclass from a table. Raises SettingsError."""
    fields = {field.name: field for field in dataclasses.fields(schema) if field.init}
    hints = get_type_hints(schema)
    gathering = [name for name, field in fields.items() if field.metadata.get("tables")]
    values: dict[str, object] = {name: {} for name in gathering}
    for key, value in table.items():
        where = f"{path}: [{place}] {key}"
        if key in fields and key not in gathering:
            values[key] = _checked(hints[key], value, where)
        elif gathering and isinstance(value, dict):
            inner = get_args(hints[gathering[0]])[1]
            gathered: Any = values[gathering[0]]
            gathered[key] = _make(inner, value, f"{place}.{key}", path)
        else:
            raise SettingsError(f"{where}: no such setting, {_hint(key, fields, gathering)}")
    missing = [
        name
        for name, field in fields.items()
        if name not in values
        and field.default is dataclasses.MISSING
        and field.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise SettingsError(f"{path}: [{place}] needs {missing[0]}")
    try:
        return schema(**values)
    except (ValueError, TypeError) as error:  # its __post_init__ looked closer
        raise SettingsError(f"{path}: [{place}] {error}") from error


def _checked(kind: object, value: object, where: str) -> object:
    """A value of the kind that the plugin declared. Raises SettingsError."""
    if get_origin(kind) is list:
        (inner,) = get_args(kind)
        if not isinstance(value, list):
            raise SettingsError(f"{where}: expected a list, not {_shown(value)}")
        return [_checked(inner, item, where) for item in value]
    if get_origin(kind) is types.UnionType:
        kinds = [inner for inner in get_args(kind) if inner is not types.NoneType]
        return _checked(kinds[0], value, where)
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        if not isinstance(value, dict):
            raise SettingsError(f"{where}: expected a table, not {_shown(value)}")
        path, _, place = where.partition(": [")
        return _make(kind, value, place.replace("] ", "."), Path(path))
    if kind is float and type(value) is int:
        return float(value)
    if kind not in _KINDS:
        raise PluginError(f"{where}: the plugin declares a type that settings cannot have: {kind}")
    if type(value) is not kind:
        raise SettingsError(f"{where}: expected {_KINDS[kind]}, not {_shown(value)}")
    return value


def _hint(key: str, fields: Mapping[str, object], gathering: list[str]) -> str:
    names = [name for name in fields if name not in gathering]
    near = difflib.get_close_matches(key, names, 1)
    if near:
        return f'did you mean "{near[0]}"?'
    return f"there are {', '.join(names)}" if names else "there are none"


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= MAX_SHOWN_CHARS else text[:MAX_SHOWN_CHARS] + "…"
