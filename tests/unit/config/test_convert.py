"""What becomes of a startup-config of the C program."""

from hypothesis import given
from hypothesis import strategies as st

from l2tpns_core.config.convert import Fate, convert
from l2tpns_core.config.other_releases import OTHER_DIRECTIVES
from l2tpns_core.config.startup_config import parse

OLD = b"""\
# Debugging level
set debug 3
set save_state yes
set packet_limit 0
set lcp_echo_timeout 15
set throttle_speed fast
setforward /x@y 1.2.3.4 1701 sec

load plugin "garden"
load plugin "autosnoop.so"
load plugin "throttlectl"
load plugin "ours"
# BGP
router bgp 65001
 neighbour 10.99.0.9 remote-as 65002
 neighbour 10.99.0.9 timers 3 9
 neighbour 10.99.0.10 remote-as 65003
 neighbour 10.99.0.11 remote-as 65004
# Filters
ip access-list standard foo
 permit host 10.99.0.1
 deny nonsense
set l2tp_secret 'a
# end
"""

NEW = b"""\
# Debugging level
set debug 3
set save_state yes
# set packet_limit 0
set echo_timeout "15"
# set throttle_speed fast
# setforward /x@y 1.2.3.4 1701 sec

load plugin "garden"
load plugin "autosnoop"
# load plugin "throttlectl"
# load plugin "ours"
# BGP
router bgp 65001
 neighbour 10.99.0.9 remote-as 65002
 neighbour 10.99.0.9 timers 3 9
 neighbour 10.99.0.10 remote-as 65003
#  neighbour 10.99.0.11 remote-as 65004
# Filters
ip access-list standard foo
 permit host 10.99.0.1
#  deny nonsense
# set l2tp_secret 'a
# end
"""


def test_every_line_has_its_verdict() -> None:
    fates = {verdict.line: verdict.fate for verdict in convert(OLD).verdicts}
    assert fates == {
        2: Fate.TAKEN,
        3: Fate.CHANGED,
        4: Fate.MEANINGLESS,
        5: Fate.RENAMED,
        6: Fate.WRONG,
        7: Fate.MEANINGLESS,
        9: Fate.TAKEN,
        10: Fate.RENAMED,
        11: Fate.MEANINGLESS,
        12: Fate.MEANINGLESS,
        14: Fate.TAKEN,
        15: Fate.TAKEN,
        16: Fate.TAKEN,
        17: Fate.TAKEN,
        18: Fate.WRONG,
        20: Fate.TAKEN,
        21: Fate.TAKEN,
        22: Fate.WRONG,
        23: Fate.WRONG,
    }


def test_the_new_file() -> None:
    assert convert(OLD).text.encode() == NEW


def test_the_new_file_has_nothing_that_is_not_known() -> None:
    result = parse(convert(OLD).text.encode(), "f")
    assert [problem for problem in result.problems if not problem.harmless] == []
    assert result.config.echo_timeout == 15
    assert (result.config.bgp_peer1_hold, result.config.bgp_peer2_as) == (9, 65003)
    assert result.plugins == ["garden", "autosnoop"]
    assert list(result.access_lists) == ["foo"]


def test_secrets_are_not_in_the_report() -> None:
    report = convert(b"set l2tp_secret 'hush\nset radius_secret hush hush\n")
    assert "hush" not in "\n".join(report.report()) + report.json()


def test_what_is_meaningless_says_why() -> None:
    for name, why in OTHER_DIRECTIVES.items():
        (verdict,) = convert(f"set {name} 1\n".encode()).verdicts
        assert (verdict.fate, verdict.note) == (Fate.MEANINGLESS, why)


@given(
    st.binary(max_size=200) | st.text("setrouc bgp1nhkmpdlai\n '\"#", max_size=80).map(str.encode)
)
def test_no_file_makes_it_fail(data: bytes) -> None:
    result = convert(data)
    for problem in parse(result.text.encode(), "f").problems:
        assert problem.harmless, problem
