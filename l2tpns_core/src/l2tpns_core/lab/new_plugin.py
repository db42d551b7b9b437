"""`l2tpns-lab new-plugin`: a distribution to begin a plugin with.

It is the example of docs/plugins under another name: it works, has tests, and is to be changed into
what is wanted.
"""

import argparse
import keyword
import re
from importlib import resources
from pathlib import Path
from typing import Final

from l2tpns_core.lab.netns import LabError

EXAMPLE: Final = "login_watch"
EXAMPLE_CLASS: Final = "LoginWatch"
NAME: Final = re.compile(r"(?=.{1,40}$)[a-z][a-z0-9]*(_[a-z0-9]+)*")
TAKEN: Final = frozenset(("core", "garden", "autothrottle", "autosnoop"))
FILES: Final = {
    "pyproject.toml.txt": "pyproject.toml",
    "README.md.txt": "README.md",
    "gitignore.txt": ".gitignore",
    "plugin.py.txt": "src/l2tpns_{name}/__init__.py",
    "test_plugin.py.txt": "tests/test_{name}.py",
}
"""Where each file of the skeleton goes."""

DESCRIPTION = """\
Write a plugin to begin with: a distribution that can be installed, loaded and tested as it is.

NAME is what `load plugin` will call it: lower-case letters, digits and _. The distribution is
l2tpns-NAME, the package l2tpns_NAME. Nothing that exists is overwritten."""

EPILOG = """\
exit status: 0 written; 2 not, and one line says why.

example:
  l2tpns-lab new-plugin quota
  cd l2tpns-quota
  pip install -e '.[test]' && pytest"""


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        "new-plugin",
        help="a plugin to begin with",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", metavar="NAME", help="name of the plugin")
    parser.add_argument(
        "--directory",
        type=Path,
        metavar="DIR",
        help="where it goes; is made (default: l2tpns-NAME)",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Write the files; return the exit status. Raises LabError."""
    directory = args.directory or Path(dashed(args.name))
    for path in write_plugin(args.name, directory):
        print(path)
    print(f"next: cd {directory}; pip install -e '.[test]' && pytest")
    return 0


def write_plugin(name: str, directory: Path) -> list[Path]:
    """Write the skeleton under a name; return the files. Raises LabError."""
    if name in TAKEN:
        raise LabError(f'"{name}" is the name of something that there is already')
    if not NAME.fullmatch(name) or keyword.iskeyword(name) or keyword.iskeyword(class_of(name)):
        raise LabError(
            f'"{name}" cannot name a plugin: lower-case letters, digits and _, a letter first'
        )
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise LabError(f"{directory} is there already: name another with --directory")
    skeleton = resources.files("l2tpns_core.lab") / "skeleton"
    written = []
    try:
        for source, target in FILES.items():
            path = directory / target.format(name=name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(renamed((skeleton / source).read_text(), name))
            written.append(path)
    except OSError as error:
        raise LabError(f"{error.filename or directory}: {error.strerror}") from error
    return written


def renamed(text: str, name: str) -> str:
    """A file of the example as that of another plugin."""
    text = text.replace(EXAMPLE_CLASS, class_of(name)).replace(dashed(EXAMPLE), dashed(name))
    return text.replace(EXAMPLE, name)


def class_of(name: str) -> str:
    return "".join(word.capitalize() for word in name.split("_"))


def dashed(name: str) -> str:
    """The name of a plugin as in that of its distribution."""
    return f"l2tpns-{name}".replace("_", "-")
