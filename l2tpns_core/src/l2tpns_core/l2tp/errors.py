"""The one error of the L2TP decoders."""


class L2tpError(Exception):
    """Something in a message that cannot be accepted, with the answer that RFC 2661 has for it.

    `result` and `error` are the Result Code and Error Code of the StopCCN or CDN to answer with
    (section 4.4.2); `text` is the Error Message, for the peer and for the log.
    """

    def __init__(self, result: int, error: int, text: str) -> None:
        super().__init__(text)
        self.result = result
        self.error = error
        self.text = text
