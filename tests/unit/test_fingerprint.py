from __future__ import annotations

import torch
from torch import nn

from cortex_compile.python_backend.fingerprint import (
    changed_attribute,
    locate_attributes,
    record_attribute_reads,
    structure_sha256,
    weights_sha256,
)
from cortex_compile.python_backend.manifest import AttributeRead


class Scaled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(2, 2)
        self.scale = 2.0
        self.unread = 7

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(x) * self.scale


def test_structure_and_weights_change_apart() -> None:
    net = Scaled()
    structure, weights = structure_sha256(net), weights_sha256(net)
    with torch.no_grad():
        net.linear.weight[0, 0] += 1
    assert structure_sha256(net) == structure
    assert weights_sha256(net) != weights
    net.linear = nn.Linear(2, 2, bias=False)  # type: ignore[assignment]
    assert structure_sha256(net) != structure


class _Config:
    def __init__(self, folder: str, size: int) -> None:
        self.folder, self.size = folder, size

    def to_dict(self) -> dict[str, object]:
        return {"_name_or_path": self.folder, "text": {"_name_or_path": self.folder, "size": self.size}}


def test_the_folder_that_a_model_was_loaded_from_is_no_part_of_its_structure() -> None:
    net, moved, larger = Scaled(), Scaled(), Scaled()
    for module, config in ((net, _Config("/a", 1)), (moved, _Config("/b", 1)), (larger, _Config("/a", 2))):
        module.config = config  # type: ignore[assignment]
    assert structure_sha256(net) == structure_sha256(moved)
    assert structure_sha256(net) != structure_sha256(larger)


def test_what_forward_reads_is_recorded_and_nothing_else() -> None:
    net = Scaled().eval()
    with record_attribute_reads(net) as reads:
        net(torch.ones(1, 2))
    assert reads[("", "scale")] == 2.0
    assert ("", "unread") not in reads
    assert "__getattribute__" not in vars(nn.Module)


def test_a_changed_attribute_is_named() -> None:
    net = Scaled()
    located = locate_attributes(net, (AttributeRead("", "scale", 2.0), AttributeRead("linear", "in_features", 2)))
    assert changed_attribute(located) is None
    net.scale = 3.0
    assert changed_attribute(located) == "scale"
