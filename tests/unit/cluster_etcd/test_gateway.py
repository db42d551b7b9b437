"""The client of etcd's gateway: another endpoint when one fails, and nothing but EtcdError whatever
is answered.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given, settings
from hypothesis import strategies as st

from l2tpns_core.cluster_etcd.errors import EtcdError, LeaseGoneError
from l2tpns_core.cluster_etcd.gateway import MAX_ANSWER, Gateway
from l2tpns_core.cluster_etcd.settings import EtcdSettings

LIMIT_S = 2.0
SHORT_S = 0.2
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
NOBODY = "http://127.0.0.1:9"


@contextlib.asynccontextmanager
async def server(handler: Handler) -> AsyncIterator[str]:
    """Its URL."""
    application = web.Application()
    application.router.add_post("/{path:.*}", handler)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def answering(found: object) -> Handler:
    async def handler(request: web.Request) -> web.Response:
        return web.json_response(found)

    return handler


@contextlib.asynccontextmanager
async def client(*endpoints: str, limit: float = LIMIT_S, **options: str) -> AsyncIterator[Gateway]:
    made = Gateway(EtcdSettings(endpoints, **options), limit)  # type: ignore[arg-type]
    try:
        yield made
    finally:
        await made.close()


def run(scene: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(scene())


LEASE = {"ID": "7587", "TTL": "5"}


def test_the_next_endpoint_is_asked_when_one_is_not_there() -> None:
    async def scene() -> None:
        async with server(answering(LEASE)) as url, client(NOBODY, url) as etcd:
            assert await etcd.grant(5) == (7587, 5)
            assert (etcd.endpoint, etcd.moves) == (url, 1)
            await etcd.grant(5)
            assert etcd.moves == 1, "it stays with the one that answers"

    run(scene)


def test_the_next_endpoint_is_asked_when_one_says_nothing() -> None:
    async def hangs(request: web.Request) -> web.Response:
        await asyncio.sleep(60)
        return web.Response()

    async def scene() -> None:
        async with (
            server(hangs) as silent,
            server(answering(LEASE)) as url,
            client(silent, url, limit=SHORT_S) as etcd,
        ):
            assert await etcd.grant(5) == (7587, 5)

    run(scene)


def test_when_none_answers_that_is_said() -> None:
    async def scene() -> None:
        async with client(NOBODY, NOBODY) as etcd:
            with pytest.raises(EtcdError):
                await etcd.grant(5)

    run(scene)


@pytest.mark.parametrize(
    "answer",
    [{"result": {"ID": "7"}}, {"result": {"ID": "7", "TTL": "0"}}, {"result": {"TTL": -1}}],
)
def test_a_lease_that_has_ended_is_known_as_that(answer: object) -> None:
    async def scene() -> None:
        async with server(answering(answer)) as url, client(url) as etcd:
            with pytest.raises(LeaseGoneError):
                await etcd.renew(7)

    run(scene)


def test_a_grant_without_a_lease_is_an_error() -> None:
    """Whatever answers there: it would be asked again without a pause."""

    async def scene() -> None:
        async with server(answering({})) as url, client(url) as etcd:
            with pytest.raises(EtcdError, match="is it etcd that answers"):
                await etcd.grant(5)

    run(scene)


def test_an_answer_that_is_too_long_is_not_read_to_its_end() -> None:
    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        with contextlib.suppress(ConnectionError):
            for _ in range(64):
                await response.write(b" " * (MAX_ANSWER // 16))
        return response

    async def scene() -> None:
        async with server(endless) as url, client(url) as etcd:
            with pytest.raises(EtcdError, match="too long"):
                await etcd.grant(5)

    run(scene)


def test_a_user_logs_in_and_does_so_again_when_the_token_is_too_old() -> None:
    tokens = iter(["first", "second"])
    seen: list[str] = []

    async def guarded(request: web.Request) -> web.Response:
        asked = await request.json()
        if request.path == "/v3/auth/authenticate":
            assert asked == {"name": "lns", "password": "secret"}
            return web.json_response({"token": next(tokens)})
        seen.append(request.headers["Authorization"])
        if len(seen) == 2:
            return web.json_response({"error": "invalid auth token", "code": 16}, status=401)
        return web.json_response(LEASE)

    async def scene() -> None:
        async with (
            server(guarded) as url,
            client(url, user="lns", password="secret") as etcd,
        ):
            await etcd.grant(5)
            await etcd.grant(5)
        assert seen == ["first", "first", "second"]

    run(scene)


def test_a_watch_tells_of_changes_and_ends_when_it_is_refused() -> None:
    async def watched(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for line in ({"result": {"created": True}}, {"result": {"events": []}}, {"error": {}}):
            await response.write(json.dumps(line).encode() + b"\n")
        return response

    async def scene() -> None:
        async with server(watched) as url, client(url) as etcd:
            watch = etcd.watch(LIMIT_S)
            await anext(watch)
            await anext(watch)
            with pytest.raises(EtcdError):
                await anext(watch)

    run(scene)


def test_a_watch_that_hears_nothing_ends() -> None:
    async def silent(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await asyncio.sleep(60)
        return response

    async def scene() -> None:
        async with server(silent) as url, client(url) as etcd:
            with pytest.raises(EtcdError):
                await anext(etcd.watch(SHORT_S))

    run(scene)


FIELDS = st.sampled_from(["header", "revision", "kvs", "key", "value", "ID", "TTL", "result"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=6),
    lambda some: st.lists(some, max_size=3) | st.dictionaries(FIELDS, some, max_size=4),
    max_leaves=10,
)
BODIES = st.binary(max_size=40) | JSON.map(lambda found: json.dumps(found).encode())


@settings(max_examples=20, deadline=None)
@given(st.lists(BODIES, min_size=20, max_size=20), st.sampled_from([200, 200, 200, 302, 404, 500]))
def test_whatever_is_answered_nothing_else_than_an_etcd_error_comes_of_it(
    bodies: list[bytes], status: int
) -> None:
    waiting = iter(bodies)

    async def hostile(request: web.Request) -> web.Response:
        return web.Response(body=next(waiting), status=status)

    async def scene() -> None:
        async with server(hostile) as url, client(url) as etcd:
            for call in (lambda: etcd.grant(5), lambda: etcd.renew(5), etcd.read) * 6:
                with contextlib.suppress(EtcdError):
                    await call()
            with contextlib.suppress(EtcdError):
                assert not await etcd.change((), [etcd.delete("key")])

    run(scene)
