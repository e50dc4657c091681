"""How to know that a module is the one that was compiled: its class, structure, weights, and what forward reads."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from types import FunctionType, ModuleType, SimpleNamespace
from typing import Any, NamedTuple

from .find_modules import TORCH_MODULE_FIELDS
from .manifest import AttributeRead

_PLAIN = (type(None), bool, int, float, str)
# Py_TPFLAGS_HEAPTYPE and Py_TPFLAGS_IMMUTABLETYPE: of a class written in Python only the first is set.
_HEAP_TYPE, _IMMUTABLE_TYPE = 1 << 9, 1 << 8
# Read by nn.Module itself on every call; they say nothing of what forward computes.
_TORCH_INTERNAL = frozenset({"_is_full_backward_hook", "_compiled_call_impl"})


def class_name(module: Any) -> str:
    return f"{type(module).__module__}.{type(module).__qualname__}"


def packages_of(module: Any) -> set[str]:
    """The packages, by the names that they are imported by, whose classes a module is made of; torch is one of them."""
    return {"torch", *(type(part).__module__.partition(".")[0] for part in module.modules())}


def library_version(package: str) -> str | None:
    """What an imported package says of itself; None where it says nothing, as a user's own module does."""
    version = getattr(sys.modules.get(package), "__version__", None)
    return None if version is None else str(version)


def structure_sha256(module: Any) -> str:
    """Over the classes, parameter and buffer shapes and dtypes of all submodules, and the configs they hold."""
    lines: list[str] = []
    configs: set[int] = set()
    for name, part in module.named_modules(remove_duplicate=False):
        lines.append(f"{name} {class_name(part)}")
        config = vars(part).get("config")
        if config is not None and id(config) not in configs and callable(getattr(config, "to_dict", None)):
            configs.add(id(config))
            # Hugging Face's modules read their config in forward, so it becomes part of the graph.
            lines.append(json.dumps(_without_places(config.to_dict()), sort_keys=True, default=repr))
    for name, tensor in _tensors(module):
        lines.append(f"{name} {tensor.dtype} {tuple(tensor.shape)}")
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _without_places(config: Any) -> Any:
    """A config without the folder that it was loaded from, which is another one in a container."""
    if not isinstance(config, dict):
        return config
    return {key: _without_places(value) for key, value in config.items() if key != "_name_or_path"}


def weights_sha256(module: Any) -> str:
    """Over the bytes of all parameters and buffers, each one once."""
    digest = hashlib.sha256()
    seen: set[int] = set()
    for name, tensor in _tensors(module):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        if id(tensor) not in seen:
            seen.add(id(tensor))
            digest.update(bytes_of(tensor))
    return digest.hexdigest()


def bytes_of(tensor: Any) -> memoryview:
    """The values of a tensor of any dtype and device as contiguous bytes."""
    import torch

    plain = tensor.detach().cpu().contiguous()
    values: Any = plain.view(-1).view(torch.uint8) if plain.numel() else torch.empty(0, dtype=torch.uint8)
    return memoryview(values.numpy())


def _tensors(module: Any) -> Iterator[tuple[str, Any]]:
    yield from module.named_parameters(remove_duplicate=False)
    yield from module.named_buffers(remove_duplicate=False)
    for path, part, name in _tensor_attributes(module):
        yield f"{path}.{name}", vars(part)[name]


def _tensor_attributes(module: Any) -> Iterator[tuple[str, Any, str]]:
    """Tensors that are neither parameters nor buffers: a mask, say. They are constants of a graph, too."""
    import torch

    for path, part in module.named_modules():
        for name, value in sorted(vars(part).items()):
            if isinstance(value, torch.Tensor):
                yield path, part, name


class WatchedTensor(NamedTuple):
    """A tensor that is an attribute: where it lives, which it is, and how often it was changed in place by then."""

    holder: dict[str, Any]
    name: str
    tensor: Any
    version: int


def watch_tensors(module: Any) -> list[WatchedTensor]:
    """The tensors among the attributes, as they are now."""
    return [
        WatchedTensor(vars(part), name, vars(part)[name], _version_of(vars(part)[name]))
        for _, part, name in _tensor_attributes(module)
    ]


def first_changed_tensor(watched: Sequence[WatchedTensor]) -> str | None:
    """What the first is that is another one, or was changed in place; or None."""
    for holder, name, tensor, version in watched:
        if holder.get(name) is not tensor or _version_of(tensor) != version:
            return f"its attribute {name!r}"
    return None


def _version_of(tensor: Any) -> int:
    # One that was made in inference mode keeps none; nothing outside inference mode can change it in place.
    return 0 if tensor.is_inference() else int(tensor._version)


@contextmanager
def record_attribute_reads(module: Any) -> Iterator[dict[tuple[str, str], Any]]:
    """Collect, while open, every plain attribute that code reads from the module, a submodule, or an object that one
    of them holds (``x * self.scale``, ``self.config.hidden_act``).

    An exporter bakes such a value into the graph, so the graph is right only while they hold. Keys are (path of the
    submodule, attribute), with a dot where the attribute is that of an object.
    """
    import torch

    parts = dict(module.named_modules())
    owners = {id(part): (path, "") for path, part in parts.items()}
    kinds: set[type] = {torch.nn.Module}
    reads: dict[tuple[str, str], Any] = {}
    for path, part in parts.items():
        for name, value in vars(part).items():
            if is_held_object(value):
                owners.setdefault(id(value), (path, f"{name}."))
                kinds.add(type(value))
            elif name not in TORCH_MODULE_FIELDS:
                # Who reads these cannot be seen, so all that they hold counts.
                reads |= {(path, f"{name}.{key}"): item for key, item in _plain_entries(value).items()}

    def note(owner: Any, name: str, value: Any) -> None:
        if id(owner) in owners and is_plain(value) and name not in _TORCH_INTERNAL:
            # Hugging Face's configs have other names for some of their attributes.
            name = getattr(type(owner), "attribute_map", {}).get(name, name)
            if name in object.__getattribute__(owner, "__dict__"):
                path, prefix = owners[id(owner)]
                reads[path, prefix + name] = value

    with ExitStack() as undo:
        for kind in kinds:
            undo.enter_context(_noting_reads(kind, note))
        yield reads


def is_held_object(value: Any) -> bool:
    """An object of a class written in Python: a config, say. Its class can be watched, and its attributes change."""
    import torch

    if isinstance(value, (torch.nn.Module, torch.Tensor, type, ModuleType, FunctionType, dict, list, tuple, set)):
        return False
    return type(value).__flags__ & (_HEAP_TYPE | _IMMUTABLE_TYPE) == _HEAP_TYPE and hasattr(value, "__dict__")


def _plain_entries(value: Any) -> dict[str, Any]:
    """Of a dict with names as keys, or of a namespace."""
    held = vars(value) if type(value) is SimpleNamespace else value
    if type(held) is not dict:
        return {}
    return {key: item for key, item in held.items() if type(key) is str and "." not in key and is_plain(item)}


@contextmanager
def _noting_reads(kind: type, note: Callable[[Any, str, Any], None]) -> Iterator[None]:
    own = vars(kind).get("__getattribute__")
    read: Any = kind.__getattribute__

    def noting(owner: Any, name: str) -> Any:
        value = read(owner, name)
        note(owner, name, value)
        return value

    kind.__getattribute__ = noting  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        if own is None:
            del kind.__getattribute__
        else:
            kind.__getattribute__ = own  # type: ignore[method-assign]


def is_plain(value: Any) -> bool:
    """True for what JSON carries: a scalar, or a tuple or list of scalars."""
    if isinstance(value, (tuple, list)):
        return all(type(item) in _PLAIN for item in value)
    return type(value) in _PLAIN


def as_json_value(value: Any) -> Any:
    return list(value) if isinstance(value, (tuple, list)) else value


class Watched(NamedTuple):
    """A Python value that is part of a graph: where it lives, its value when compiled, and what it is to people."""

    holder: dict[str, Any]
    name: str
    value: Any
    what: str


def watch(holder: dict[str, Any], name: str, value: Any, what: str) -> Watched:
    """``value`` is as JSON carries it. While the object that is there now stays, it is not compared again."""
    found = holder.get(name)
    # A list could be changed and stay the same object.
    is_it = not isinstance(found, list) and as_json_value(found) == value
    return Watched(holder, name, found if is_it else value, what)


def locate_attributes(module: Any, reads: tuple[AttributeRead, ...]) -> list[Watched]:
    """For each attribute read: where it is in this process; cheap to compare later.

    Raises:
        KeyError: the module has no such submodule.
    """
    parts = dict(module.named_modules())
    located = []
    for read in reads:
        attributes: dict[str, Any] = parts[read.module].__dict__
        holder, _, name = read.name.rpartition(".")
        if holder:
            held = attributes.get(holder)
            attributes = held if type(held) is dict else getattr(held, "__dict__", {})
        located.append(watch(attributes, name, read.value, f"its attribute {name!r}"))
    return located


def first_changed(watched: Sequence[Watched]) -> str | None:
    """What the first is whose value is not the compiled one, or None."""
    for holder, name, value, what in watched:
        found = holder.get(name)
        if found is not value and as_json_value(found) != as_json_value(value):
            return what
    return None
