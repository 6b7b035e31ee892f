"""The JSON schema of the API, out of the types in `schema`.

`python -m haman.api.json_schema > haman/api/schema.json` renews the committed copy.
"""

import inspect
import json
import sys
from typing import Any

import msgspec

from haman.api import schema

ANSWERS = (
    schema.Status,
    schema.Headroom,
    schema.Scenario,
    schema.Why,
    schema.Event,
    schema.Intent,
    schema.Done,
    schema.ErrorAnswer,
)
"""Everything that is an answer or a body of its own."""


def json_schema() -> dict[str, Any]:
    """Give the schema of every answer and body, by name."""
    _, components = msgspec.json.schema_components(ANSWERS, ref_template="#/$defs/{name}")
    for component in components.values():
        if "description" in component:  # a docstring, which Python dedents itself from 3.13 on
            component["description"] = inspect.cleandoc(component["description"])
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "haman API",
        "version": schema.SCHEMA_VERSION,
        "$defs": components,
    }


def text() -> str:
    """Write the schema as the committed file has it."""
    return json.dumps(json_schema(), indent=2, sort_keys=True) + "\n"


if __name__ == "__main__":
    sys.stdout.write(text())
