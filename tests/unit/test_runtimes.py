from __future__ import annotations

import pytest

from cortex_compile.cli.runtimes import parse_runtime
from cortex_compile.errors import UsageError

PORTS = (8000, 8001, 8002)


@pytest.mark.parametrize("text", ["4g", "512M", "2gb", "1073741824"])
def test_memory_as_docker_writes_it(text: str) -> None:
    assert parse_runtime("docker", PORTS, None, None, text).memory == text


@pytest.mark.parametrize("text", ["lots", "4Gi", "-1g", "", "1.5.2g"])
def test_other_memory_is_refused_before_anything_is_started(text: str) -> None:
    with pytest.raises(UsageError, match=r"--memory .*expected a size, as 512m or 4g"):
        parse_runtime("docker", PORTS, None, None, text)


def test_what_is_a_containers_alone_goes_with_nothing_else() -> None:
    with pytest.raises(UsageError, match="--memory is for --runtime docker; with --runtime embedded"):
        parse_runtime("embedded", PORTS, None, None, "4g")
