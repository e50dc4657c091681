"""Nothing is installed that constraints.txt does not name: what ours need, what those need, and so on."""

from __future__ import annotations

import re
import tomllib
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
# The others are for a machine with a GPU, where the user picks what fits its driver.
EXTRAS = ("cpu", "docker", "openvino", "dev")


def test_every_package_that_is_needed_is_pinned() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = {canonicalize_name(line.split("==")[0]) for line in lines if re.match(r"[A-Za-z0-9._-]+==", line)}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    written = [
        *project["dependencies"],
        *(line for extra in EXTRAS for line in project["optional-dependencies"][extra]),
    ]
    needed = _all_needed([Requirement(line) for line in written])
    assert len(needed) > 80
    assert needed - pinned == set()


def _all_needed(requirements: list[Requirement]) -> set[str]:
    """By name, as far as they are installed here: some are for another Python or another system."""
    seen: set[tuple[str, str]] = set()
    while requirements:
        requirement = requirements.pop()
        name = canonicalize_name(requirement.name)
        for extra in {"", *requirement.extras} - {found for other, found in seen if other == name}:
            seen.add((name, extra))
            try:
                further = [Requirement(line) for line in metadata.distribution(name).requires or ()]
            except metadata.PackageNotFoundError:
                continue
            requirements += [each for each in further if each.marker is None or each.marker.evaluate({"extra": extra})]
    return {name for name, _ in seen}
