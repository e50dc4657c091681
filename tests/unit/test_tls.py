"""HTTPS: pairs that are wrong are named, and a renewed certificate is used without a restart."""

from __future__ import annotations

import asyncio
import logging
import shutil
import socket
import ssl
import subprocess
import threading
from pathlib import Path

import pytest

from cortex_compile.errors import UsageError
from cortex_compile.facade.tls import keep_renewed, tls_context


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Path, Path]]:
    """Two certificates with their keys."""
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl to make certificates")
    folder = tmp_path_factory.mktemp("pairs")
    made = [(folder / f"{name}.pem", folder / f"{name}.key") for name in ("first", "second")]
    for certificate, key in made:
        command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        command += ["-subj", f"/CN={certificate.stem}", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "2"]
        subprocess.run([*command, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    return made


def test_pairs_that_cannot_be_used(pairs: list[tuple[Path, Path]], tmp_path: Path) -> None:
    (first, first_key), (_, second_key) = pairs
    with pytest.raises(UsageError, match=r"the key in .*second.key' is not that of the certificate in .*first.pem'"):
        tls_context(first, second_key)
    with pytest.raises(UsageError, match=r"--tls-cert .*none' cannot be read: no such file"):
        tls_context(tmp_path / "none", first_key)
    with pytest.raises(UsageError, match=r"--tls-key .* cannot be read: is a directory"):
        tls_context(first, tmp_path)
    words = tmp_path / "words"
    words.write_text("no certificate")
    for certificate, key in ((words, first_key), (first, words)):
        with pytest.raises(UsageError, match="are not a certificate and its key in PEM"):
            tls_context(certificate, key)
    locked = tmp_path / "locked"
    command = ["openssl", "ec", "-in", first_key, "-aes256", "-passout", "pass:secret", "-out", locked]
    subprocess.run(command, check=True, capture_output=True)
    with pytest.raises(UsageError, match=r"locked' is encrypted; expected one without a password"):
        tls_context(first, locked)


def served_name(context: ssl.SSLContext, trusted: list[Path]) -> str:
    """The name in the certificate that a client sees, which trusts these alone; TLS 1.1 is refused."""
    trust = ssl.create_default_context()
    for certificate in trusted:
        trust.load_verify_locations(certificate)
    here, there = socket.socketpair()

    def answer() -> None:
        with context.wrap_socket(here, server_side=True) as server:
            server.recv(1)

    answering = threading.Thread(target=answer)
    answering.start()
    with trust.wrap_socket(there, server_hostname="127.0.0.1") as client:
        assert client.version() in ("TLSv1.2", "TLSv1.3")
        found = client.getpeercert()
        client.sendall(b"x")
    answering.join()
    assert found is not None
    return str(dict(pair[0] for pair in found["subject"])["commonName"])


def test_a_renewed_certificate(
    pairs: list[tuple[Path, Path]], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    trusted = [certificate for certificate, _ in pairs]
    certificate, key = tmp_path / "tls.pem", tmp_path / "tls.key"
    for source, target in zip(pairs[0], (certificate, key), strict=True):
        shutil.copy(source, target)
    context = tls_context(certificate, key)
    assert served_name(context, trusted) == "first"

    async def scenario() -> None:
        renewing = asyncio.create_task(keep_renewed(context, certificate, key, look_every_s=0.02))
        await asyncio.sleep(0)
        # One file after the other, as tools write them: what is there in between is no pair.
        shutil.copy(pairs[1][0], certificate)
        await _until(lambda: "the certificate before it stays in use" in caplog.text)
        assert served_name(context, trusted) == "first"
        shutil.copy(pairs[1][1], key)
        await _until(lambda: served_name(context, trusted) == "second")
        key.unlink()
        await _until(lambda: caplog.text.count("stays in use") == 2)
        assert served_name(context, trusted) == "second"
        renewing.cancel()

    with caplog.at_level(logging.ERROR):
        asyncio.run(asyncio.wait_for(scenario(), timeout=30))


async def _until(condition) -> None:  # type: ignore[no-untyped-def]
    while not condition():
        await asyncio.sleep(0.02)
