"""API keys: what the file may hold, that it is read again, who is let in, and what a predictor sees of it."""

from __future__ import annotations

import asyncio
import hmac
import logging
import os
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from cortex_compile.cli.api_key import api_key
from cortex_compile.errors import UsageError
from cortex_compile.facade import api_keys
from cortex_compile.facade.api_keys import ApiKeys, KeyFile, line_for_key, new_key, read_api_keys
from cortex_compile.facade.client_counts import ClientCounts
from cortex_compile.facade.client_limit import ClientLimit
from cortex_compile.facade.guard import Guard
from cortex_compile.facade.require_key import RequireKey
from cortex_compile.facade.settings import FacadeSettings

ALICE, BOB = new_key(), new_key()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "keys"
    path.write_text(f"# who may ask\n\n{line_for_key('alice', ALICE)}\n  {line_for_key('bob', BOB)}\n")
    return path


def test_a_key_is_its_name_s(file: Path) -> None:
    keys = ApiKeys(read_api_keys(file))
    assert keys.name_of(ALICE.encode()) == "alice"
    assert keys.name_of(BOB.encode()) == "bob"
    for other in (b"", ALICE[:-1].encode(), b"\xff", (ALICE + " ").encode(), read_api_keys(file)[0].sha256):
        assert keys.name_of(other) is None


def test_every_key_is_compared_in_constant_time(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compared = []
    compare = hmac.compare_digest
    monkeypatch.setattr(hmac, "compare_digest", lambda a, b: compared.append(a) or compare(a, b))
    ApiKeys(read_api_keys(file)).name_of(ALICE.encode())
    assert len(compared) == 2


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(ALICE, id="a key"),
        pytest.param(f"alice:{ALICE}", id="a name and a key"),
        pytest.param("alice:" + "0" * 63, id="too short"),
        pytest.param(":" + "0" * 64, id="no name"),
        pytest.param("../a:" + "0" * 64, id="a path"),
    ],
)
def test_a_line_that_is_none_is_named_and_not_repeated(file: Path, line: str) -> None:
    file.write_text(f"{line_for_key('bob', BOB)}\n{line}\n")
    with pytest.raises(UsageError, match=r"keys:2: is no API key: expected a name") as caught:
        read_api_keys(file)
    assert ALICE not in str(caught.value)
    assert "0000" not in str(caught.value)


def test_files_that_let_nobody_in(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.write_text("# nobody\n")
    with pytest.raises(UsageError, match="has no API key"):
        read_api_keys(empty)
    with pytest.raises(UsageError, match="cannot be read: no such file"):
        read_api_keys(tmp_path / "none")
    with pytest.raises(UsageError, match="cannot be read: is a directory"):
        read_api_keys(tmp_path)
    empty.write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="not utf-8"):
        read_api_keys(empty)


def test_a_changed_file_is_read_again(
    file: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(api_keys, "_LOOK_EVERY_S", 0.0)
    keys = KeyFile(file)
    new = new_key()
    file.write_text(f"{line_for_key('alice', new)}\n")
    assert ApiKeys(keys.read()).name_of(ALICE.encode()) is None
    assert ApiKeys(keys.read()).name_of(new.encode()) == "alice"
    # What breaks later locks nobody out, and is told once.
    file.write_text("")
    with caplog.at_level(logging.ERROR):
        assert [key.name for key in keys.read()] == ["alice"]
        assert [key.name for key in keys.read()] == ["alice"]
    assert caplog.text.count("the keys that were read before stay valid") == 1
    file.unlink()
    assert [key.name for key in keys.read()] == ["alice"]
    # As Kubernetes changes a secret: another file in its place.
    other = file.with_name("other")
    other.write_text(f"{line_for_key('bob', BOB)}\n")
    os.replace(other, file)
    assert [key.name for key in keys.read()] == ["bob"]


def test_the_command_makes_keys_that_are_valid(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    made = [
        CliRunner().invoke(api_key, [str(file), name], catch_exceptions=False).output.strip() for name in ("a", "b")
    ]
    assert file.stat().st_mode & 0o777 == 0o600
    assert all(key not in file.read_text() for key in made)
    file.write_text(file.read_text().rstrip("\n"))
    made.append(CliRunner().invoke(api_key, [str(file), "a"], catch_exceptions=False).output.strip())
    keys = ApiKeys(read_api_keys(file))
    assert [keys.name_of(key.encode()) for key in made] == ["a", "b", "a"]
    with pytest.raises(UsageError, match="cannot name a key"):
        CliRunner().invoke(api_key, [str(file), "a:b"], catch_exceptions=False)


class Recorder:
    """An application, and a client that hears what is sent. ``hold`` keeps requests under way."""

    def __init__(self) -> None:
        self.scopes: list[dict[str, Any]] = []
        self.hold = asyncio.Event()
        self.hold.set()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.scopes.append(scope)
        await self.hold.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})


async def ask(app: Any, path: str = "/x", *headers: tuple[bytes, bytes], client: str = "1.2.3.4") -> dict[str, Any]:
    sent: list[dict[str, Any]] = []

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "path": path, "headers": list(headers), "client": (client, 1)}
    await app(scope, None, send)
    return {"status": sent[0]["status"], **{name.decode(): value for name, value in sent[0]["headers"]}}


def test_who_is_let_in(file: Path) -> None:
    async def scenario() -> None:
        inner = Recorder()
        app = RequireKey(inner, ApiKeys(read_api_keys(file)))
        good = ALICE.encode()
        for header in (
            (b"x-api-key", good),
            (b"authorization", b"Bearer " + good),
            (b"authorization", b"bEARER  " + good),
        ):
            assert (await ask(app, "/x", header))["status"] == 200
            assert inner.scopes[-1]["headers"] == []
        for path in ("/healthz", "/readyz"):
            assert (await ask(app, path))["status"] == 200
        seen = len(inner.scopes)
        for path in ("/", "/x", "/metrics", "/docs", "/openapi.json", "/healthz/", "//healthz", "/Healthz"):
            refused = await ask(app, path)
            assert refused["status"] == 401
            assert refused["www-authenticate"] == b'Bearer realm="cortex-compile"'
        for header in ((b"x-api-key", b"guess"), (b"authorization", b"Bearer "), (b"x-api-key", b"")):
            assert b"invalid_token" in (await ask(app, "/x", header))["www-authenticate"]
        assert (await ask(app, "/x", (b"authorization", b"Basic " + good)))["status"] == 401
        assert len(inner.scopes) == seen

    asyncio.run(scenario())


def test_a_key_of_the_predictor_s_own_goes_on_to_it(file: Path) -> None:
    async def scenario() -> None:
        inner = Recorder()
        own = (b"authorization", b"Bearer of-the-predictor")
        assert (await ask(RequireKey(inner, ApiKeys(read_api_keys(file))), "/x", own, (b"x-api-key", BOB.encode())))[
            "status"
        ] == 200
        assert inner.scopes[-1]["headers"] == [own]

    asyncio.run(scenario())


async def _fill(app: Any, inner: Recorder, *clients: str, headers: tuple[tuple[bytes, bytes], ...] = ()) -> list[int]:
    """The statuses of requests that are under way together, one of each client."""
    inner.hold.clear()
    asking = [asyncio.create_task(ask(app, "/x", *headers, client=client)) for client in clients]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    inner.hold.set()
    return [answer["status"] for answer in await asyncio.gather(*asking)]


def test_one_client_may_not_take_what_all_share(file: Path) -> None:
    async def scenario() -> None:
        inner = Recorder()
        counts = ClientLimit(2)
        limit = counts.around(inner)
        assert await _fill(limit, inner, *["1.1.1.1"] * 3, "2.2.2.2") == [200, 200, 429, 200]
        assert await _fill(limit, inner, *["1.1.1.1"] * 3) == [200, 200, 429]  # it was counted down
        # One customer has 2^64 addresses; the IPv4 addresses of a socket for both are clients of their own.
        assert await _fill(limit, inner, "2001:db8::1", "2001:db8::2", "2001:db8::3") == [200, 200, 429]
        assert await _fill(limit, inner, *(f"::ffff:1.1.1.{i}" for i in range(3))) == [200, 200, 200]
        assert counts._under_way == {}
        # With keys the key counts, wherever it comes from.
        keyed = RequireKey(limit, ApiKeys(read_api_keys(file)))
        header = ((b"x-api-key", ALICE.encode()),)
        assert await _fill(keyed, inner, "1.1.1.1", "2.2.2.2", "3.3.3.3", headers=header) == [200, 200, 429]

    asyncio.run(scenario())


def test_a_refused_client_is_told_when_to_come_back() -> None:
    async def scenario() -> None:
        answer = await ask(ClientLimit(0).around(Recorder()))
        assert answer["status"] == 429
        assert answer["retry-after"] == b"1"
        assert (await ask(ClientLimit(0).around(Recorder()), "/readyz"))["status"] == 200

    asyncio.run(scenario())


def test_workers_count_a_client_together(tmp_path: Path) -> None:
    async def scenario() -> None:
        first, second = (ClientLimit(2, ClientCounts(tmp_path / "counts", number, 2)) for number in range(2))
        here, there = Recorder(), Recorder()
        here.hold.clear()
        asking = asyncio.create_task(ask(first.around(here), client="1.1.1.1"))
        await asyncio.sleep(0)
        assert await _fill(second.around(there), there, "1.1.1.1", "1.1.1.1", "2.2.2.2") == [200, 429, 200]
        here.hold.set()
        assert (await asking)["status"] == 200
        assert await _fill(second.around(there), there, "1.1.1.1", "1.1.1.1", "1.1.1.1") == [200, 200, 429]

    asyncio.run(scenario())


def test_what_a_worker_that_died_had_under_way_is_over(tmp_path: Path) -> None:
    first, second = (ClientCounts(tmp_path / "counts", number, 2) for number in range(2))
    first.add("client", 5)
    second.add("client", 1)
    assert second.elsewhere("client") == 5
    again = ClientCounts(tmp_path / "counts", 0, 2)
    assert (second.elsewhere("client"), again.elsewhere("client")) == (0, 1)


def test_counts_and_keys_outlive_the_apis(file: Path) -> None:
    async def scenario() -> None:
        guard = Guard(FacadeSettings(api_keys=file, max_client_concurrency=1), read_api_keys(file))
        header, inner = (b"x-api-key", ALICE.encode()), Recorder()
        inner.hold.clear()
        asking = asyncio.create_task(ask(guard.around(inner), "/x", header))
        await asyncio.sleep(0)
        other = Recorder()
        assert (await ask(guard.around(other), "/x", header))["status"] == 429
        inner.hold.set()
        assert (await asking)["status"] == 200
        guard.take_keys(())
        assert (await ask(guard.around(other), "/x", header))["status"] == 401

    asyncio.run(scenario())
