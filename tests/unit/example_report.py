"""A report that has one of everything, for the tests of what shows it."""

from __future__ import annotations

from cortex_compile.compiler.artifacts import (
    Attempt,
    Difference,
    Measurement,
    MemoryReport,
    ModuleReport,
    PaddingVerdict,
    Report,
    SampleReport,
    SignatureReport,
    SizeBounds,
    SizeCurve,
    SizePoint,
    Verdict,
)
from cortex_compile.compiler.tune_record import Configuration, TuneTrial, Tuning
from cortex_compile.python_backend.manifest import Dispatch

MEASUREMENTS = (
    Measurement("input_ids int64[1, 12]", 8.412, 11.9, 2.107, 2.61, 3.99, 400, 2),
    Measurement("input_ids int64[8, 128]", 161.2, 190.4, 74.9, 81.0, 2.15, 60, 2),
)

CURVES = (
    SizeCurve("batch", 1, (SizePoint(1, 8.4, 2.1), SizePoint(4, 21.0, 7.2), SizePoint(32, 161.3, 52.5))),
    SizeCurve(
        "length",
        12,
        (
            SizePoint(8, 7.9, 2.0),
            SizePoint(12, 8.4, 2.1),
            SizePoint(32, 13.1, 4.4),
            SizePoint(128, 43.6, 14.9),
            SizePoint(512, 230.4, 88.7),
        ),
    ),
)

EXAMPLE = Report(
    version=1,
    name="text-analyzer",
    predictor="examples/text-analyzer/predictor.py",
    created_at="2026-11-22 10:48 UTC",
    seconds=143.2,
    command="cortex-compile examples/text-analyzer/predictor.py --sample 'sample.json?model=<b>sentiment</b>'",
    machine={"cpu": "AMD EPYC 7763, 2 cores", "memory": "7.8 GiB", "python": "3.11.9", "torch": "2.13.0"},
    notices=("cortex.yaml:12: api 'text-analyzer': compute.cpu has no effect here: a cluster's setting.",),
    modules=(
        ModuleReport(
            name="classifier",
            path="predictor.classifier.model",
            class_name="transformers.models.distilbert.modeling_distilbert.DistilBertForSequenceClassification",
            called_from="transformers/pipelines/text_classification.py:224",
            calls=6,
            parameters=66_955_010,
            parameter_bytes=267_820_040,
            engine="onnxruntime",
            placement="local",
            decision="Runs on onnxruntime in the predictor's process: equal on 24 calls, 2.15× to 3.99× as fast.",
            disk_bytes=271_581_184,
            on_gpu=("on a machine with GPUs: 1 instance on each GPU, priority 1, no batch waits to be filled",),
            signatures=(
                SignatureReport(
                    variant="call-1",
                    inputs=("input_ids int64[1, 12]", "attention_mask int64[1, 12]"),
                    calls=6,
                    attempts=(
                        Attempt(
                            engine="onnxruntime",
                            refused_at=None,
                            reason="",
                            reproduce="cortex-compile-step verify --work build/.work/classifier/call-1",
                            verdict=Verdict(
                                equal=True,
                                reason="",
                                calls_compared=24,
                                worst=Difference("logits", (3, 1), 1.2345678, 1.2345671, 7e-7, 0.034),
                                sizes_tried={"batch": (1, 2, 5, 8), "length": (2, 12, 31, 128)},
                                batch_dimension="batch",
                                bounds=(
                                    SizeBounds("batch", 0, 64, "there is none", "none larger than 64 is tried"),
                                    SizeBounds("length", 2, 512, "size 1: <differs>", "size 513: IndexError"),
                                ),
                                padding=(
                                    PaddingVerdict("length", True, "attention_mask", "5 lengths"),
                                    PaddingVerdict("depth", False, None, "it has no mask"),
                                ),
                            ),
                            measurements=MEASUREMENTS,
                            curves=CURVES,
                            session_mib=271.5,
                        ),
                    ),
                ),
            ),
        ),
        ModuleReport(
            name="summarizer",
            path="predictor.summarizer.model",
            class_name="transformers.models.bart.modeling_bart.BartForConditionalGeneration",
            called_from="predictor.py:41",
            calls=18,
            parameters=4_963,
            parameter_bytes=19_852,
            engine="eager",
            placement="local",
            decision="Stays as it is: the graph gave another answer than the module on values of other range.",
            signatures=(
                SignatureReport(
                    variant="call-1",
                    inputs=("decoder_input_ids int64[4, 1]",),
                    calls=18,
                    attempts=(
                        Attempt(
                            engine="onnxruntime",
                            refused_at="verify",
                            reason="The branch of `if x.sum() > 0` that the samples took is baked into the graph.",
                            reproduce="cortex-compile-step verify --work build/.work/summarizer/call-1",
                            verdict=Verdict(
                                equal=False,
                                reason="values differ",
                                calls_compared=3,
                                worst=Difference("logits", (0, 17), 0.25, -1.21, 1.46, 14_600.0),
                                sizes_tried={},
                                batch_dimension=None,
                            ),
                        ),
                        Attempt("openvino", "export", "The operator aten::special_zeta has no translation.", ""),
                        Attempt(
                            engine="tensorrt",
                            refused_at="measure",
                            reason="Not faster than eager.",
                            reproduce="",
                            measurements=(
                                Measurement("decoder_input_ids int64[4, 1]", 0.42, 0.5, 0.61, 0.7, 0.69, 900, 2),
                            ),
                        ),
                    ),
                ),
            ),
        ),
    ),
    samples=(
        SampleReport("sample-happy.json?model=sentiment", 200, True, 12.4, 4.31, 2.88),
        SampleReport("sample-article.json?model=summarizer", 200, True, 1204.3, 1198.0, 1.01),
        SampleReport("sample-unknown.json?model=x", 400, True, 0.042, 0.045, 0.93),
    ),
    dispatch=Dispatch("in turn", 1, "predictor.last is written while it answers"),
    tuning=Tuning(
        "throughput",
        32,
        250.0,
        False,
        61.0,
        (
            TuneTrial(
                Configuration("local", 1, 2, "in turn", 1), "measured", "", 8, 95.2, 330.0, 380.0, 95.2, 93.1, 97.3
            ),
            TuneTrial(
                Configuration("remote", 1, 1, "in turn", 1, 2, 8), "refused", "a wrong <answer>", 0, 0, 0, 0, 0, 0, 0
            ),
            TuneTrial(
                Configuration("local", 2, 1, "in turn", 1), "measured", "", 8, 171.4, 180.0, 240.0, 171.4, 168.0, 174.8
            ),
        ),
        2,
    ),
    memory=MemoryReport(eager_mib=801.2, compiled_mib=383.4, eager_own_mib=612.0, compiled_own_mib=344.1),
    peak_mib={"trying engines": 1873.2, "rehearsal": 905.7},
)
