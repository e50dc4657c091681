from __future__ import annotations

import copy
import json
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
import torch
from torch import nn

from cortex_compile.python_backend.fingerprint import (
    first_changed,
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
    assert first_changed(located) is None
    net.scale = 3.0
    assert first_changed(located) == "its attribute 'scale'"


@pytest.mark.parametrize("value", [1.5, 2, "cls", (3, 4), [3, 4], None])
def test_an_equal_value_is_no_change_whichever_object_it_is(value: object) -> None:
    net = Scaled()
    net.held = value  # type: ignore[assignment]
    as_read = json.loads(json.dumps(value))
    located = locate_attributes(net, (AttributeRead("", "held", as_read),))
    assert first_changed(located) is None
    net.held = copy.deepcopy(as_read)
    assert first_changed(located) is None
    net.held = [3, 5]  # type: ignore[assignment]
    assert first_changed(located) == "its attribute 'held'"


def test_a_list_that_is_changed_in_place_is_seen() -> None:
    net = Scaled()
    net.held = [3, 4]  # type: ignore[assignment]
    located = locate_attributes(net, (AttributeRead("", "held", [3, 4]),))
    net.held.append(5)  # type: ignore[operator, union-attr]
    assert first_changed(located) == "its attribute 'held'"


class Config:
    attribute_map: ClassVar = {"width": "hidden_size"}

    def __init__(self) -> None:
        self.scale, self.hidden_size, self.unused = 2.0, 4, 1

    def __getattribute__(self, name: str) -> Any:
        return object.__getattribute__(self, "hidden_size" if name == "width" else name)


class ReadsAConfig(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.config = Config()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.config.scale + self.config.width


def test_what_forward_reads_of_an_object_is_recorded_and_compared() -> None:
    net = nn.Sequential(ReadsAConfig())
    own = Config.__getattribute__
    with record_attribute_reads(net) as reads:
        net(torch.ones(1))
    config = {name: value for (path, name), value in reads.items() if path == "0" and name.startswith("config.")}
    assert config == {"config.scale": 2.0, "config.hidden_size": 4}
    assert Config.__getattribute__ is own
    assert "__getattribute__" not in vars(nn.Module)
    located = locate_attributes(net, tuple(AttributeRead("0", name, value) for name, value in config.items()))
    assert first_changed(located) is None
    net[0].config.hidden_size = 5  # type: ignore[union-attr]
    assert first_changed(located) == "its attribute 'hidden_size'"


def test_of_a_dict_or_a_namespace_all_that_it_holds_counts() -> None:
    net = Scaled()
    net.options = {"temperature": 1.0, "names": {"a"}}  # type: ignore[assignment]
    net.space = SimpleNamespace(depth=2)  # type: ignore[assignment]
    with record_attribute_reads(net) as reads:
        pass
    assert reads == {("", "options.temperature"): 1.0, ("", "space.depth"): 2}
    located = locate_attributes(net, tuple(AttributeRead(*key, value) for key, value in reads.items()))
    assert first_changed(located) is None
    net.options["temperature"] = 2.0  # type: ignore[index, operator]
    assert first_changed(located) == "its attribute 'temperature'"
