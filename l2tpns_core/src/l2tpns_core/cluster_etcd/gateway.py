"""etcd by its JSON gateway (etcd 3.4 and later), over aiohttp: bounded, with a limit of time for
every call, and with the next endpoint when one fails.
"""

import asyncio
import json
from base64 import b64decode, b64encode
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

from aiohttp import ClientError, ClientResponse, ClientSession, ClientTimeout, TCPConnector

from l2tpns_core.cluster_etcd.errors import EtcdError, LeaseGoneError, TokenError
from l2tpns_core.cluster_etcd.records import KeyValue
from l2tpns_core.cluster_etcd.settings import EtcdSettings

MAX_ANSWER: Final = 1 << 20
MAX_KEYS: Final = 256
NOT_FOUND: Final = 5
UNAUTHORIZED: Final = 401

Json = dict[str, Any]


class Gateway:
    """A client. Every method raises EtcdError."""

    def __init__(self, settings: EtcdSettings, limit: float) -> None:
        """`limit` is the time for one call of one endpoint, in seconds."""
        self._settings = settings
        self._limit = limit
        self._at = 0
        self._token = ""
        self._session = ClientSession(
            connector=TCPConnector(ssl=settings.tls or True, limit=32, ttl_dns_cache=60),
            timeout=ClientTimeout(total=limit),
            trust_env=False,
        )
        self.moves = 0
        """How often another endpoint was chosen."""
        self.failures = 0

    @property
    def endpoint(self) -> str:
        """That is in use."""
        return self._settings.endpoints[self._at % len(self._settings.endpoints)]

    async def close(self) -> None:
        await self._session.close()

    # Leases

    async def grant(self, ttl: int) -> tuple[int, int]:
        """A new lease, and its time."""
        answer = await self.call("lease/grant", {"TTL": ttl})
        lease = _number(answer, "ID")
        if lease <= 0:
            raise EtcdError("etcd grants no lease: is it etcd that answers?")
        return lease, _number(answer, "TTL")

    async def renew(self, lease: int) -> None:
        """Raises LeaseGoneError when it has ended."""
        answer = await self.call("lease/keepalive", {"ID": lease})
        result = answer.get("result")
        if not isinstance(result, dict):
            raise EtcdError("a renewal has no result")
        if _number(result, "TTL") <= 0:
            raise LeaseGoneError("the lease has ended")

    async def revoke(self, lease: int) -> None:
        await self.call("lease/revoke", {"ID": lease})

    # Keys; all names are without the prefix

    async def read(self) -> tuple[int, list[KeyValue]]:
        """The revision of etcd, and all keys."""
        answer = await self.call("kv/range", {**self._everything(), "limit": MAX_KEYS})
        header = answer.get("header")
        if not isinstance(header, dict):
            raise EtcdError("an answer has no header")
        keys = answer.get("kvs", [])
        if not isinstance(keys, list):
            raise EtcdError("the keys of an answer are none")
        return _number(header, "revision"), [self._key_value(each) for each in keys]

    async def change(self, conditions: Sequence[tuple[str, int]], changes: Sequence[Json]) -> bool:
        """Make changes, of put() and delete(), if the last change of each key had the revision that
        is given, 0 for a key that is not there; whether they were made."""
        answer = await self.call(
            "kv/txn",
            {
                "compare": [
                    {"target": "MOD", "key": self._name(key), "mod_revision": revision}
                    for key, revision in conditions
                ],
                "success": list(changes),
            },
        )
        return answer.get("succeeded") is True

    def put(self, key: str, value: bytes, lease: int = 0) -> Json:
        put = {"key": self._name(key), "value": b64encode(value).decode(), "lease": lease}
        return {"request_put": put}

    def delete(self, key: str) -> Json:
        return {"request_delete_range": {"key": self._name(key)}}

    async def watch(self, patience: float) -> AsyncGenerator[None, None]:
        """Yields when the watch begins, and each time that something changes; ends after a while
        without a change."""
        request = {"create_request": {**self._everything(), "progress_notify": True}}
        limits = ClientTimeout(total=None, sock_connect=self._limit, sock_read=patience)
        async with self._request(self.endpoint, "watch", request, limits) as response:
            rest = b""
            try:
                async for chunk in response.content.iter_any():
                    *lines, rest = (rest + chunk).split(b"\n")
                    if len(rest) > MAX_ANSWER:
                        raise EtcdError("a line of a watch is too long")
                    for line in lines:
                        _check_watch(_object(line))
                        yield
            except (TimeoutError, ClientError, OSError) as error:
                raise EtcdError(f"{self.endpoint}: the watch ended: {error!r}") from error

    # Calls

    async def call(self, method: str, request: Json) -> Json:
        """Ask the endpoints one after the other, each once."""
        for _ in self._settings.endpoints[1:]:
            try:
                return await self._ask(method, request)
            except LeaseGoneError:
                raise
            except EtcdError:
                pass
        return await self._ask(method, request)

    async def _ask(self, method: str, request: Json) -> Json:
        at = self._at
        try:
            if self._settings.user and not self._token:
                await self._log_in()
            try:
                return await self._ask_once(self.endpoint, method, request)
            except TokenError:
                if not self._token:
                    raise
                self._token = ""  # tokens end after a while
                await self._log_in()
                return await self._ask_once(self.endpoint, method, request)
        except LeaseGoneError:
            raise
        except EtcdError:
            self.failures += 1
            self._token = ""
            if self._at == at:
                self._at += 1
                self.moves += 1
            raise

    async def _log_in(self) -> None:
        who = {"name": self._settings.user, "password": self._settings.password}
        answer = await self._ask_once(self.endpoint, "auth/authenticate", who)
        token = answer.get("token")
        if not isinstance(token, str) or not token.isprintable():
            raise EtcdError("etcd gives no token")
        self._token = token

    async def _ask_once(self, endpoint: str, method: str, request: Json) -> Json:
        limits = ClientTimeout(total=self._limit)
        async with self._request(endpoint, method, request, limits) as response:
            return _object(await _body(response))

    @asynccontextmanager
    async def _request(
        self, endpoint: str, method: str, request: Json, limits: ClientTimeout
    ) -> AsyncIterator[ClientResponse]:
        headers = {"Authorization": self._token} if self._token else {}
        try:
            async with self._session.post(
                f"{endpoint}/v3/{method}",
                data=json.dumps(request),
                headers=headers,
                timeout=limits,
                allow_redirects=False,
            ) as response:
                if response.status != 200:
                    raise _refusal(response.status, _object(await _body(response)))
                yield response
        except (ClientError, TimeoutError, asyncio.IncompleteReadError, OSError) as error:
            raise EtcdError(f"{endpoint}: {error or type(error).__name__}") from error

    # Names

    def _name(self, key: str) -> str:
        return b64encode((self._settings.prefix + key).encode()).decode()

    def _everything(self) -> Json:
        prefix = self._settings.prefix.encode()
        end = prefix[:-1] + bytes([prefix[-1] + 1])  # it ends in a slash
        return {"key": b64encode(prefix).decode(), "range_end": b64encode(end).decode()}

    def _key_value(self, found: object) -> KeyValue:
        if not isinstance(found, dict):
            raise EtcdError("a key is none")
        try:
            key = b64decode(str(found.get("key", ""))).decode()
            value = b64decode(str(found.get("value", "")))
        except ValueError as error:
            raise EtcdError("a key or a value is not Base64") from error
        name = key.removeprefix(self._settings.prefix)
        return KeyValue(name, value, _number(found, "lease"), _number(found, "mod_revision"))


async def _body(response: ClientResponse) -> bytes:
    data = b""
    async for chunk in response.content.iter_any():
        data += chunk
        if len(data) > MAX_ANSWER:
            raise EtcdError("an answer is too long")
    return data


def _object(data: bytes) -> Json:
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        raise EtcdError(f"an answer is not JSON: {data[:80]!r}") from None
    if not isinstance(found, dict):
        raise EtcdError("an answer is no object")
    return found


def _number(found: Json, name: str) -> int:
    """The gateway writes numbers of 64 bits as strings, and leaves 0 out."""
    value = found.get(name, 0)
    try:
        return int(value) if isinstance(value, int | str) else int("")
    except ValueError:
        raise EtcdError(f"{name} is not a number") from None


def _refusal(status: int, found: Json) -> EtcdError:
    text = str(found.get("error") or found.get("message") or "")[:200]
    if found.get("code") == NOT_FOUND and "lease not found" in text:
        return LeaseGoneError(text)
    kind = TokenError if status == UNAUTHORIZED else EtcdError
    return kind(f"etcd refuses: {status} {text}")


def _check_watch(answer: Json) -> None:
    if "error" in answer:
        raise EtcdError(f"a watch was refused: {str(answer['error'])[:200]}")
    result = answer.get("result")
    if not isinstance(result, dict) or result.get("canceled"):
        raise EtcdError("a watch was ended")
