"""The detectors, as one explicit tuple: no registration by import, no entry points."""

from collections.abc import Callable
from typing import Final

from analytics.detectors.adwin import Adwin
from analytics.detectors.base import Detector
from analytics.detectors.label_drift import LabelDrift
from analytics.detectors.shiryaev_roberts import ShiryaevRoberts

DETECTORS: Final[tuple[Callable[[], Detector], ...]] = (ShiryaevRoberts, Adwin, LabelDrift)
