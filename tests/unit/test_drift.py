"""A module that is not the one that was compiled, and the sentence that says in what."""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from cortex_compile.python_backend.drift import find_drift
from cortex_compile.python_backend.fingerprint import class_name, packages_of, structure_sha256, weights_sha256
from cortex_compile.python_backend.manifest import MANIFEST_VERSION, AttributeRead, Core, Manifest, sha256_of

NET = """
import torch

class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(2, 2)
        self.scale = 2.0

    def forward(self, x):
        return self.layer(x) * self.scale
"""


@pytest.fixture
def net(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A net of the user's own file, in the folder that a build keeps it in."""
    file = tmp_path / "project" / "parts" / "net.py"
    file.parent.mkdir(parents=True)
    file.write_text(NET)
    specification = importlib.util.spec_from_file_location("user_net", file)
    assert specification is not None
    assert specification.loader is not None
    module: Any = importlib.util.module_from_spec(specification)
    monkeypatch.setitem(sys.modules, "user_net", module)
    specification.loader.exec_module(module)
    return module.Net().eval()


def compiled(net: nn.Module, folder: Path) -> tuple[Core, Manifest]:
    """As if it had been compiled as it is now."""
    core = Core(
        "net",
        "predictor.net",
        class_name(net),
        structure_sha256(net),
        weights_sha256(net),
        (AttributeRead("", "scale", 2.0),),
        "onnxruntime",
        "local",
        1,
        None,
        (),
        (),
    )
    versions = {"torch": torch.__version__, "python": "2.7"}
    manifest = Manifest(MANIFEST_VERSION, "api", "/api", "p.py", {}, {}, None, "info", 1, 1, 1, (), (core,), versions)
    files = {"api/1/project/parts/net.py": sha256_of(folder / "project" / "parts" / "net.py")}
    return core, replace(manifest, files=files)


def test_the_same_module_has_not_drifted(net: Any, tmp_path: Path) -> None:
    core, manifest = compiled(net, tmp_path)
    assert find_drift(core, net, manifest, tmp_path) is None
    assert packages_of(net) == {"torch", "user_net"}


def wider(net: Any) -> None:
    net.layer = nn.Linear(2, 3)


def other_weights(net: Any) -> None:
    with torch.no_grad():
        net.layer.weight += 1


def other_scale(net: Any) -> None:
    net.scale = 3.0


def hooked(net: Any) -> None:
    net.layer.register_forward_hook(lambda *_: None)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (wider, "its structure or config differs"),
        (other_weights, "its weights differ"),
        (hooked, "its part 'layer' has a hook"),
    ],
)
def test_what_differs_is_said(net: Any, tmp_path: Path, change: Any, words: str) -> None:
    core, manifest = compiled(net, tmp_path)
    change(net)
    assert words in str(find_drift(core, net, manifest, tmp_path))


def test_a_tensor_that_is_an_attribute_counts_as_a_weight(net: Any, tmp_path: Path) -> None:
    net.mask = torch.ones(2)
    core, manifest = compiled(net, tmp_path)
    assert find_drift(core, net, manifest, tmp_path) is None
    net.mask = torch.zeros(2)
    assert "its weights differ" in str(find_drift(core, net, manifest, tmp_path))


def test_an_attribute_is_compared_at_each_call_and_not_before(net: Any, tmp_path: Path) -> None:
    core, manifest = compiled(net, tmp_path)
    other_scale(net)  # predict may set it back before it calls the module
    assert find_drift(core, net, manifest, tmp_path) is None


def test_another_class_and_none_at_all(net: Any, tmp_path: Path) -> None:
    core, manifest = compiled(net, tmp_path)
    found = find_drift(core, nn.Linear(2, 2), manifest, tmp_path)
    assert found == "it is a torch.nn.modules.linear.Linear, compiled was a user_net.Net"
    assert find_drift(core, None, manifest, tmp_path) == "the predictor has no module at predictor.net"


def test_a_library_of_another_version(net: Any, tmp_path: Path) -> None:
    core, manifest = compiled(net, tmp_path)
    older = replace(manifest, compiled_with={"torch": "1.0"})
    assert find_drift(core, net, older, tmp_path) == f"torch is {torch.__version__}, compiled with 1.0; compile again"
    # A package that the module's classes come from counts, too; one that they do not come from does not.
    sys.modules["user_net"].__version__ = "2"  # type: ignore[attr-defined]
    own = replace(manifest, compiled_with={"user_net": "1", "numpy": "0"})
    assert find_drift(core, net, own, tmp_path) == "user_net is 2, compiled with 1; compile again"


def test_code_that_was_edited_in_the_build(net: Any, tmp_path: Path) -> None:
    core, manifest = compiled(net, tmp_path)
    file = tmp_path / "project" / "parts" / "net.py"
    file.write_text(NET.replace("* self.scale", "/ self.scale"))
    expected = "its code in parts/net.py was changed after compiling; compile again"
    assert find_drift(core, net, manifest, tmp_path) == expected
