"""Memory of exchanged modules on a GPU goes back and comes again when it is read. Here the device is the CPU."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from torch import nn

from cortex_compile.backends.weights_file import WeightsFile
from cortex_compile.python_backend.manifest import ParameterSpec
from cortex_compile.python_backend.released_weights import release_weights


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embedding = nn.Embedding(50, 8)
        self.inner = nn.Sequential(nn.Linear(8, 8), nn.Tanh())
        self.head = nn.Linear(8, 50, bias=False)
        self.head.weight = self.embedding.weight  # tied
        self.gru = nn.GRU(8, 8)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.head(self.inner(self.embedding(ids)))
        return found


IDS = torch.arange(5)
ALL = {"embedding.weight", "head.weight", "inner.0.weight", "inner.0.bias"}


@pytest.fixture
def released(tmp_path: Path) -> tuple[Model, torch.Tensor, int]:
    """A module whose weights were given back, what it answers, and how many bytes went."""
    model = Model().eval()
    with torch.no_grad():
        expected = model(IDS)
    specs = save(model, tmp_path)
    return model, expected, release_weights(model, tmp_path / "weights.bin", specs)


def save(model: nn.Module, folder: Path) -> tuple[ParameterSpec, ...]:
    return WeightsFile(folder / "weights.bin").add_parameters(model)


def released_names(model: nn.Module, folder: Path) -> set[str]:
    """The parameters whose values are the file's, found without reading any."""
    mapped = [
        line.split()[0].split("-") for line in Path("/proc/self/maps").read_text().splitlines() if str(folder) in line
    ]
    ranges = [(int(start, 16), int(end, 16)) for start, end in mapped]
    return {
        f"{path}.{name}"
        for path, part in model.named_modules()
        for name, each in dict.items(part._parameters)
        if each is not None and any(start <= each.data_ptr() < end for start, end in ranges)
    }


def test_all_memory_goes_but_that_of_what_something_else_holds(
    released: tuple[Model, torch.Tensor, int], tmp_path: Path
) -> None:
    model, _, bytes_released = released
    # torch keeps a list of a GRU's own, for cuDNN.
    assert released_names(model, tmp_path) == ALL
    assert bytes_released == (50 * 8 + 8 * 8 + 8) * 4


def test_its_own_forward_answers_as_before(released: tuple[Model, torch.Tensor, int], tmp_path: Path) -> None:
    model, expected, _ = released
    with torch.no_grad():
        torch.testing.assert_close(model(IDS), expected, rtol=0, atol=0)
        torch.testing.assert_close(model(IDS), expected, rtol=0, atol=0)
    assert released_names(model, tmp_path) == set()


def test_who_asks_for_the_device_reads_the_first_parameter_alone(
    released: tuple[Model, torch.Tensor, int], tmp_path: Path
) -> None:
    model, _, _ = released
    assert next(model.parameters()).device.type == "cpu"
    assert released_names(model, tmp_path) == ALL - {"embedding.weight", "head.weight"}


@pytest.mark.parametrize(
    "read",
    [
        lambda model: model.head.weight,
        lambda model: dict(model.named_parameters())["embedding.weight"],
        lambda model: model.state_dict()["head.weight"],
        lambda model: copy.deepcopy(model).embedding.weight,
        lambda model: model.embedding.get_parameter("weight"),
        lambda model: model.embedding._parameters.get("weight"),
        lambda model: model.double().embedding.weight.float(),
        lambda model: dict(model.embedding._parameters)["weight"],
        lambda model: {**model.embedding._parameters}["weight"],
        lambda model: model.embedding._parameters.copy()["weight"],
    ],
)
def test_every_way_to_a_weight_finds_it_where_it_was(
    released: tuple[Model, torch.Tensor, int], tmp_path: Path, read: object
) -> None:
    assert callable(read)
    torch.testing.assert_close(read(released[0]), Model().embedding.weight, rtol=0, atol=0)
    assert "embedding.weight" not in released_names(released[0], tmp_path)


def test_what_somebody_else_holds_stays_and_a_view_keeps_its_memory(tmp_path: Path) -> None:
    model = Model()
    held = {"somewhere": model.inner[0].bias}
    view = model.inner[0].weight.data.t()
    release_weights(model, tmp_path / "weights.bin", save(model, tmp_path))
    assert released_names(model, tmp_path) == ALL - {"inner.0.bias"}
    fresh = Model()
    torch.testing.assert_close(held["somewhere"], fresh.inner[0].bias)
    torch.testing.assert_close(view, fresh.inner[0].weight.data.t())
