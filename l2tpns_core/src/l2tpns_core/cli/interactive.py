"""The shell on a terminal: line editing, history, completion, `?` (prompt_toolkit).

History stays in memory, because a line may contain a secret.
"""

import sys
from collections.abc import Iterable
from typing import Any, Final

from prompt_toolkit import PromptSession
from prompt_toolkit.application import run_in_terminal
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.formatted_text import FormattedText
from prompt_toolkit.history import InMemoryHistory
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.patch_stdout import patch_stdout
from prompt_toolkit.shortcuts import CompleteStyle

from l2tpns_core.cli.actions import Actions
from l2tpns_core.cli.client import Client, DaemonUnreachableError
from l2tpns_core.cli.paging import NoMoreError, Pages
from l2tpns_core.cli.words import in_quotes

LEAVE_MODE: Final = "end"
EXIT_OK: Final = 0


class DaemonCompleter(Completer):
    """Asks the daemon, when Tab is pressed."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def get_completions(
        self, document: Document, complete_event: CompleteEvent
    ) -> Iterable[Completion]:
        line = document.text_before_cursor
        try:
            start, words = self._client.complete(line)
        except DaemonUnreachableError:
            return
        for word, text in words:
            yield Completion(word + " ", start - len(line), display=word, display_meta=text)


def run_terminal(client: Client, *, as_json: bool = False) -> int:
    """Read and carry out lines until the operator leaves.

    Raises DaemonUnreachableError when the daemon does not come back.
    """
    client.run("", lambda text: None)
    session: PromptSession[str] = PromptSession(
        history=InMemoryHistory(),
        completer=DaemonCompleter(client),
        complete_while_typing=False,
        complete_style=CompleteStyle.READLINE_LIKE,
        reserve_space_for_menu=0,
        key_bindings=key_bindings(client),
        enable_suspend=False,
    )
    pages = Pages()
    actions = Actions(client, _write, wait=False)
    actions.terminal = pages.resize
    actions.history = lambda: reversed(list(session.history.load_history_strings()))
    while client.mode is not None:
        try:
            with patch_stdout(raw=True):  # log lines come above the line that is being typed
                line = session.prompt(FormattedText([("", client.prompt)]))
        except KeyboardInterrupt:
            continue
        except EOFError:
            break
        _run(client, line.strip(), actions, pages, as_json=as_json)
    actions.close()
    return EXIT_OK


def key_bindings(client: Client) -> KeyBindings:
    """`?` tells what may follow, Ctrl-Z leaves the configuration mode."""
    bindings = KeyBindings()

    @bindings.add("?")
    def explain(event: KeyPressEvent) -> None:
        line = event.current_buffer.document.text_before_cursor
        if in_quotes(line):
            event.current_buffer.insert_text("?")
            return
        try:
            words = client.help(line)
        except DaemonUnreachableError:
            return
        run_in_terminal(lambda: print(client.prompt + line + "?\n" + "\n".join(help_lines(words))))

    @bindings.add("c-z")
    def leave_mode(event: KeyPressEvent) -> None:
        if client.mode is not None and client.mode.value:
            event.app.exit(result=LEAVE_MODE)

    return bindings


def help_lines(words: list[tuple[str, str]]) -> list[str]:
    """The lines that `?` prints."""
    return [f"  {word:<20} {text}".rstrip() for word, text in words] or ["  % nothing fits"]


def _run(client: Client, line: str, actions: Actions, pages: Pages, *, as_json: bool) -> None:
    pages.begin()
    try:
        error = client.run(line, pages.write, as_json=as_json)
    except (KeyboardInterrupt, NoMoreError) as stop:
        client.reconnect()
        if isinstance(stop, KeyboardInterrupt):
            print()
    except DaemonUnreachableError as lost:
        print(lost, file=sys.stderr)
        client.reconnect()
    else:
        if error and not as_json:
            print(error)
        actions.carry_out(client.action)


def _write(text: str) -> Any:
    return sys.stdout.write(text)
