"""The L2TP socket on the loopback interface."""

import socket

import pytest

from l2tpns_core.dataplane.udp import L2tpSocket


def client() -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.bind(("127.0.0.1", 0))
    made.settimeout(5)
    return made


def test_wildcard_socket_knows_the_address_that_was_used_and_answers_from_it() -> None:
    listener, lac = L2tpSocket("", 0, 65536), client()
    lac.sendto(b"hello", ("127.0.0.42", listener.port))
    data, ancillary, _, peer = listener.receive(100, listener.ancillary_space)
    assert (data, peer) == (b"hello", lac.getsockname())
    local = listener.local_of(ancillary)
    assert local == "127.0.0.42"
    source = listener.ancillary_for(local)
    assert source is not None
    listener.send_from(b"reply", peer, source)
    assert lac.recvfrom(100) == (b"reply", ("127.0.0.42", listener.port))
    listener.close()
    lac.close()


def test_bound_socket_does_not_ask() -> None:
    listener, lac = L2tpSocket("127.0.0.1", 0, 65536), client()
    lac.sendto(b"hello", ("127.0.0.1", listener.port))
    assert listener.ancillary_space == 0
    assert listener.ancillary_for("127.0.0.1") is None
    _, ancillary, _, peer = listener.receive(100, 0)
    assert listener.local_of(ancillary) == "127.0.0.1"
    listener.send(b"reply", peer)
    assert lac.recvfrom(100)[1] == ("127.0.0.1", listener.port)
    listener.close()
    lac.close()


def test_unnamed_local_address_is_left_to_the_kernel() -> None:
    listener = L2tpSocket("0.0.0.0", 0, 65536)
    assert listener.ancillary_for("") is None
    assert listener.local_of([]) == ""
    listener.close()


def test_overruns_of_the_receive_buffer_are_seen() -> None:
    listener, lac = L2tpSocket("127.0.0.1", 0, 4096), client()
    assert listener.overruns() == 0
    for _ in range(50):
        lac.sendto(bytes(1000), ("127.0.0.1", listener.port))
    received = 0
    while True:
        try:
            listener.receive(2000, 0)
        except BlockingIOError:
            break
        received += 1
    assert 0 < received < 50
    assert listener.overruns() == 50 - received
    listener.close()
    lac.close()


def test_receive_buffer_is_what_was_asked_for() -> None:
    listener = L2tpSocket("127.0.0.1", 0, 100_000)
    assert listener.receive_buffer == 100_000
    listener.set_receive_buffer(150_000)
    assert listener.receive_buffer == 150_000
    listener.close()


def test_datagrams_over_the_mtu_are_fragmented_and_not_refused() -> None:
    """The default of the kernel sets DF and refuses them (EMSGSIZE) once it has learned a path."""
    listener = L2tpSocket("127.0.0.1", 0, 65536)
    assert listener._socket.getsockopt(socket.IPPROTO_IP, 10) == 5  # IP_PMTUDISC_OMIT
    listener.close()


def test_address_of_another_host_cannot_be_bound() -> None:
    with pytest.raises(OSError, match="assign"):
        L2tpSocket("192.0.2.123", 0, 65536)


def test_port_is_not_shared() -> None:
    listener = L2tpSocket("127.0.0.1", 0, 65536)
    with pytest.raises(OSError, match="in use"):
        L2tpSocket("127.0.0.1", listener.port, 65536)
    listener.close()
