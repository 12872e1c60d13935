"""The settings of the Faust application."""

from pathlib import Path

import pytest

from streams.faust_app import FaustSettings
from wire.errors import PermanentError


def test_exactly_once_is_refused_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(PermanentError, match=r"exactly_once_refused.*neither the store nor Git"):
        FaustSettings("w", tmp_path, processing_guarantee="exactly_once")
