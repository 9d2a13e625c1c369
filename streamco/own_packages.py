"""Our top-level packages have plain names (agent, schemas …): another distribution in the same environment may have one
of them too, and whichever was installed last would be run. So Streamco wants an environment of its own (README)."""

from collections.abc import Mapping, Sequence
from importlib.metadata import packages_distributions
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from streamco.embedded.server import ServerError

PACKAGES: Final = (
    "schemas", "tariffs", "runtime", "sinks", "router", "configuration", "billing", "agent", "streams", "simulator",
    "dashboards", "streamco",
)  # fmt: skip
_OURS: Final = "streamco"
_ROOT: Final = Path(__file__).resolve().parent.parent
_WHAT_TO_DO: Final = "install Streamco into an environment of its own: `uv tool install` or `pipx install`"


def require_own_packages() -> None:
    """Raise ServerError naming each package of ours that another distribution has, or that is found elsewhere."""
    faults = owned_by_others(packages_distributions()) + found_elsewhere(_ROOT)
    if faults:
        raise ServerError("\n".join((*faults, _WHAT_TO_DO)))


def owned_by_others(owners: Mapping[str, Sequence[str]]) -> list[str]:
    """What is wrong with the owners of packages, given as names of distributions."""
    others = {package: sorted({*owners.get(package, ())} - {_OURS}) for package in PACKAGES}
    return [
        f"package {package}: must be of {_OURS} alone; {', '.join(names)} has one of that name"
        for package, names in others.items()
        if names
    ]


def found_elsewhere(root: Path) -> list[str]:
    """What is wrong with where Python finds the packages: all must stand beside each other, below `root`."""
    faults = []
    for package in PACKAGES:
        spec = find_spec(package)
        places = [] if spec is None else [Path(place).resolve() for place in spec.submodule_search_locations or ()]
        if places != [root / package]:
            where = ", ".join(map(str, places)) or (spec.origin if spec is not None and spec.origin else "nowhere")
            faults.append(f"package {package}: must be {root / package}; Python finds it at {where}")
    return faults
