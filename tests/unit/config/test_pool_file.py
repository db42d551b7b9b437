"""The ip_pool file."""

import time
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from l2tpns_core.config.pool import MAX_ADDRESSES, PoolFile, load_pool, parse_pool


def addresses_of(text: str, bind_address: str = "0.0.0.0") -> list[str]:
    result = parse_pool(text.encode(), "ip_pool", IPv4Address(bind_address))
    return [str(IPv4Address(ip)) for ip in result.addresses]


def test_lines_of_the_manual() -> None:
    text = "192.168.1.1\n192.168.1.2\n192.168.4.0/24\n# c\n\n! c\n10.0.0.0/30 # lab\r\n"
    result = parse_pool(text.encode(), "ip_pool")
    assert result.problems == []
    assert len(result.addresses) == 2 + 254 + 3
    assert addresses_of(text)[:3] == ["192.168.1.1", "192.168.1.2", "192.168.4.1"]
    assert result.networks == [
        (int(IPv4Address("192.168.4.0")), 24),
        (int(IPv4Address("10.0.0.0")), 30),
    ]


def test_last_octets_0_and_255_are_never_given_out() -> None:
    found = addresses_of("10.1.0.0/23\n10.2.0.255/32\n10.3.0.0/31")
    assert len(found) == 2 * 254 + 1
    assert not any(ip.endswith((".0", ".255")) for ip in found)
    result = parse_pool(b"10.0.0.255\n10.0.0.0", "f")
    assert result.addresses == []
    assert [problem.line for problem in result.problems] == [1, 2]


def test_host_bits_are_cut_off_and_repeated_addresses_count_once() -> None:
    assert addresses_of("10.0.0.7/30\n10.0.0.5") == ["10.0.0.4", "10.0.0.5", "10.0.0.6", "10.0.0.7"]


def test_entry_of_another_server_is_left_out() -> None:
    text = "10.9.0.1:10.0.0.1\n10.9.0.2:10.0.0.2\n10.0.0.3\n10.9.0.2:10.8.0.0/30"
    assert addresses_of(text, "10.9.0.1") == ["10.0.0.1", "10.0.0.3"]
    assert parse_pool(text.encode(), "f", IPv4Address("10.9.0.1")).networks == []


@pytest.mark.parametrize(
    "line",
    [
        "10.0.0",
        "10.0.0.1/33",
        "10.0.0.1/7",
        "0.0.0.0/0",
        "10.0.0.1/x",
        "10.0.0.1/",
        "10.0.0.1 10.0.0.2",
        "224.0.0.1",
        "127.0.0.1",
        "0.0.0.5",
        "255.255.255.254",
        "junk:10.0.0.1",
        ":10.0.0.1",
        "\xff",
        "٣.0.0.1",
    ],
)
def test_bad_line_is_reported_and_skipped(line: str) -> None:
    result = parse_pool(f"{line}\n10.0.0.1\n".encode(), "ip_pool")
    assert result.addresses == [int(IPv4Address("10.0.0.1"))]
    (problem,) = result.problems
    assert str(problem).startswith("ip_pool:1: ")
    assert str(problem).isprintable()


def test_large_networks_are_cut_off_at_once() -> None:
    began = time.monotonic()
    result = parse_pool(b"10.0.0.0/8\n11.0.0.0/8\n12.0.0.1\n", "f")
    assert len(result.addresses) == MAX_ADDRESSES
    assert [length for _, length in result.networks] == [8, 8]
    assert len(result.problems) == 1
    assert time.monotonic() - began < 2


def test_missing_file_is_one_problem(tmp_path: Path) -> None:
    result = load_pool(tmp_path / "none")
    assert not result.readable
    assert len(result.problems) == 1
    path = tmp_path / "ip_pool"
    path.write_text("10.0.0.1\n")
    assert load_pool(path) == PoolFile([int(IPv4Address("10.0.0.1"))])


parts = st.sampled_from([b"10.0.0.1", b"10.0.0.0/24", b"1.2.3.4:", b"/", b":", b"#", b"\n", b"9"])


@given(st.binary(max_size=100) | st.lists(parts).map(b"".join))
def test_any_bytes_are_parsed(data: bytes) -> None:
    result = parse_pool(data, "f")
    assert all(ip & 0xFF not in (0, 255) for ip in result.addresses)
    assert len(set(result.addresses)) == len(result.addresses)
