"""The one error of saved state."""


class StateError(Exception):
    """What was saved cannot be used; the text says why, in a few words."""
