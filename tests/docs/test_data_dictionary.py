"""The committed data dictionary is what the contracts say today."""

import runpy
from pathlib import Path

DOCS = Path(__file__).resolve().parents[2] / "docs"


def test_the_dictionary_is_made_from_the_schemas() -> None:
    made = runpy.run_path(str(DOCS / "make_data_dictionary.py"))["dictionary"]()
    assert (DOCS / "data-dictionary.md").read_text() == made, "run python docs/make_data_dictionary.py"
