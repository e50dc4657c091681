"""Which Python attributes a module's forward reads: they become constants of its graphs."""

from __future__ import annotations

from cortex_compile.compiler.capture_modules import CapturedModule
from cortex_compile.python_backend.calls import rebuild_arguments
from cortex_compile.python_backend.fingerprint import as_json_value, record_attribute_reads
from cortex_compile.python_backend.manifest import AttributeRead


def attributes_read(captured: CapturedModule) -> tuple[AttributeRead, ...]:
    """Run forward once on each signature's first call and note every plain attribute it looks at."""
    import torch

    with record_attribute_reads(captured.module) as reads, torch.no_grad():
        for signature in captured.signatures.values():
            call = signature.calls[0].arguments
            args, kwargs = rebuild_arguments(call, [tensor.clone() for tensor in call.tensors])
            captured.module(*args, **kwargs)
    return tuple(AttributeRead(module, name, as_json_value(value)) for (module, name), value in sorted(reads.items()))
