"""What a person should know of a project and that stops nothing, a line each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cortex_compile.compiler.cluster_settings import words_for_a_cluster
from cortex_compile.compiler.cortex_yaml import LocatedApi
from cortex_compile.compiler.tolerances import Tolerances

__all__ = ["has_nvidia_gpu", "project_notices"]


def project_notices(
    located: LocatedApi, folder: Path, secrets: int, cluster: dict[str, Any], tolerances: Tolerances
) -> tuple[str, ...]:
    api, notices = located.api, []
    words = words_for_a_cluster(cluster)
    if words:
        notices.append(f"{located.file.path.name}: kept for a cluster, without effect here: {', '.join(words)}.")
    looser = ", ".join(tolerances.looser_than(Tolerances()))
    if looser:
        notices.append(f"{located.at('compile', 'tolerance')}: looser than the default: {looser}.")
    if api.compute.gpu and not has_nvidia_gpu():
        notices.append(
            f"{located.at('compute', 'gpu')}: asks for {api.compute.gpu}, this machine has none: CPU is used."
        )
    reloading = api.predictor.multi_model_reloading
    if reloading and reloading.disk_cache_size:
        where = located.at("predictor", "multi_model_reloading", "disk_cache_size")
        notices.append(f"{where}: has no effect: models are read where they are.")
    dependencies = api.predictor.dependencies
    for written, default in (
        (dependencies and dependencies.conda, "conda-packages.txt"),
        (dependencies and dependencies.shell, "dependencies.sh"),
    ):
        path = folder / (written or default)
        if path.exists():
            notices.append(f"{path}: is not run here. Install what it installs by yourself.")
    if secrets:
        notices.append(f"{folder / '.env'}: what it sets goes into the build: keep that as private as the file.")
    return tuple(notices)


def has_nvidia_gpu() -> bool:
    return any(Path(device).exists() for device in ("/dev/nvidiactl", "/dev/dxg"))
