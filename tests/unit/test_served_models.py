"""Which cores take turns: those of several models that want the same."""

from __future__ import annotations

from pathlib import Path

from cortex_compile.launchers.served_models import ServedModel, read_models, slots_of

GROUP = 'instance_group {{ count: {} kind: KIND_GPU rate_limiter {{ resources {{ name: "gpu" count: 1 }} }} }}'


def write(repository: Path, name: str, text: str) -> None:
    (repository / name / "configs").mkdir(parents=True)
    (repository / name / "config.pbtxt").write_text('backend: "onnxruntime"')
    (repository / name / "configs" / "gpu.pbtxt").write_text(f'backend: "onnxruntime" {text}')


def test_turns_are_taken_on_gpus_where_several_models_want_them(tmp_path: Path) -> None:
    write(tmp_path, "one", GROUP.format(3))
    write(tmp_path, "other", GROUP.format(1))
    write(tmp_path, "none", "")
    found = {model.name: dict(model.slots) for model in read_models(tmp_path, "gpu")}
    assert found == {"one": {"gpu": 3}, "other": {"gpu": 1}, "none": {}}
    assert slots_of(read_models(tmp_path, "gpu")) == {"gpu": 3}
    assert slots_of(read_models(tmp_path, "cpu")) == {}


def test_a_model_that_is_alone_waits_for_nobody() -> None:
    alone = ServedModel("one", Path("one"), "onnxruntime", 2, {"gpu": 2})
    assert slots_of([alone, ServedModel("none", Path("none"), "python", 1)]) == {}
