"""The user's dataclasses and named tuples are taken apart and put together as they were."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pytest
import torch

from cortex_compile.python_backend.calls import UnsupportedLeaf, dump_spec, flatten, leaf_paths, load_spec, unflatten
from cortex_compile.python_backend.errors import BuildError


class Scores(NamedTuple):
    logits: torch.Tensor
    names: list[str]


@dataclass(frozen=True)
class Output:
    scores: Scores
    loss: torch.Tensor | None = None
    more: dict[str, Any] = field(default_factory=dict)


@dataclass
class Counted:
    x: torch.Tensor

    def __post_init__(self) -> None:
        self.count = 1


def test_goes_there_and_back() -> None:
    given = ([Output(Scores(torch.ones(2), ["a"]), None, {"k": 2})], {"x": Scores(torch.zeros(1), [])})
    flat = flatten(given)
    assert [tensor.tolist() for tensor in flat.tensors] == [[1, 1], [0]]
    spec = load_spec(dump_spec(flat.spec))
    assert spec == flat.spec
    found = unflatten(spec, flat.leaves, flat.tensors)
    assert found == given
    assert (type(found[0][0]), type(found[1]["x"])) == (Output, Scores)
    assert leaf_paths(spec)[0] == (0, 0, "scores", "logits")


def test_another_class_or_constant_is_another_signature() -> None:
    one, other = Output(Scores(torch.ones(2), [])), Scores(torch.ones(2), [])
    assert flatten(one).spec != flatten(other).spec
    assert flatten(Output(Scores(torch.ones(2), ["a"]))).leaves != flatten(Output(Scores(torch.ones(2), ["b"]))).leaves


def test_what_could_not_be_made_again_is_refused() -> None:
    @dataclass
    class Local:
        x: torch.Tensor

    with pytest.raises(UnsupportedLeaf, match="a Local, whose class is not at the top of a file"):
        flatten(Local(torch.ones(1)))
    with pytest.raises(UnsupportedLeaf, match=r"a Counted with attributes that are no fields \(count\)"):
        flatten(Counted(torch.ones(1)))


def test_a_class_that_is_gone_is_an_error_of_the_build() -> None:
    text = dump_spec(flatten(Scores(torch.ones(2), [])).spec).replace(":Scores", ":Gone")
    with pytest.raises(BuildError, match="no class Gone"):
        load_spec(text)
