from __future__ import annotations

from collections import OrderedDict, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pytest
import torch
from transformers import BartConfig
from transformers.cache_utils import DynamicCache, StaticCache
from transformers.modeling_outputs import BaseModelOutput

from cortex_compile.python_backend.calls import (
    FlatTree,
    UnsupportedLeaf,
    dump_spec,
    equal_constants,
    flatten,
    leaf_paths,
    load_spec,
    unflatten,
)
from cortex_compile.python_backend.flatten_call import flatten_arguments


def test_a_call_is_put_together_as_it_was() -> None:
    tensor, other = torch.ones(2), torch.zeros(3)
    call = flatten_arguments((tensor, [other, None]), {"scale": 2.0, "flags": {"a": True}})
    args, kwargs = unflatten(load_spec(dump_spec(call.spec)), call.leaves, ["first", "second"])
    assert args == ("first", ["second", None])
    assert kwargs == {"flags": {"a": True}, "scale": 2.0}
    assert call.tensors == (tensor, other)


def test_the_order_of_keyword_arguments_does_not_matter() -> None:
    one = flatten_arguments((), {"a": torch.ones(1), "b": 2})
    two = flatten_arguments((), {"b": 2, "a": torch.ones(1)})
    assert one.spec == two.spec
    assert one.leaves == two.leaves


class Marked(torch.Tensor):
    """A tensor of a class that torch knows nothing of."""


class Pair(NamedTuple):
    first: torch.Tensor
    second: torch.Tensor


ONE, TWO = torch.ones(1), torch.zeros(2)


def filled_cache(layers: int) -> Any:
    cache: Any = DynamicCache()
    for layer in range(layers):
        cache.update(torch.ones(1, 2, 3, 4), torch.zeros(1, 2, 3, 4), layer)
    return cache


@pytest.mark.parametrize(
    ("args", "kwargs"),
    [
        ((), {}),
        ((ONE, TWO), {}),
        ((), {"mask": ONE, "ids": TWO}),
        ((ONE, True, 1, 1.0, None, "word"), {"scale": 0, "flag": False, "ids": TWO}),
        ((ONE, ONE), {"same": ONE}),
        ((torch.nn.Parameter(ONE),), {"weight": torch.nn.Parameter(TWO)}),
        ((ONE.as_subclass(Marked),), {}),
        ((ONE, [TWO]), {}),
        (((),), {"nothing": {}}),
        ((ONE,), {"nested": {"ids": (TWO, 3)}}),
        ((Pair(ONE, TWO),), {"mask": TWO}),
        ((), {"outputs": BaseModelOutput(last_hidden_state=ONE, attentions=(ONE, TWO))}),
        (([ONE, {"b": TWO, "a": None}], OrderedDict(z=ONE, a=2)), {}),
        ((defaultdict(list, ids=ONE),), {}),
        ((), {"past": filled_cache(2), "outputs": BaseModelOutput(last_hidden_state=ONE)}),
        ((DynamicCache(), filled_cache(1)), {"mask": ONE}),
    ],
)
def test_a_call_of_a_known_kind_is_flattened_as_any_other(args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
    expected = flatten((tuple(args), dict(sorted(kwargs.items()))))
    for _ in range(2):
        found = flatten_arguments(args, kwargs)
        assert found.spec == expected.spec
        assert dump_spec(found.spec) == dump_spec(expected.spec)
        assert [(leaf, type(leaf.constant)) for leaf in found.leaves] == [
            (leaf, type(leaf.constant)) for leaf in expected.leaves
        ]
        assert [*map(id, found.tensors)] == [*map(id, expected.tensors)]
        assert (found.caches, found.states) == (expected.caches, expected.states)


def test_calls_of_one_kind_have_their_structure_in_common() -> None:
    def call(size: int, **more: Any) -> FlatTree:
        outputs = BaseModelOutput(last_hidden_state=torch.ones(size))
        return flatten_arguments((torch.ones(size), [ONE]), {"outputs": outputs, "past": filled_cache(size), **more})

    one, two = call(1), call(2)
    assert one.spec is two.spec
    assert all(mine is theirs for mine, theirs in zip(one.leaves, two.leaves, strict=True))
    assert len(two.tensors) == len(one.tensors) + 2
    assert call(1, mask=ONE).spec != one.spec
    assert flatten_arguments((ONE, (ONE,)), {}).spec != flatten_arguments((ONE, [ONE]), {}).spec
    assert flatten_arguments(({"a": ONE},), {}).spec != flatten_arguments(({"b": ONE},), {}).spec


def test_a_cache_that_no_graph_takes_is_named() -> None:
    with pytest.raises(UnsupportedLeaf, match="it holds a StaticCache"):
        flatten_arguments((ONE,), {"past": StaticCache(BartConfig(decoder_layers=1), max_cache_len=4)})


@pytest.mark.parametrize(("mine", "theirs"), [(1, True), (1, 1.0), (0, None), ("a", "b")])
def test_constants_differ_in_type_or_value(mine: object, theirs: object) -> None:
    assert equal_constants(flatten([mine]).leaves, flatten([mine]).leaves)
    assert not equal_constants(flatten([mine]).leaves, flatten([theirs]).leaves)


def test_a_leaf_that_no_graph_takes_is_named() -> None:
    with pytest.raises(UnsupportedLeaf, match=r"1\.cache\.0 is a set"):
        flatten_arguments((torch.ones(1),), {"cache": [{1, 2}]})


def test_containers_that_cannot_be_written_down_are_told() -> None:
    with pytest.raises(UnsupportedLeaf, match="containers"):
        dump_spec(flatten({frozenset({1}): torch.ones(1)}).spec)


def test_paths_of_leaves_name_keys_and_indices() -> None:
    spec = flatten(((torch.ones(1), [2]), {"mask": torch.ones(1)})).spec
    assert leaf_paths(spec) == [(0, 0), (0, 1, 0), (1, "mask")]
