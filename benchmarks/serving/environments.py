"""A virtual environment for each peer, in the cache: their requirements contradict each other.

What the models need (torch, transformers) is taken from the environment that runs this, after the peer's own packages:
no peer brings gigabytes of it again, and all run the same torch.
"""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from pathlib import Path

from cortex_compile.cache_folder import cache_folder

from .peer_servers import PEERS, Peer

_INSTALL_TIMEOUT_S = 1200


def programs_of(peer: Peer) -> Path:
    return _folder(peer) / "bin"


def install(peer: Peer) -> str | None:
    """Why it cannot be installed; None if it is."""
    if peer.environment:
        peer = PEERS[peer.environment]
    folder = _folder(peer)
    done = folder / "installed"
    if done.exists() and done.read_text() == _stamp(peer):
        return None
    print(f"installing {peer.name}", flush=True)
    try:
        _run([sys.executable, "-m", "venv", "--clear", str(folder)])
        _run([str(folder / "bin" / "python"), "-m", "pip", "install", "-qq", *peer.requirements])
    except subprocess.SubprocessError as error:
        said = (getattr(error, "stderr", None) or str(error)).strip().splitlines()
        return said[-1] if said else str(error)
    packages = Path(sysconfig.get_path("purelib", vars={"base": str(folder)}))
    (packages / "models_need.pth").write_text(sysconfig.get_path("purelib") + "\n")
    done.write_text(_stamp(peer))
    return None


def version_of(peer: Peer) -> str:
    package = peer.requirements[0].partition("[")[0]
    code = f"import importlib.metadata as m; print(m.version({package!r}))"
    return subprocess.run(
        [str(programs_of(peer) / "python"), "-c", code], capture_output=True, text=True, check=True
    ).stdout.strip()


def _folder(peer: Peer) -> Path:
    return cache_folder() / "peers" / (peer.environment or peer.name)


def _stamp(peer: Peer) -> str:
    return f"{sys.version} {sysconfig.get_path('purelib')} {' '.join(peer.requirements)}"


def _run(command: list[str]) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True, timeout=_INSTALL_TIMEOUT_S)
