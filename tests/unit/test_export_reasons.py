"""What torch's exporter says, and what the author of a module is told."""

from __future__ import annotations

import pytest

from cortex_compile.backends.export_reasons import explain_export_failure


def raised(*errors: Exception) -> Exception:
    """The first, caused by the second."""
    errors[0].__cause__ = errors[1]
    return errors[0]


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (
            raised(
                RuntimeError("Failed to export the model"),
                ValueError("Could not guard on data-dependent expression u0 > 0\nCaused by: (/a/net.py:3 in forward)"),
            ),
            "depends on the values of a tensor (net.py:3 in forward); choose between values with torch.where",
        ),
        (
            ValueError("data-dependent\nCaused by: (/v/site-packages/transformers/modeling_x.py:3 in forward)"),
            "(transformers/modeling_x.py:3 in forward)",
        ),
        (
            RuntimeError("No ONNX function found for <OpOverload(op='aten.foo', overload='default')>. Failure message"),
            "the operator aten.foo has no ONNX form; use another one",
        ),
        (KeyError("a\nb"), "KeyError: 'a"),
        (ValueError("\n\n  first\nsecond"), "ValueError: first"),
        (ValueError(), "ValueError:"),
    ],
)
def test_the_reason_is_one_line_with_its_place(error: Exception, words: str) -> None:
    reason = explain_export_failure(error)
    assert words in reason
    assert "\n" not in reason
