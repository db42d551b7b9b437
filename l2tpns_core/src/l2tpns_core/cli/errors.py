"""What goes wrong with a command line."""


class CommandError(Exception):
    """A command that cannot be carried out; the text is what the operator reads."""
