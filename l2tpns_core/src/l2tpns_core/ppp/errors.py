"""The one error of the PPP decoders."""


class PppError(Exception):
    """Bytes that are no valid PPP frame, packet or option list.

    The answer on the wire is the same for all of them: none. RFC 1661 section 5 has a malformed
    packet silently discarded, so that it changes nothing. `text` says what was wrong, for the log.
    """

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text
