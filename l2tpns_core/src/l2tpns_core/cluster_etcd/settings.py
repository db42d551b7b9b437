"""What an operator says of etcd."""

import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from l2tpns_core.config.checks import endpoints_of
from l2tpns_core.config.directives import Config

ETCD: Final = "etcd"
MAX_PASSWORD: Final = 1024


class EtcdSettingsError(Exception):
    """A file of the settings cannot be used."""


@dataclass(frozen=True)
class EtcdSettings:
    """Where etcd is, and who we are there."""

    endpoints: tuple[str, ...]
    prefix: str = "/l2tpns/"
    user: str = ""
    password: str = field(default="", repr=False)
    tls: ssl.SSLContext | None = None
    hold: float = 120.0
    """How long a master goes on without etcd at most, in seconds."""


def uses_etcd(config: Config) -> bool:
    return config.cluster_backend == ETCD


def prefix_of(text: str) -> str:
    return text.rstrip("/") + "/"


def etcd_settings(config: Config) -> EtcdSettings:
    """Reads the files. Raises EtcdSettingsError."""
    endpoints = endpoints_of(config.cluster_etcd)
    if not endpoints:
        raise EtcdSettingsError("cluster_backend is etcd, and cluster_etcd names none")
    return EtcdSettings(
        endpoints,
        prefix_of(config.cluster_etcd_prefix),
        config.cluster_etcd_user,
        _password(config.cluster_etcd_password_file) if config.cluster_etcd_user else "",
        _tls(config) if any(each.startswith("https:") for each in endpoints) else None,
        float(config.cluster_etcd_hold),
    )


def _password(path: str) -> str:
    try:
        with Path(path).open("rb") as file:
            return file.read(MAX_PASSWORD).decode().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise EtcdSettingsError(f"cluster_etcd_password_file {path}: {error}") from error


def _tls(config: Config) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=config.cluster_etcd_ca or None)
        if config.cluster_etcd_cert:
            context.load_cert_chain(config.cluster_etcd_cert, config.cluster_etcd_key or None)
    except (OSError, ssl.SSLError) as error:
        raise EtcdSettingsError(
            f"cluster_etcd_ca, cluster_etcd_cert or cluster_etcd_key: {error}"
        ) from error
    return context
