from __future__ import annotations

import pytest
import torch

from cortex_compile.python_backend.calls import (
    UnsupportedLeaf,
    dump_spec,
    equal_constants,
    flatten,
    flatten_arguments,
    leaf_paths,
    load_spec,
    unflatten,
)


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
