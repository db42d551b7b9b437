"""Messages that are refused are told of, now and then."""

import pytest

from l2tpns_core.cluster.errors import Refusal
from l2tpns_core.clustering.reporting import COMPLAINT_S, Complaints


def test_an_operator_is_told_why_nodes_do_not_hear_each_other(
    caplog: pytest.LogCaptureFixture,
) -> None:
    complaints, refused = Complaints(), dict.fromkeys(Refusal, 0)
    complaints.look(refused, 10.0)
    assert not caplog.messages
    refused[Refusal.TIME] = 7
    complaints.look(refused, 11.0)
    refused[Refusal.TIME] = 9
    complaints.look(refused, 12.0)
    (message,) = caplog.messages
    assert message.startswith("cluster: 7 messages were refused: the clocks of the nodes differ")
    complaints.look(refused, 11.0 + COMPLAINT_S)
    assert caplog.messages[-1].startswith("cluster: 2 messages")
    refused[Refusal.REPLAY] = 1
    complaints.look(refused, 500.0)
    assert len(caplog.messages) == 2
