"""What only a GPU shows of modules there: ``scripts/test -m gpu`` on such a machine.

These have never run yet; until they have, docs/gpu.md says so.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from cortex_compile.backends.weights_file import WeightsFile
from cortex_compile.launchers.gpu_memory import read_gpus
from cortex_compile.python_backend.released_weights import release_weights

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no NVIDIA GPU")]


def test_memory_of_weights_goes_back_and_comes_again_when_they_are_read(tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(2048, 2048), nn.GELU(), nn.Linear(2048, 8)).eval()
    specs = WeightsFile(tmp_path / "weights.bin").add_parameters(module)
    module.cuda()
    x = torch.randn(3, 2048, device="cuda")
    with torch.no_grad():
        expected = module(x).clone()
    before = torch.cuda.memory_allocated()
    released = release_weights(module, tmp_path / "weights.bin", specs)
    assert released >= 2048 * 2048 * 4
    assert before - torch.cuda.memory_allocated() >= 2048 * 2048 * 4
    with torch.no_grad():
        torch.testing.assert_close(module(x), expected)
    assert {parameter.device.type for parameter in module.parameters()} == {"cuda"}


def test_nvidia_smi_and_torch_see_the_same_gpus() -> None:
    free = [torch.cuda.mem_get_info(index) for index in range(torch.cuda.device_count())]
    found = read_gpus()
    assert [gpu.total_bytes // 2**30 for gpu in found] == pytest.approx([total // 2**30 for _, total in free], abs=1)


@pytest.mark.parametrize("engine", ["onnxruntime", "tensorrt"])
def test_compiled_modules_are_equal_on_the_gpu(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parents[2])
    from benchmarks.gpu import machine, measure

    missing = machine.look_at_machine().missing
    if engine in missing:
        pytest.skip(missing[engine])
    rows: list[Any] = list(measure.measure_modules((engine,)))
    assert {row.batch for row in rows} == set(measure.BATCHES)
    assert max(row.excess for row in rows) <= 1
