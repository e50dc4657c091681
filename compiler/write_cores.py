"""Put the cores of an API into a model repository: their graphs, weights, and Triton models with their configs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cortex_compile.backends.protocol import TritonSettings
from cortex_compile.compiler.artifacts import ChosenCore
from cortex_compile.compiler.config_pbtxt import OnCpu, OnGpu, Queue
from cortex_compile.compiler.core_configs import configs_of_core
from cortex_compile.compiler.hard_links import link_or_copy
from cortex_compile.errors import EngineError
from cortex_compile.python_backend.manifest import Core, Variant
from cortex_compile.python_backend.names import is_file_name

__all__ = ["Around", "SettingsOf", "external_data_of", "write_core"]

SettingsOf = Callable[[str, int], TritonSettings | None]
"""(engine, threads) -> how Triton runs a remote core."""


@dataclass(frozen=True)
class Around:
    """What the configs of all remote cores of an API have in common."""

    settings_of: SettingsOf
    queue: Queue
    on_gpu: OnGpu


def write_core(chosen: ChosenCore, api: str, around: Around, repository: Path) -> Core:
    """Link its files to where they belong, and return the core as the manifest names them.

    Raises:
        EngineError: it is placed remote, and Triton cannot run its engine.
    """
    core = chosen.core
    _check_is_file_name(core.name)
    local = f"cores/{core.name}"
    own_folder = repository / api / "1" / local
    own_folder.mkdir(parents=True)
    variants = []
    for index, variant in enumerate(core.variants):
        files = (variant.graph, *external_data_of(chosen.folder / variant.graph))
        if core.placement == "remote":
            model = f"{api}--{core.name}" + (f"--{variant.name}" if index else "")
            settings = around.settings_of(core.engine, core.threads)
            if settings is None:
                raise EngineError(f"{core.name}: Triton has no backend for {core.engine!r}. Place the core local.")
            cpu = OnCpu(core.instances, core.max_batch)
            _write_remote_model(repository / model, variant, files, chosen.folder, settings, around, cpu)
            variants.append(replace(variant, graph=model))
        else:
            for name in files:
                _link(chosen.folder / name, own_folder / name)
            variants.append(replace(variant, graph=f"{local}/{variant.graph}"))
    if core.weights_file is not None:
        _link(chosen.folder / core.weights_file, own_folder / core.weights_file)
    weights_file = None if core.weights_file is None else f"{local}/{core.weights_file}"
    return replace(core, variants=tuple(variants), weights_file=weights_file)


def _write_remote_model(
    model: Path,
    variant: Variant,
    files: Sequence[str],
    source: Path,
    settings: TritonSettings,
    around: Around,
    cpu: OnCpu,
) -> None:
    _check_is_file_name(model.name)
    version_folder = model / "1"
    version_folder.mkdir(parents=True)
    _link(source / files[0], version_folder / settings.model_filename)
    for name in files[1:]:
        # A graph names its external data by file name, so that name stays.
        _link(source / name, version_folder / name)
    (model / "configs").mkdir()
    for name, config in configs_of_core(model.name, variant, settings, around.queue, around.on_gpu, cpu).items():
        (model / name).write_text(config)


def external_data_of(graph: Path) -> tuple[str, ...]:
    """The files beside an ONNX graph that hold its weights."""
    if graph.suffix != ".onnx":
        return ()
    import onnx

    tensors = _tensors_of(onnx.load(graph, load_external_data=False).graph)
    names = sorted({entry.value for tensor in tensors for entry in tensor.external_data if entry.key == "location"})
    for name in names:
        _check_is_file_name(name)
    return tuple(names)


def _tensors_of(graph: Any) -> Iterator[Any]:
    """The constants of a graph and of the graphs inside it (the branches of an If)."""
    yield from graph.initializer
    for attribute in (attribute for node in graph.node for attribute in node.attribute):
        yield attribute.t
        yield from attribute.tensors
        for inner in (attribute.g, *attribute.graphs):
            yield from _tensors_of(inner)


def _check_is_file_name(name: str) -> None:
    if not is_file_name(name):
        raise ValueError(f"{name!r} is not the name of a file in a build")


def _link(source: Path, target: Path) -> None:
    """Variants of a core share files."""
    if not target.exists():
        link_or_copy(source, target)
