"""The table of RFC 1661 section 4.1, against a transcription of the printed one."""

import pytest

from l2tpns_core.ppp.automaton import TABLE, Action, Input, State

# Columns are states 0 to 9. "-" cannot happen. The letters p, r and x of the RFC's notes (passive
# option, restart option, crossed connection) are left out: the options are not used.
RFC_TABLE = {
    Input.UP: "2 irc,scr/6 - - - - - - - -",
    Input.DOWN: "- - 0 tls/1 0 1 1 1 1 tld/1",
    Input.OPEN: "tls/1 1 irc,scr/6 3 5 5 6 7 8 9",
    Input.CLOSE: "0 tlf/0 2 2 4 4 irc,str/4 irc,str/4 irc,str/4 tld,irc,str/4",
    Input.TO_PLUS: "- - - - str/4 str/5 scr/6 scr/6 scr/8 -",
    Input.TO_MINUS: "- - - - tlf/2 tlf/3 tlf/3 tlf/3 tlf/3 -",
    Input.RCR_PLUS: "- - sta/2 irc,scr,sca/8 4 5 sca/8 sca,tlu/9 sca/8 tld,scr,sca/8",
    Input.RCR_MINUS: "- - sta/2 irc,scr,scn/6 4 5 scn/6 scn/7 scn/6 tld,scr,scn/6",
    Input.RCA: "- - sta/2 sta/3 4 5 irc/7 scr/6 irc,tlu/9 tld,scr/6",
    Input.RCN: "- - sta/2 sta/3 4 5 irc,scr/6 scr/6 irc,scr/8 tld,scr/6",
    Input.RTR: "- - sta/2 sta/3 sta/4 sta/5 sta/6 sta/6 sta/6 tld,zrc,sta/5",
    Input.RTA: "- - 2 3 tlf/2 tlf/3 6 6 8 tld,scr/6",
    Input.RUC: "- - scj/2 scj/3 scj/4 scj/5 scj/6 scj/7 scj/8 scj/9",
    Input.RXJ_PLUS: "- - 2 3 4 5 6 6 8 9",
    Input.RXJ_MINUS: "- - tlf/2 tlf/3 tlf/2 tlf/3 tlf/3 tlf/3 tlf/3 tld,irc,str/5",
    Input.RXR: "- - 2 3 4 5 6 7 8 ser/9",
}


@pytest.mark.parametrize("state", list(State))
@pytest.mark.parametrize("event", list(Input))
def test_every_cell_is_that_of_the_rfc(event: Input, state: State) -> None:
    text = RFC_TABLE[event].split()[state]
    cell = TABLE.get((state, event))
    if text == "-":
        assert cell is None
        return
    names, _, target = text.rpartition("/")
    actions = tuple(Action[name.upper()] for name in names.split(",")) if names else ()
    # A cell that changes nothing may be left out.
    assert (cell or ((), state)) == (actions, State(int(target)))


def test_the_transcription_is_complete() -> None:
    assert {event: len(row.split()) for event, row in RFC_TABLE.items()} == dict.fromkeys(Input, 10)


def test_no_cell_names_two_layer_signals() -> None:
    signals = {Action.TLU, Action.TLD, Action.TLS, Action.TLF}
    assert all(len(signals.intersection(actions)) <= 1 for actions, _ in TABLE.values())


def test_states_have_the_names_of_the_rfc() -> None:
    assert [state.label for state in State] == [
        "Initial",
        "Starting",
        "Closed",
        "Stopped",
        "Closing",
        "Stopping",
        "Req-Sent",
        "Ack-Rcvd",
        "Ack-Sent",
        "Opened",
    ]
