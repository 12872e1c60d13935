"""What a command says: the result on standard output, progress on standard error."""

import json
import sys
from collections.abc import Mapping


def tell(line: str) -> None:
    """Progress is for people: it goes to standard error."""
    sys.stderr.write(line + "\n")


def give(result: Mapping[str, object], *, as_json: bool, text: str) -> None:
    """The result: one JSON line for machines, text for people."""
    sys.stdout.write((json.dumps(result) if as_json else text) + "\n")
