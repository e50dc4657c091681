"""Our side of a workload: the project as a user has it, compiled by the command for the cores it will be served on."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
from pathlib import Path

import yaml

from cortex_compile.cache_folder import cache_folder

from .peer_servers import Setting
from .workloads import Workload, encode_payload

_SAMPLES = 4


def build_of(workload: Workload, setting: Setting, cores: tuple[int, ...], name: str | None = None) -> Path:
    """Its folder. What was compiled before and has not changed is not compiled again."""
    api = name or workload.name
    folder = cache_folder() / "serving" / f"{api}-{len(cores)}-{setting.workers}"
    return _compile(workload, api, folder, setting.workers, cores)


@functools.cache
def _compile(workload: Workload, api: str, folder: Path, processes: int, cores: tuple[int, ...]) -> Path:
    write_project(workload, api, folder / "project", processes)
    build = folder / "build"
    command = [sys.executable, "-m", "cortex_compile", "compile", "predictor.py", "--output", str(build)]
    done = subprocess.run(
        command,
        cwd=folder / "project",
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: os.sched_setaffinity(0, cores),
    )
    if done.returncode:
        raise SystemExit(f"{workload.name} does not compile: {done.stderr}")
    return build


def write_project(workload: Workload, api: str, folder: Path, processes: int) -> None:
    """Files that are there already are written only where they differ: a compile goes by their content."""
    folder.mkdir(parents=True, exist_ok=True)
    for file in workload.path.glob("*.py"):
        shutil.copyfile(file, folder / file.name)
    samples = []
    payloads = sorted(workload.payloads(), key=lambda payload: len(encode_payload(workload.kind, payload)[0]))
    kept = payloads if len(payloads) <= _SAMPLES else [payloads[0], payloads[len(payloads) // 2], payloads[-1]]
    for number, payload in enumerate(kept):
        body, content_type = encode_payload(workload.kind, payload)
        file_name = f"sample-{number}.{'json' if content_type == 'application/json' else 'bin'}"
        (folder / file_name).write_bytes(body)
        samples.append({"file": file_name, "headers": {"content-type": content_type}})
    predictor = {"type": "python", "path": "predictor.py", "processes_per_replica": processes, **dict(workload.api)}
    config = [{"name": api, "kind": "RealtimeAPI", "predictor": predictor, "compile": {"samples": samples}}]
    (folder / "cortex.yaml").write_text(yaml.safe_dump(config))
