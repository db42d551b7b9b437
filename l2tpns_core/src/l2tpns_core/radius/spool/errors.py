"""The one error of the spool."""


class SpoolError(ValueError):
    """What was read is damaged or foreign; the text says what is wrong with it."""
