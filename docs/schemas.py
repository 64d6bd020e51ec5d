"""The JSON schemas of what a run directory holds: `python docs/schemas.py` (`make schemas`).

The types stand in `runtime/schema.py` and `crashtest/answer.py`; a test compares the files with them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ostrich.crashtest.answer import ProbeAnswer, Results
from ostrich.runtime.files import write_text
from ostrich.runtime.schema import SCHEMA, RunFile, json_schema

FOLDER = Path(__file__).parent / "schemas"
FORMS = {
    "run": (RunFile, "run.json of every command"),
    "check-results": (Results, "`results` in the run.json of a check"),
    "probe": (ProbeAnswer, "probes/NAME.json of a check"),
}


def schema(name: str) -> dict[str, Any]:
    """One of them, as its file holds it."""
    form, what = FORMS[name]
    head = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$comment": f"Version {SCHEMA}: {what}.",
    }
    return head | json_schema(form)


def main() -> None:
    """Write all of them."""
    for name in FORMS:
        write_text(FOLDER / f"{name}.json", json.dumps(schema(name), indent=2) + "\n")


if __name__ == "__main__":
    main()
