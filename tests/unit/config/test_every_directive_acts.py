"""Every directive has a test that sees what it does; this is the list of them."""

import ast
from functools import cache
from pathlib import Path

import pytest

from l2tpns_core.config.directives import DIRECTIVES, Config, with_value
from l2tpns_core.startup import radius_config

TESTS = Path(__file__).parents[2]

DAY = "integration/daemon/test_shell_day.py::test_a_day"
DIRECTIVE = "integration/daemon/test_directives.py"
ENDINGS = "integration/daemon/test_endings.py"
IN_MEMORY = "unit/lns/test_directives.py"
LIFE = "unit/lns/test_life.py"
OPERATION = "integration/daemon/test_operation.py"
PATIENCE = "unit/radius/test_failover.py::test_the_directives_say_how_patiently_a_server_is_asked"
POLICIES = "integration/daemon/test_policies.py"
RESTART = "integration/daemon/test_restart.py"
RIGHTS = "integration/daemon/test_rights.py"
SERVICE = "integration/daemon/test_service.py"
REPLIES = "unit/radius/test_replies.py"
ETCD = "integration/cluster/test_etcd"
CLUSTER = "integration/cluster/test_daemons.py"
BGP = "interop/test_bgp.py"
ROUTING = "unit/routing/test_settings.py"
SPOOL = "integration/daemon/test_spool.py"

SEEN_BY = {
    "debug": [f"{DIRECTIVE}::test_how_much_is_logged"],
    "log_file": [f"{OPERATION}::test_reload_opens_the_log_file_anew"],
    "log_format": [f"{DIRECTIVE}::test_the_log_becomes_json"],
    "pid_file": [f"{OPERATION}::test_signal_disconnects_everybody_and_leaves_nothing"],
    "hostname": [DAY],
    "state_dir": [f"{RIGHTS}::test_the_day_of_a_daemon_that_gave_up_its_rights"],
    "cli_socket": [f"{RIGHTS}::test_the_day_of_a_daemon_that_gave_up_its_rights"],
    "dump_speed": [f"{DIRECTIVE}::test_the_bandwidth_is_logged"],
    "cleanup_interval": [f"{IN_MEMORY}::test_cleanup_interval"],
    "save_state": [f"{RESTART}::test_a_subscriber_goes_on_with_the_next_daemon"],
    "setuid": [f"{RIGHTS}::test_the_day_of_a_daemon_that_gave_up_its_rights"],
    "scheduler_fifo": [f"{RIGHTS}::test_before_other_processes_and_in_memory"],
    "lock_pages": [f"{RIGHTS}::test_before_other_processes_and_in_memory"],
    "l2tp_secret": [f"{SERVICE}::test_lac_must_know_the_secret"],
    "l2tp_challenge_lac": [f"{SERVICE}::test_lac_must_know_the_secret"],
    "l2tp_hide_avps": [
        f"{IN_MEMORY}::test_l2tp_hide_avps",
        f"{SERVICE}::test_hidden_avps_both_ways",
    ],
    "l2tp_port": [f"{DIRECTIVE}::test_ports_and_buffers_of_lacs"],
    "l2tp_mtu": [f"{IN_MEMORY}::test_l2tp_mtu"],
    "l2tp_receive_window": [f"{IN_MEMORY}::test_l2tp_receive_window"],
    "l2tp_retransmit_timeout": [f"{IN_MEMORY}::test_l2tp_retransmits"],
    "l2tp_max_retransmits": [f"{IN_MEMORY}::test_l2tp_retransmits"],
    "hello_interval": [f"{IN_MEMORY}::test_hello"],
    "disable_sending_hello": [f"{IN_MEMORY}::test_hello"],
    "max_tunnels": [f"{IN_MEMORY}::test_max_tunnels"],
    "max_sessions": [f"{LIFE}::test_call_over_max_sessions_is_refused"],
    "max_half_open": [f"{IN_MEMORY}::test_max_half_open"],
    "max_half_open_per_source": [f"{IN_MEMORY}::test_max_half_open_per_source"],
    "udp_receive_buffer": [f"{DIRECTIVE}::test_ports_and_buffers_of_lacs"],
    "primary_dns": [f"{LIFE}::test_login_gives_address_dns_and_one_start"],
    "secondary_dns": [f"{LIFE}::test_login_gives_address_dns_and_one_start"],
    "ppp_restart_time": [f"{IN_MEMORY}::test_configure_requests"],
    "ppp_max_configure": [f"{IN_MEMORY}::test_configure_requests"],
    "ppp_max_failure": [f"{IN_MEMORY}::test_ppp_max_failure"],
    "ppp_max_terminate": [f"{IN_MEMORY}::test_ppp_max_terminate"],
    "ppp_login_timeout": [f"{IN_MEMORY}::test_ppp_login_timeout"],
    "ppp_keepalive": [f"{IN_MEMORY}::test_echoes_on_a_busy_line"],
    "echo_timeout": [f"{IN_MEMORY}::test_echo_timeout"],
    "line_quality_interval": [f"{IN_MEMORY}::test_echoes_on_a_busy_line"],
    "idle_echo_timeout": [f"{LIFE}::test_vanished_client_is_noticed_by_echo"],
    "chap_rechallenge": [f"{SERVICE}::test_chap_is_challenged_again"],
    "lcp_renegotiation": [
        "unit/lns/test_corners.py::test_login_that_the_lac_collected_is_put_to_radius"
    ],
    "primary_radius": [f"{DIRECTIVE}::test_other_ports_of_radius"],
    "secondary_radius": [f"{SERVICE}::test_secondary_radius_takes_over"],
    "primary_radius_port": [f"{DIRECTIVE}::test_other_ports_of_radius"],
    "secondary_radius_port": [f"{SERVICE}::test_secondary_radius_takes_over"],
    "radius_secret": [f"{DIRECTIVE}::test_a_wrong_secret_lets_nobody_in"],
    "radius_accounting": [
        f"{LIFE}::test_login_gives_address_dns_and_one_start",
        f"{LIFE}::test_no_records_without_radius_accounting",
    ],
    "radius_interim": [f"{LIFE}::test_interim_update_carries_the_counters_of_the_moment"],
    "radius_authtypes": [f"{SERVICE}::test_chap_is_challenged_again"],
    "radius_require_message_authenticator": [
        f"{REPLIES}::test_a_server_without_message_authenticator",
        "unit/config/test_every_directive_acts.py::test_the_radius_client_is_told",
    ],
    "radius_timeout": [PATIENCE],
    "radius_tries": [PATIENCE],
    "radius_dead_time": [f"{SPOOL}::test_all_stops_of_an_outage_arrive_right_in_every_field"],
    "nas_identifier": [f"{DIRECTIVE}::test_what_radius_and_the_kernel_are_told"],
    "allow_duplicate_users": [f"{LIFE}::test_second_login_is_fine_when_duplicates_are_allowed"],
    "duplicate_login": [f"{LIFE}::test_second_login_is_refused_when_told_so"],
    "guest_account": [f"{LIFE}::test_guest_account_may_log_in_twice"],
    "kill_timedout_sessions": [
        f"{IN_MEMORY}::test_kill_timedout_sessions_no",
        f"{LIFE}::test_session_timeout_of_zero_is_no_time_at_all",
    ],
    "throttle_speed": [f"{POLICIES}::test_the_manuals_pair_throttles_and_intercepts"],
    "snoop_host": [f"{POLICIES}::test_the_manuals_pair_throttles_and_intercepts"],
    "snoop_port": [f"{POLICIES}::test_the_manuals_pair_throttles_and_intercepts"],
    "accounting_dir": [
        "integration/daemon/test_usage_files.py::test_the_rest_is_written_at_the_stop"
    ],
    "accounting_dir_interval": [
        "unit/lns/test_usage.py::test_it_begins_changes_and_stops_as_the_directives_say"
    ],
    "accounting_spool": [f"{DIRECTIVE}::test_the_spool_is_where_it_was_said"],
    "accounting_spool_size": [f"{DIRECTIVE}::test_the_spool_is_where_it_was_said"],
    "bind_address": [f"{DIRECTIVE}::test_neighbours_are_told_of_the_address"],
    "peer_address": [f"{IN_MEMORY}::test_peer_address"],
    "iftun_address": [f"{DIRECTIVE}::test_the_tun_device"],
    "tundevicename": [f"{DIRECTIVE}::test_the_tun_device"],
    "route_protocol": [f"{DIRECTIVE}::test_what_radius_and_the_kernel_are_told"],
    "route_metric": [f"{DIRECTIVE}::test_what_radius_and_the_kernel_are_told"],
    "send_garp": [f"{DIRECTIVE}::test_neighbours_are_told_of_the_address"],
    "icmp_rate": [
        "integration/daemon/test_changes.py::test_the_rate_of_icmp_errors",
    ],
    "multi_read_count": ["unit/dataplane/test_userplane.py::test_so_many_are_read_at_once"],
    "dataplane": [
        "integration/daemon/test_killed.py::"
        "test_a_user_space_plane_clears_away_what_the_kernel_still_forwards"
    ],
    "lac_interfaces": [
        "integration/daemon/test_lac_interfaces.py::"
        "test_it_is_where_the_operator_says_and_nowhere_else"
    ],
    "bpf_directory": [
        "integration/daemon/test_killed.py::"
        "test_packets_flow_while_the_daemon_is_dead_and_nothing_is_doubled_later",
        "integration/daemon/test_killed.py::"
        "test_without_a_directory_the_forwarding_ends_with_the_daemon",
    ],
    "bpf_max_routes": [f"{DIRECTIVE}::test_room_for_routes_in_the_kernel"],
    "bpf_direct": [
        "integration/daemon/test_direct.py::test_bpf_direct_keeps_all_packets_on_the_stack"
    ],
    "plugin_slow_ms": [
        "unit/plugins/test_api.py::test_the_limit_for_slow_calls_follows_the_directive"
    ],
    "cli_bind_address": [f"{DIRECTIVE}::test_telnet_where_it_listens"],
    "cli_port": [f"{DIRECTIVE}::test_telnet_where_it_listens"],
    "cli_max_operators": [f"{DIRECTIVE}::test_telnet_where_it_listens"],
    "cli_idle_timeout": [f"{DIRECTIVE}::test_telnet_where_it_listens"],
    "cli_open": [f"{DIRECTIVE}::test_telnet_where_it_listens"],
    "nsctl_bind_address": [f"{DIRECTIVE}::test_nsctl_where_it_listens"],
    "nsctl_port": [f"{DIRECTIVE}::test_nsctl_where_it_listens"],
    "nsctl_secret": [
        "integration/daemon/test_nsctl.py::test_the_secret_protects_and_follows_the_configuration"
    ],
    "metrics_bind_address": [f"{DIRECTIVE}::test_metrics_where_they_listen"],
    "metrics_port": [
        "integration/daemon/test_metrics.py::test_the_endpoint_comes_and_goes_with_a_reload"
    ],
    "cluster_address": [f"{CLUSTER}::test_another_group_and_ttl_and_fewer_slaves"],
    "cluster_interface": [f"{CLUSTER}::test_slaves_forward_and_radius_counts_it_all"],
    "cluster_hb_interval": [f"{CLUSTER}::test_another_interval_while_it_runs"],
    "cluster_hb_timeout": [f"{CLUSTER}::test_another_interval_while_it_runs"],
    "cluster_secret": [f"{CLUSTER}::test_a_node_with_another_secret_stays_out"],
    "cluster_port": [f"{CLUSTER}::test_nodes_that_are_named_one_by_one"],
    "cluster_mcast_ttl": [f"{CLUSTER}::test_another_group_and_ttl_and_fewer_slaves"],
    "cluster_nodes": [f"{CLUSTER}::test_nodes_that_are_named_one_by_one"],
    "cluster_master_min_adv": [f"{CLUSTER}::test_another_group_and_ttl_and_fewer_slaves"],
    "cluster_backend": [f"{ETCD}_daemons.py::test_no_session_is_lost_whatever_dies"],
    "cluster_etcd": [f"{ETCD}_daemons.py::test_no_session_is_lost_whatever_dies"],
    "cluster_etcd_prefix": [f"{ETCD}_guarded.py::test_one_without_is_not"],
    "cluster_etcd_user": [f"{ETCD}_guarded.py::test_one_without_is_not"],
    "cluster_etcd_password_file": [f"{ETCD}_guarded.py::test_one_with_a_wrong_password_is_not"],
    "cluster_etcd_ca": [f"{ETCD}_guarded.py::test_one_without_is_not"],
    "cluster_etcd_cert": [f"{ETCD}_guarded.py::test_one_without_is_not"],
    "cluster_etcd_key": [f"{ETCD}_guarded.py::test_a_node_with_certificate_and_password_is_let_in"],
    "cluster_etcd_hold": ["unit/cluster_etcd/test_settings.py::test_endpoints_prefix_and_hold"],
    "cluster_quorum": [f"{CLUSTER}::test_without_a_quorum_nobody_decides"],
    "as_number": [f"{BGP}::test_the_table_of_the_router_after_each_step"],
    "bgp_peer1": [f"{BGP}::test_the_table_of_the_router_after_each_step"],
    "bgp_peer1_as": [f"{BGP}::test_the_table_of_the_router_after_each_step"],
    "bgp_peer1_source": [f"{BGP}::test_sources_next_hop_and_hold_time"],
    "bgp_peer1_hold": [f"{BGP}::test_sources_next_hop_and_hold_time"],
    "bgp_peer1_password": [f"{BGP}::test_without_the_right_password_nothing_comes_up"],
    "bgp_peer2": [f"{ROUTING}::test_two_peers_are_told_apart"],
    "bgp_peer2_as": [f"{ROUTING}::test_two_peers_are_told_apart"],
    "bgp_peer2_source": [f"{ROUTING}::test_two_peers_are_told_apart"],
    "bgp_peer2_hold": [f"{ROUTING}::test_two_peers_are_told_apart"],
    "bgp_peer2_password": [f"{ROUTING}::test_two_peers_are_told_apart"],
    "nexthop_address": [f"{BGP}::test_sources_next_hop_and_hold_time"],
    "bgp_graceful_restart": [
        f"{BGP}::test_a_stop_for_good_withdraws_everything_first",
        f"{ROUTING}::test_how_long_routers_keep_our_routes",
    ],
}
"""The tests that fail when a directive does nothing, by directive."""

WAITING: dict[str, str] = {}
"""Those that do nothing yet, which the daemon says of each."""


@cache
def names_in(file: str) -> frozenset[str]:
    """The names of the tests of a file."""
    tree = ast.parse((TESTS / file).read_text())
    return frozenset(
        node.name
        for node in tree.body
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        and node.name.startswith("test_")
    )


def test_every_directive_is_in_one_of_the_lists() -> None:
    assert {*SEEN_BY, *WAITING} == set(DIRECTIVES)
    assert not SEEN_BY.keys() & WAITING.keys()


def test_the_daemon_says_of_the_same_ones_that_they_do_nothing() -> None:
    assert {name for name, entry in DIRECTIVES.items() if not entry.acts} == set(WAITING)


@pytest.mark.parametrize("name", SEEN_BY)
def test_there_is_a_test_that_sees_it(name: str) -> None:
    assert SEEN_BY[name]
    for place in SEEN_BY[name]:
        file, _, test = place.partition("::")
        assert test in names_in(file), f"{place} is not there"


def test_the_radius_client_is_told() -> None:
    for wanted in ("yes", "no", "auto"):
        config = with_value(Config(), "radius_require_message_authenticator", wanted)
        assert radius_config(config).require_message_authenticator == wanted
