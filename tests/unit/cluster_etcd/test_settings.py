"""What the configuration says of etcd."""

from dataclasses import replace
from pathlib import Path

import pytest

from l2tpns_core.cluster_etcd.settings import EtcdSettingsError, etcd_settings
from l2tpns_core.config.directive import parse_value
from l2tpns_core.config.directives import DIRECTIVES, Config
from l2tpns_core.config.errors import ConfigError

CONFIG = replace(Config(), cluster_backend="etcd", cluster_etcd="10.0.0.1, https://[fd00::2]:99")


def test_endpoints_prefix_and_hold() -> None:
    found = etcd_settings(replace(CONFIG, cluster_etcd_prefix="/here", cluster_etcd_hold=7))
    assert found.endpoints == ("http://10.0.0.1:2379", "https://[fd00::2]:99")
    assert (found.prefix, found.hold) == ("/here/", 7.0)
    assert found.tls is not None
    assert etcd_settings(replace(CONFIG, cluster_etcd="10.0.0.1")).tls is None


def test_the_password_is_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("secret\n")
    named = replace(CONFIG, cluster_etcd_user="lns", cluster_etcd_password_file=str(file))
    found = etcd_settings(named)
    assert (found.user, found.password) == ("lns", "secret")
    assert "secret" not in repr(found)
    file.unlink()
    with pytest.raises(EtcdSettingsError, match="cluster_etcd_password_file"):
        etcd_settings(named)


@pytest.mark.parametrize(
    "changes",
    [
        {"cluster_etcd": ""},
        {"cluster_etcd_ca": "/nonexistent"},
        {"cluster_etcd_cert": "/nonexistent"},
    ],
)
def test_what_cannot_be_used_is_said(changes: dict[str, str]) -> None:
    with pytest.raises(EtcdSettingsError):
        etcd_settings(replace(CONFIG, **changes))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("cluster_etcd", "ftp://10.0.0.1"),
        ("cluster_etcd", "http://10.0.0.1:99999"),
        ("cluster_etcd", "http://"),
        ("cluster_etcd", "http://10.0.0.1/v2"),
        ("cluster_etcd", ",".join(f"10.0.0.{n}" for n in range(17))),
        ("cluster_etcd_prefix", ""),
        ("cluster_etcd_prefix", "/a b"),
        ("cluster_backend", "zookeeper"),
    ],
)
def test_what_is_wrong_is_refused(name: str, text: str) -> None:
    with pytest.raises(ConfigError):
        parse_value(DIRECTIVES[name], text)
