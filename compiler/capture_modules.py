"""Watch the predictor answer its samples and record every call of a torch module from outside any other module.

That is where compiling pays and is safe: ``model(x)``, a pipeline's model, the encoder that ``generate()`` calls.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from cortex_compile.compiler.side_effects import WatchedCall
from cortex_compile.python_backend.caches import UnsupportedCache
from cortex_compile.python_backend.calls import FlatTree, UnsupportedLeaf, dump_spec
from cortex_compile.python_backend.drift import hooked_part
from cortex_compile.python_backend.find_modules import find_modules
from cortex_compile.python_backend.flatten_call import flatten_arguments
from cortex_compile.python_backend.kept_forwards import find_kept_forwards
from cortex_compile.python_backend.results import ResultPlan, plan_result
from cortex_compile.python_backend.user_records import Record

if TYPE_CHECKING:
    import torch

# Calls of one signature that are kept with their tensors: enough to see which sizes vary.
KEPT_CALLS = 4
# Containers whose meaning survives being taken apart and rebuilt. A cache that is updated in place does not.
_CONTAINERS = (tuple, list, dict, Record)


@dataclass(frozen=True)
class RecordedCall:
    """Copies of the tensors that went into a call, made before it, and of those that a graph would have to put out."""

    arguments: FlatTree
    plan: ResultPlan
    outputs: tuple[torch.Tensor, ...]


@dataclass
class CapturedSignature:
    """All calls of a module that differ in sizes and values only. ``calls`` have different shapes."""

    arguments_spec: str
    result_spec: str
    plan: ResultPlan
    calls: list[RecordedCall] = field(default_factory=list)
    count: int = 0


@dataclass
class CapturedModule:
    """A module that predict called. ``refused`` says why it cannot be compiled as a whole, in the user's terms."""

    path: str
    module: torch.nn.Module
    called_from: str
    count: int = 0
    refused: str | None = None
    signatures: dict[Any, CapturedSignature] = field(default_factory=dict)


def capture_modules(
    predictor: object,
    user_module: ModuleType,
    project: Path,
    answer_samples: Callable[[], None],
    opened: Collection[Any] = (),
) -> tuple[CapturedModule, ...]:
    """Run ``answer_samples`` and return the modules called in it, in the order of their first call.

    Of the modules in ``opened``, which cannot be compiled as a whole, the direct calls inside are recorded instead.
    A module that no path leads to is in the list too, refused: at serving it could not be found again. A predictor
    that has not imported torch by now has no modules, and torch is not imported for it.
    """
    if "torch" not in sys.modules:
        answer_samples()
        return ()
    known = find_modules(predictor, user_module)
    recorder = _Recorder(project, known, frozenset(map(id, opened)))
    with ExitStack() as undo:
        for kept in find_kept_forwards(predictor, user_module):
            kept.call_late()
            undo.callback(kept.put_back)
        undo.enter_context(recorder.recording(known.values()))
        answer_samples()
    paths = {id(module): path for path, module in find_modules(predictor, user_module).items()}
    for captured in recorder.captured.values():
        captured.path = paths.get(id(captured.module), "")
        if not captured.path:
            captured.path = type(captured.module).__name__
            captured.refused = "no attribute, list, dict, closure or global of the predictor leads to it"
    return tuple(recorder.captured.values())


class _Recorder:
    def __init__(self, project: Path, known: dict[str, Any], opened: frozenset[int]) -> None:
        self._paths = {id(module): path for path, module in known.items()}
        self._opened = opened
        self.captured: dict[int, CapturedModule] = {}
        self._project = str(project.resolve())
        self._inside = False

    @contextmanager
    def recording(self, modules: Sequence[Any] | Any) -> Iterator[None]:
        """Patch ``Module.__call__``, which sees every module, and ``forward`` of the known ones, called directly."""
        import torch

        original_call = torch.nn.Module.__call__

        @functools.wraps(original_call)
        def recording_call(module: Any, *args: Any, **kwargs: Any) -> Any:
            return self._record(module, functools.partial(original_call, module), args, kwargs)

        with ExitStack() as undo:
            torch.nn.Module.__call__ = recording_call  # type: ignore[method-assign]
            undo.callback(setattr, torch.nn.Module, "__call__", original_call)
            for module in modules:
                if not isinstance(module, torch.jit.ScriptModule):
                    undo.enter_context(self._recording_forward(module))
            yield

    @contextmanager
    def _recording_forward(self, module: Any) -> Iterator[None]:
        own = vars(module).get("forward")
        forward = module.forward

        @functools.wraps(forward)
        def recording_forward(*args: Any, **kwargs: Any) -> Any:
            return self._record(module, forward, args, kwargs)

        vars(module)["forward"] = recording_forward
        try:
            yield
        finally:
            if own is None:
                vars(module).pop("forward", None)
            else:
                vars(module)["forward"] = own

    def _record(self, module: Any, call: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if self._inside or id(module) in self._opened:
            return call(*args, **kwargs)
        captured = self.captured.get(id(module))
        if captured is None:
            path = self._paths.get(id(module), type(module).__name__)
            captured = CapturedModule(path, module, self._caller())
            self.captured[id(module)] = captured
        captured.count += 1
        self._inside = True
        try:
            if captured.refused is not None:
                return call(*args, **kwargs)
            return _observe(captured, call, args, kwargs)
        finally:
            self._inside = False

    def _caller(self) -> str:
        frame = sys._getframe(2)
        while frame is not None:
            file = frame.f_code.co_filename
            if file.startswith(self._project + "/"):
                return f"{file[len(self._project) + 1 :]}:{frame.f_lineno}"
            frame = frame.f_back  # type: ignore[assignment]
        return "outside the project"


def _observe(captured: CapturedModule, call: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Make the call and note either its signature or why the module cannot be compiled."""
    import torch

    module = captured.module
    if torch.is_autocast_enabled("cpu"):
        captured.refused = "it is called inside torch.autocast, where a graph would not do the same; call it outside"
        return call(*args, **kwargs)
    try:
        arguments = flatten_arguments(args, kwargs)
        _check_containers(arguments.spec, "an argument")
        arguments_spec = dump_spec(arguments.spec)
    except UnsupportedLeaf as error:
        captured.refused = f"an argument cannot go through a graph: {error}"
        return call(*args, **kwargs)
    copies = replace(arguments, tensors=tuple(_copy(tensor) for tensor in arguments.tensors), caches=())
    watched = WatchedCall(captured.path, module, arguments, args, kwargs)
    result = call(*args, **kwargs)
    captured.refused = watched.side_effect(result, lambda: call(*args, **kwargs))
    if captured.refused is not None:
        return result
    try:
        plan, outputs = plan_result(arguments, result)
        _check_containers(plan.spec, "the result")
        result_spec = dump_spec(plan.spec)
    except (UnsupportedLeaf, UnsupportedCache) as error:
        captured.refused = f"its result cannot come out of a graph: {error}"
        return result
    reason = _unsupported(captured, arguments, outputs)
    if reason is not None:
        captured.refused = reason
        return result
    call_record = RecordedCall(copies, plan, tuple(_copy(tensor) for tensor in outputs))
    _keep(captured, call_record, arguments_spec, result_spec)
    return result


def _unsupported(captured: CapturedModule, arguments: FlatTree, outputs: Sequence[torch.Tensor]) -> str | None:
    module = captured.module
    if not arguments.tensors:
        return "it takes no tensor"
    if not outputs:
        return "it returns no tensor of its own"
    held = (*arguments.tensors, *module.parameters(), *module.buffers())
    storages = {tensor.untyped_storage().data_ptr() for tensor in held if tensor.numel()}
    if any(tensor.numel() and tensor.untyped_storage().data_ptr() in storages for tensor in outputs):
        return "its result shares memory with an argument or a parameter; let it return a copy, .clone()"
    part = hooked_part(module)
    if part is not None:
        return f"its part {part!r} has a hook, which a graph would not call"
    for tensor in (*arguments.tensors, *outputs):
        if tensor.device.type != "cpu":
            return f"it runs on {tensor.device}, and graphs are made of modules on the CPU: compile with --device cpu"
        if str(tensor.dtype).removeprefix("torch.") not in NUMPY_DTYPES:
            return f"a tensor has the dtype {tensor.dtype}, which numpy cannot carry"
    return None


NUMPY_DTYPES = frozenset(
    {"bool", "uint8", "int8", "int16", "int32", "int64", "float16", "float32", "float64"}  # what Triton carries too
)


def _keep(captured: CapturedModule, call: RecordedCall, arguments_spec: str, result_spec: str) -> None:
    kinds = tuple((tensor.dtype, tensor.dim()) for tensor in call.arguments.tensors)
    constants = tuple((leaf.tensor, leaf.cache, type(leaf.constant), leaf.constant) for leaf in call.arguments.leaves)
    signature = captured.signatures.setdefault(
        (arguments_spec, kinds, constants, call.arguments.states),
        CapturedSignature(arguments_spec, result_spec, call.plan),
    )
    signature.count += 1
    if (signature.result_spec, signature.plan.leaves, signature.plan.caches) != (
        result_spec,
        call.plan.leaves,
        call.plan.caches,
    ):
        captured.refused = "it answers the same kind of call with different structures"
        return
    shapes = [tensor.shape for tensor in call.arguments.tensors]
    known = [[tensor.shape for tensor in kept.arguments.tensors] for kept in signature.calls]
    if shapes not in known:
        # A decoder's steps grow by one: the first, then ever later ones, show more than the first few.
        if len(signature.calls) == KEPT_CALLS:
            if signature.count & (signature.count - 1):
                return
            signature.calls.pop(1)
        signature.calls.append(call)


def _check_containers(spec: Any, what: str) -> None:
    if spec.type is not None and not issubclass(spec.type, _CONTAINERS):
        raise UnsupportedLeaf(f"{what} is or holds a {spec.type.__name__}")
    for child in spec.children():
        _check_containers(child, what)


def _copy(tensor: Any) -> Any:
    return tensor.detach().clone()
