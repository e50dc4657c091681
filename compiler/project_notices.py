"""What a person should know of a project and that stops nothing, a line each."""

from __future__ import annotations

from pathlib import Path

from cortex_compile.compiler.cortex_yaml import LocatedApi, keys_without_effect

__all__ = ["project_notices"]


def project_notices(located: LocatedApi, folder: Path, secrets: int) -> tuple[str, ...]:
    api, notices = located.api, []
    keys = [".".join(map(str, key)) for key in keys_without_effect(api)]
    if keys:
        verb = "has" if len(keys) == 1 else "have"
        notices.append(f"{located.at()}: {', '.join(keys)} {verb} no effect here: a cluster's or an image's settings.")
    if api.compute.gpu and not _has_nvidia_gpu():
        notices.append(
            f"{located.at('compute', 'gpu')}: asks for {api.compute.gpu}, this machine has none: CPU is used."
        )
    dependencies = api.predictor.dependencies
    for written, default in (
        (dependencies and dependencies.conda, "conda-packages.txt"),
        (dependencies and dependencies.shell, "dependencies.sh"),
    ):
        path = folder / (written or default)
        if path.exists():
            notices.append(f"{path}: is not run here. Install what it installs by yourself.")
    if secrets:
        notices.append(f"{folder / '.env'}: its {secrets} values go into the build: keep that as private as the file.")
    return tuple(notices)


def _has_nvidia_gpu() -> bool:
    return any(Path(device).exists() for device in ("/dev/nvidiactl", "/dev/dxg"))
