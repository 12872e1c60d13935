"""What a worker refuses before it asks anybody."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from holdfast.cli import app


@pytest.mark.parametrize(
    ("stage", "environment", "code"),
    [
        ("summarize", {"HOLDFAST_KAFKA_BOOTSTRAP": "127.0.0.1:9"}, "stage_unknown"),
        ("decide", {}, "HOLDFAST_KAFKA_BOOTSTRAP"),
        (
            "decide",
            {
                "HOLDFAST_KAFKA_BOOTSTRAP": "127.0.0.1:9",
                "HOLDFAST_PROCESSING_GUARANTEE": "exactly_once",
            },
            "exactly_once_refused",
        ),
    ],
)
def test_a_worker_says_at_once_what_it_will_never_do(
    tmp_path: Path, stage: str, environment: dict[str, str], code: str
) -> None:
    arguments = ["worker", "--stage", stage, "--dir", str(tmp_path)]

    result = CliRunner().invoke(app, arguments, env=environment)

    assert result.exit_code == 2
    assert code in result.output
