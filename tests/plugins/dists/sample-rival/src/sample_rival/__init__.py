"""Takes a name that another distribution has."""


class Alpha:
    """Never loaded."""
