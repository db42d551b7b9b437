"""etcd that wants TLS, our certificate, and a user with a password."""

import asyncio
import socket
import subprocess
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from interop.debian import unpack
from l2tpns_core.cluster_etcd.errors import EtcdError
from l2tpns_core.cluster_etcd.gateway import Gateway
from l2tpns_core.cluster_etcd.settings import EtcdSettings, etcd_settings
from l2tpns_core.config.directives import Config

pytestmark = [pytest.mark.slow, pytest.mark.interop]

READY_S = 60
LIMIT_S = 5.0


def openssl(where: Path, *words: str) -> None:
    subprocess.run(["openssl", *words], cwd=where, check=True, capture_output=True)


def certificates(where: Path) -> None:
    """An authority, and certificates that it has signed: of the server, and of a client, which has
    no common name, as etcd's gateway wants it."""
    new = ("req", "-newkey", "rsa:2048", "-nodes")
    openssl(where, *new, "-x509", "-subj", "/CN=authority", "-keyout", "ca.key", "-out", "ca.pem")
    names = where / "names"
    names.write_text("subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth\n")
    for name, subject in (("server", "/O=etcd"), ("client", "/O=l2tpns")):
        openssl(where, *new, "-subj", subject, "-keyout", f"{name}.key", "-out", f"{name}.csr")
        signing = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-extfile", "names")
        openssl(where, "x509", "-req", "-in", f"{name}.csr", *signing, "-out", f"{name}.pem")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def etcd(tmp_path: Path) -> Iterator[Config]:
    """A member that lets nobody in without certificate and password; how a node finds it."""
    certificates(tmp_path)
    url = f"https://127.0.0.1:{free_port()}"
    words = {
        "data-dir": tmp_path / "data",
        "listen-client-urls": url,
        "advertise-client-urls": url,
        "listen-peer-urls": f"http://127.0.0.1:{free_port()}",
        "cert-file": tmp_path / "server.pem",
        "key-file": tmp_path / "server.key",
        "trusted-ca-file": tmp_path / "ca.pem",
        "client-cert-auth": "true",
    }
    tree = unpack(("etcd-server",), ["/usr/bin/etcd"])
    command = tree.command("/usr/bin/etcd", *(f"--{name}={value}" for name, value in words.items()))
    (tmp_path / "password").write_text("secret\n")
    config = replace(
        Config(),
        cluster_backend="etcd",
        cluster_etcd=url,
        cluster_etcd_user="lns",
        cluster_etcd_password_file=str(tmp_path / "password"),
        cluster_etcd_ca=str(tmp_path / "ca.pem"),
        cluster_etcd_cert=str(tmp_path / "client.pem"),
        cluster_etcd_key=str(tmp_path / "client.key"),
    )
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        run(replace(etcd_settings(config), user=""), lock)
        yield config
    finally:
        process.kill()
        process.wait()


def run(settings: EtcdSettings, scene: Callable[[Gateway], Awaitable[None]]) -> None:
    async def whole() -> None:
        client = Gateway(settings, LIMIT_S)
        try:
            await scene(client)
        finally:
            await client.close()

    asyncio.run(whole())


async def lock(client: Gateway) -> None:
    """Wait until etcd is there, and have it ask for a password from now on: of root, who may do
    everything, and of a user who may use our prefix."""
    async with asyncio.timeout(READY_S):
        while True:
            try:
                await client.read()
                break
            except EtcdError:
                await asyncio.sleep(0.1)
    prefix, end = "L2wydHBucy8=", "L2wydHBuczA="  # /l2tpns/ and what comes after all of it
    permission = {"permType": "READWRITE", "key": prefix, "range_end": end}
    for method, request in (
        ("user/add", {"name": "root", "password": "other"}),
        ("user/grant", {"user": "root", "role": "root"}),
        ("role/add", {"name": "lns"}),
        ("role/grant", {"name": "lns", "perm": permission}),
        ("user/add", {"name": "lns", "password": "secret"}),
        ("user/grant", {"user": "lns", "role": "lns"}),
        ("enable", {}),
    ):
        await client.call(f"auth/{method}", request)


def test_a_node_with_certificate_and_password_is_let_in(etcd: Config) -> None:
    async def scene(client: Gateway) -> None:
        lease, _ = await client.grant(5)
        await client.renew(lease)
        assert await client.change([("master", 0)], [client.put("master", b"me", lease)])
        assert not await client.change([("master", 0)], [client.put("master", b"you", lease)])
        _, found = await client.read()
        assert [(each.key, each.value, each.lease) for each in found] == [("master", b"me", lease)]
        watch = client.watch(LIMIT_S)
        await anext(watch)
        await client.revoke(lease)
        await anext(watch)
        await watch.aclose()
        assert (await client.read())[1] == []

    run(etcd_settings(etcd), scene)


@pytest.mark.parametrize(
    "changes",
    [
        {"cluster_etcd_user": ""},
        {"cluster_etcd_cert": ""},
        {"cluster_etcd_ca": ""},
        {"cluster_etcd_prefix": "/another"},
    ],
)
def test_one_without_is_not(etcd: Config, changes: dict[str, str]) -> None:
    async def scene(client: Gateway) -> None:
        with pytest.raises(EtcdError):
            await client.read()

    run(etcd_settings(replace(etcd, **changes)), scene)


def test_one_with_a_wrong_password_is_not(etcd: Config, tmp_path: Path) -> None:
    (tmp_path / "password").write_text("wrong\n")

    async def scene(client: Gateway) -> None:
        with pytest.raises(EtcdError, match="authentication failed"):
            await client.read()

    run(etcd_settings(etcd), scene)
