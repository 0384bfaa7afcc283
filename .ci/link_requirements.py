"""Links what the installed drift-reproduction requires, and what that requires in turn, into another environment.

    python link_requirements.py ENVIRONMENT [EXTRA]

A command that imports more than its extra declares then fails there, as it would for a user.
"""

import sys
from importlib.metadata import Distribution, PackageNotFoundError, distribution, distributions
from pathlib import Path

from packaging.requirements import Requirement

PROJECT = "drift-reproduction"


def required(package: Distribution, extras: set[str], found: dict[tuple[str, str], Distribution]) -> None:
    """Adds what `package` requires with these extras, recursively; what is not installed here is left out."""
    for line in package.requires or ():
        requirement = Requirement(line)
        if not any(requirement.marker is None or requirement.marker.evaluate({"extra": e}) for e in extras | {""}):
            continue
        key = (requirement.name.lower(), ",".join(sorted(requirement.extras)))
        if key in found or requirement.name == PROJECT:
            continue
        try:
            found[key] = distribution(requirement.name)
        except PackageNotFoundError:
            continue
        required(found[key], requirement.extras, found)


def main(environment: Path, extra: str) -> None:
    """Links every top-level file and folder of the requirements into the environment's site-packages."""
    [site] = environment.glob("lib/python*/site-packages")
    [project] = distributions(name=PROJECT, path=[str(site)])
    found: dict[tuple[str, str], Distribution] = {}
    required(project, {extra}, found)
    for package in found.values():
        for name in {file.parts[0] for file in package.files or () if file.parts[0] not in ("..", "__pycache__")}:
            target = site / name
            if not target.exists():
                target.symlink_to(Path(str(package.locate_file(name))))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else "")
