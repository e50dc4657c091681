"""cortex-compile: a Cortex predictor, unedited, compiled, proven and served on Triton."""

__version__ = "0.1.0"
