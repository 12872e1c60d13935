"""The statements of `tests/golden/statements`, one a line."""

from pathlib import Path

FOLDER = Path(__file__).parent / "golden" / "statements"


def statements(name: str) -> list[str]:
    """Every statement of a file; lines that begin with ``--`` head the sections."""
    lines = (FOLDER / f"{name}.sql").read_text("utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("--")]
