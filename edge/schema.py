"""JSON schemas of the messages and of benchmark results, for docs/: `python -m edge.schema docs` writes them anew."""

import inspect
import json
import sys
from pathlib import Path

import msgspec

from edge.benchmark_result import Result
from edge.messages import Health, Info, PoseMessage

Kind = type[PoseMessage] | type[Info] | type[Health] | type[Result]
FILES: dict[str, Kind] = {
    "pose-message.schema.json": PoseMessage,
    "info-message.schema.json": Info,
    "health-message.schema.json": Health,
    "benchmark-result.schema.json": Result,
}


def schema_text(kind: Kind) -> str:
    """The JSON schema (draft 2020-12) of a message type, as the text of a file."""
    (reference,), components = msgspec.json.schema_components([kind], ref_template="#/$defs/{name}")
    for component in components.values():
        component["description"] = inspect.cleandoc(component["description"])
    document = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": kind.__name__,
        **reference,
        "$defs": components,
    }
    return json.dumps(document, indent=2) + "\n"


def main(directory: str) -> None:
    """Write every schema into a directory."""
    for name, kind in FILES.items():
        (Path(directory) / name).write_text(schema_text(kind), encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) != 2 or not Path(sys.argv[1]).is_dir():
        sys.exit("usage: python -m edge.schema DIRECTORY (an existing one, such as docs)")
    main(sys.argv[1])
