"""cortex.yaml: a row a rule. Each message names file, line, key, what was found and what was expected."""

from __future__ import annotations

from pathlib import Path

import pytest

from cortex_compile.compiler.cortex_yaml import read_cortex_yaml
from cortex_compile.errors import ProjectError
from cortex_compile.quantities import parse_duration_s, parse_quantity

HEAD = "- name: iris\n  predictor:\n    type: python\n    path: predictor.py\n"

SPLIT = HEAD + "- name: split\n  kind: TrafficSplitter\n"

EVERY_KEY = """\
- name: iris
  kind: RealtimeAPI
  predictor:
    type: python
    path: predictor.py
    config: {labels: [setosa, 1, 2.5, true, null], nested: {lr: 1e-5, day: 2020-01-01, at: 12:30}}
    python_path: lib/
    env: {A: "1"}
    image: quay.io/cortexlabs/python-predictor-cpu:0.31.1
    processes_per_replica: 2
    threads_per_process: 4
    dependencies: {pip: requirements.txt, conda: conda-packages.txt, shell: dependencies.sh}
    log_level: debug
    shm_size: 64Mi
  compute: {cpu: 200m, gpu: 1, inf: 0, mem: 2Gi}
  autoscaling:
    min_replicas: 1
    max_replicas: 10
    init_replicas: 2
    target_replica_concurrency: 1.5
    max_replica_concurrency: 100
    window: 1m
    downscale_stabilization_period: 5m
    upscale_stabilization_period: 1m30s
    max_downscale_factor: 0.5
    max_upscale_factor: 2
    downscale_tolerance: 0.1
    upscale_tolerance: 0.1
  update_strategy: {max_surge: 25%, max_unavailable: 0}
  networking: {endpoint: models/iris/, local_port: 8888, api_gateway: none}
  monitoring: {model_type: classification, key: label}
  compile:
    samples: [sample.json, {file: b.json, query: {model: sentiment, n: 3}, headers: {x-a: b}}]
    engines: [onnxruntime]
    placement: local
    buckets: [32, 64]
    precision: fp32
    device: cpu
    leave_alone: [predictor.model]
    step_timeout: 5m
    tolerance: {float32: {absolute: 1e-4}, float16: {relative: 0}, float64: {absolute: 0, relative: 1}}
- name: split
  kind: TrafficSplitter
  apis: [{name: iris, weight: 100}, {name: other, weight: 10, shadow: true}]
  networking: {endpoint: /both}
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "cortex.yaml"
    path.write_text(text)
    return path


def test_every_key_is_read(tmp_path: Path) -> None:
    (located,) = read_cortex_yaml(write(tmp_path, EVERY_KEY)).apis
    api = located.api
    assert api.predictor.config == {
        "labels": ["setosa", 1, 2.5, True, None],
        "nested": {"lr": 1e-5, "day": "2020-01-01", "at": "12:30"},
    }
    assert (api.predictor.processes_per_replica, api.predictor.threads_per_process) == (2, 4)
    assert api.compute.cpu == "200m"
    assert api.networking is not None
    assert api.networking.endpoint == "/models/iris"
    assert api.compile is not None
    assert api.compile.samples[0].file == "sample.json"
    assert (api.compile.samples[1].query, api.compile.samples[1].headers) == ("model=sentiment&n=3", {"x-a": "b"})
    assert api.compile.step_timeout == 300.0


def test_null_stands_for_a_default_that_is_null(tmp_path: Path) -> None:
    text = HEAD + "    config: null\n    env: null\n    shm_size: null\n  compute: {cpu: null, mem: null}\n"
    text += "  autoscaling: null\n  update_strategy: null\n  monitoring: null\n  networking: {endpoint: null}\n"
    (located,) = read_cortex_yaml(write(tmp_path, text)).apis
    assert located.api.predictor.config is None
    assert located.api.compute.cpu is None


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        # the file
        ("", 1, "found null, expected a list of APIs"),
        ("name: iris\n", 1, "found a map, expected a list of APIs"),
        ("- iris\n", 1, "expected a list of APIs"),
        ("- name: iris\n  predictor: [\n", 3, "is not valid YAML"),
        ("- name: iris\n  name: iris\n", 2, "the key 'name' stands twice, first on line 1"),
        # names
        ("- predictor: {type: python, path: a.py}\n", 1, "the API at position 1, name: the key is missing"),
        (HEAD.replace("iris", "Iris"), 1, "name: found 'Iris', expected at most 42 lower-case letters"),
        (HEAD.replace("iris", "a" * 43), 1, "expected at most 42"),
        (HEAD.replace("iris", "3"), 1, "name: found 3, expected text (in quotes, if it looks like a number)"),
        (HEAD + HEAD, 5, "the name 'iris' is taken by"),
        (
            HEAD + "  networking: {endpoint: /a}\n" + HEAD.replace("iris", "a"),
            6,
            "the endpoint '/a' is taken by",
        ),
        (HEAD + "  kind: RealtimeApi\n", 5, "found 'RealtimeApi', expected 'RealtimeAPI'. Did you mean 'RealtimeAPI'?"),
        # unknown keys
        (HEAD + f"  {'k' * 900}: 1\n", 5, f": api 'iris', {'k' * 60}…: the key '{'k' * 60}…' is not known."),
        (HEAD + "  compte: {}\n", 5, "compte: the key 'compte' is not known. Did you mean 'compute'?"),
        (HEAD + "    conf: {}\n", 5, "predictor.conf: the key 'conf' is not known. Did you mean 'config'?"),
        (HEAD + "  compile:\n    samples:\n    - fil: x\n", 7, "compile.samples[0].fil: the key 'fil' is not known."),
        (HEAD + "  compile: {precison: fp16}\n", 5, "Did you mean 'precision'?"),
        (HEAD + "  compile: {streaming: yes please}\n", 5, "compile.streaming: found 'yes please', expected true"),
        (
            HEAD + "    server_side_batching: {max_batch_size: 2, batch_interval: 1s}\n  compile: {streaming: true}\n",
            1,
            "expected no compile.streaming with predictor.server_side_batching",
        ),
        # predictor
        (HEAD.replace("python", "pytho"), 3, "found 'pytho', expected 'python', 'tensorflow' or 'onnx'. Did you mean"),
        (HEAD.replace("    path: predictor.py\n", ""), 2, "predictor.path: the key is missing"),
        (HEAD.replace("predictor.py", "x" * 256), 4, "expected a path with names of at most 255 bytes"),
        (HEAD + f"    python_path: {'x/' * 2048}\n", 5, "expected a path with names of at most 255 bytes"),
        (HEAD + '    dependencies: {pip: "a\\0b"}\n', 5, "expected a path without NUL"),
        (HEAD + "    config: [1]\n", 5, "predictor.config: found a list, expected a map"),
        (
            HEAD + "    config:\n      a:\n      - {1: x}\n",
            7,
            "predictor.config.a[0]: found the key 1, expected keys that",
        ),
        (HEAD + "    config:\n      a: !!set {x}\n", 6, "predictor.config.a: "),
        (HEAD + "    env:\n      A: 1\n", 6, "predictor.env.A: found 1, expected text"),
        (HEAD + "    env: {CORTEX_A: x}\n", 5, "which is reserved (found 'CORTEX_A')"),
        (HEAD + "    processes_per_replica: 0\n", 5, "found 0, expected at least 1"),
        (HEAD + "    processes_per_replica: 101\n", 5, "found 101, expected at most 100"),
        (HEAD + "    processes_per_replica: true\n", 5, "found True, expected a whole number"),
        (HEAD + "    processes_per_replica: null\n", 5, "found null, expected a whole number"),
        (HEAD + "    threads_per_process: 1.5\n", 5, "found 1.5, expected a whole number"),
        (HEAD + "    log_level: warn\n", 5, "Did you mean 'warning'?"),
        (HEAD + "    shm_size: lots\n", 5, "found 'lots', expected a quantity"),
        (HEAD + "    server_side_batching: {max_batch_size: 1, batch_interval: 1s}\n", 5, "expected at least 2"),
        (HEAD + "    server_side_batching: {max_batch_size: 2, batch_interval: 0s}\n", 5, "a duration of more than 0s"),
        # compute
        (HEAD + "  compute: {cpu: 1m}\n", 5, "compute.cpu: found '1m', expected a quantity of at least '20m'"),
        (HEAD + "  compute: {cpu: yes}\n", 5, "compute.cpu: found True, expected a quantity"),
        (HEAD + "  compute: {mem: 10Mi}\n", 5, "expected a quantity of at least '20Mi'"),
        (HEAD + "  compute: {gpu: 0.5}\n", 5, "compute.gpu: found 0.5, expected a whole number"),
        (HEAD + "  compute: {gpu: -1}\n", 5, "expected at least 0"),
        (HEAD + "  compute: {gpu: 1, inf: 1}\n", 5, "compute: found a map, expected gpu or inf, not both"),
        (
            HEAD + "    shm_size: 2Gi\n  compute: {mem: 1Gi}\n",
            1,
            "the API: found a map, expected predictor.shm_size (2Gi) at most compute.mem (1Gi)",
        ),
        # autoscaling
        (HEAD + "  autoscaling: {min_replicas: 0}\n", 5, "expected at least 1"),
        (HEAD + "  autoscaling: {min_replicas: 3, max_replicas: 2}\n", 5, "min_replicas (3) at most max_replicas (2)"),
        (HEAD + "  autoscaling: {init_replicas: 101}\n", 5, "init_replicas (101) from min_replicas to max_replicas"),
        (HEAD + "  autoscaling: {max_replica_concurrency: 65536}\n", 5, "expected at most 65535"),
        (HEAD + "  autoscaling: {target_replica_concurrency: 2000}\n", 5, "at most max_replica_concurrency (1024)"),
        (HEAD + "  autoscaling: {window: 5s}\n", 5, "expected a duration of at least 10s"),
        (HEAD + "  autoscaling: {window: 15s}\n", 5, "expected a multiple of 10s"),
        (HEAD + "  autoscaling: {window: 60}\n", 5, "found 60, expected text"),
        (HEAD + "  autoscaling: {upscale_stabilization_period: 1 m}\n", 5, "expected a duration such as"),
        (HEAD + "  autoscaling: {max_downscale_factor: 1}\n", 5, "expected less than 1"),
        (HEAD + "  autoscaling: {max_upscale_factor: 1}\n", 5, "expected more than 1"),
        (HEAD + "  autoscaling: {downscale_tolerance: -0.1}\n", 5, "expected at least 0"),
        # the rest of Cortex
        (HEAD + "  update_strategy: {max_surge: 101%}\n", 5, "a percentage from '0%' to '100%'"),
        (HEAD + "  update_strategy: {max_surge: 0, max_unavailable: 0%}\n", 5, "no replica can be replaced"),
        (HEAD + "  networking: {endpoint: a b}\n", 5, "found 'a b', expected a path of letters"),
        (HEAD + "  networking: {endpoint: /metrics}\n", 5, "expected an endpoint that the server does not use"),
        (HEAD + "  networking: {local_port: 70000}\n", 5, "expected at most 65535"),
        (HEAD + "  networking: {api_gateway: private}\n", 5, "expected 'public' or 'none'"),
        (HEAD + "  monitoring: {model_type: clasification}\n", 5, "Did you mean 'classification'?"),
        # TrafficSplitter
        (SPLIT + "  apis: []\n", 7, "api 'split', apis: found a list, expected at least 1 entry"),
        (SPLIT + "  apis: [{name: a, weight: 60}]\n", 5, "to sum to 100 but found 60"),
        (SPLIT + "  apis: [{name: a, weight: 101}]\n", 7, "apis[0].weight: found 101, expected at most 100"),
        (SPLIT + "  apis: [{name: a, weigth: 100}]\n", 7, "Did you mean 'weight'?"),
        (SPLIT + "  apis: [{name: a, weight: 50}, {name: a, weight: 50}]\n", 5, "each API once"),
        (
            SPLIT + "  apis: [{name: a, weight: 100}, {name: b, weight: 1, shadow: true}, {name: c, weight: 1,"
            " shadow: true}]\n",
            5,
            "expected at most one shadow",
        ),
        (SPLIT.replace("split", "iris") + "  apis: [{name: a, weight: 100}]\n", 5, "the name 'iris' is taken by"),
        # compile
        (HEAD + "  compile: {placement: here}\n", 5, "expected 'auto', 'local' or 'remote'"),
        (HEAD + "  compile: {engines: []}\n", 5, "expected at least 1 entry"),
        (HEAD + "  compile: {engines: onnxruntime}\n", 5, "found 'onnxruntime', expected a list"),
        (HEAD + "  compile: {device: gpu}\n", 5, "found 'gpu', expected 'auto', 'cpu' or 'cuda'"),
        (HEAD + "  compile: {step_timeout: 0}\n", 5, "found 0, expected more than 0 seconds"),
        (HEAD + "  compile: {step_timeout: soon}\n", 5, "expected a duration such as"),
        (
            HEAD + "  compile:\n    tolerance: {float32: 0.1}\n",
            6,
            "compile.tolerance.float32: found 0.1, expected a map",
        ),
        (
            HEAD + "  compile:\n    tolerance:\n      float32: {absolute: -1}\n",
            7,
            "float32.absolute: found -1, expected",
        ),
        (HEAD + "  compile:\n    tolerance:\n      float32: {relative: .inf}\n", 7, "expected a number that is finite"),
        (HEAD + "  compile:\n    tolerance: {float_32: {}}\n", 6, "Did you mean 'float32'?"),
        (HEAD + "  compile: {hardware: cpu}\n", 5, "compile.hardware: the key 'hardware' is not known."),
        (HEAD + "  compile: {samples: [{file: a, query: {a: [1]}}]}\n", 5, "compile.samples[0].query: found a map"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, line: int, words: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(ProjectError) as caught:
        read_cortex_yaml(path)
    message = str(caught.value)
    assert message.startswith(f"{path}:{line}:")
    assert words in message
    assert "\n" not in message


def test_the_first_problem_is_told_and_the_others_counted(tmp_path: Path) -> None:
    path = write(tmp_path, HEAD + "  compute: {gpu: -1, cpu: 1m}\n  monitoring: {key: 1}\n")
    with pytest.raises(ProjectError, match=r"compute\.\w+: .* \(2 more after this one\.\)$"):
        read_cortex_yaml(path)


def test_other_kinds_are_kept_aside_unchecked(tmp_path: Path) -> None:
    text = HEAD + "- name: jobs\n  kind: BatchAPI\n  predictor: {path: jobs.py, odd: 1}\n"
    found = read_cortex_yaml(write(tmp_path, text))
    assert [api.api.name for api in found.apis] == ["iris"]
    assert [(other.name, other.kind, other.predictor_path) for other in found.others] == [
        ("jobs", "BatchAPI", "jobs.py")
    ]


def test_a_traffic_splitter_is_read(tmp_path: Path) -> None:
    (splitter,) = read_cortex_yaml(write(tmp_path, EVERY_KEY)).splitters
    assert [(api.name, api.weight, api.shadow) for api in splitter.api.apis] == [
        ("iris", 100, False),
        ("other", 10, True),
    ]


@pytest.mark.parametrize(("name", "words"), [("none", "there is no such file"), (".", "cannot be read")])
def test_a_file_that_cannot_be_read(tmp_path: Path, name: str, words: str) -> None:
    with pytest.raises(ProjectError, match=words):
        read_cortex_yaml(tmp_path / name)


def test_a_file_that_is_not_utf8(tmp_path: Path) -> None:
    path = tmp_path / "cortex.yaml"
    path.write_bytes(b"- name: caf\xe9\n")
    with pytest.raises(ProjectError, match=r"is not UTF-8 text \(byte 11\)"):
        read_cortex_yaml(path)


def test_an_alias_that_holds_itself_is_an_error(tmp_path: Path) -> None:
    path = write(tmp_path, HEAD + "    config: &a\n      again: *a\n")
    with pytest.raises(ProjectError, match=r"cortex\.yaml:5:13: .* an alias stands for what it is itself a part of"):
        read_cortex_yaml(path)


@pytest.mark.parametrize(
    ("text", "seconds"), [("60s", 60), ("5m", 300), ("100ms", 0.1), ("1h30m", 5400), ("1.5s", 1.5), ("2us", 2e-6)]
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration_s(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "5", "s", "5 m", "-5s", "5min", "5s5"])
def test_what_is_not_a_duration(text: str) -> None:
    with pytest.raises(ValueError, match="a duration such as"):
        parse_duration_s(text)


@pytest.mark.parametrize(("text", "value"), [("200m", 0.2), ("2", 2), ("500Mi", 500 * 2**20), ("2G", 2e9), ("1k", 1e3)])
def test_quantities(text: str, value: float) -> None:
    assert parse_quantity(text) == pytest.approx(value)


@pytest.mark.parametrize("text", ["", "Mi", "2X", "2mi", "-1", "1 G"])
def test_what_is_not_a_quantity(text: str) -> None:
    with pytest.raises(ValueError, match="a quantity such as"):
        parse_quantity(text)
