"""Whatever number stands wherever in a manifest: it is read or a mistake, never an exception."""

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from actions.desired_files import BrokenManifestsError, read_desired
from actions.yaml_text import plain_values
from tests.fakes.gitops import FILES, PATH, POLICY, RATE_CARD, RELEASE

NAMES = {"release": PATH, "policy": "policy.yaml", "rates": "rates.yaml"}
TEXTS = {"release": RELEASE, "policy": POLICY, "rates": RATE_CARD}
SIGNS = st.sampled_from(["", "-", "+"])
DIGITS = {"": "1357", "0x": "1f", "0o": "17"}
TAGS = st.sampled_from(["", "!!float ", "!!int ", "!!str ", "! ", "&n "])


@st.composite
def numbers(draw: st.DrawFn) -> str:
    """A number of some base with up to 9,000 digits, or a float of any exponent."""
    if draw(st.booleans()):
        return f"{draw(SIGNS)}{draw(st.integers(0, 99))}.5e{draw(st.integers(-500, 500))}"
    base = draw(st.sampled_from(list(DIGITS)))
    length = draw(st.one_of(st.integers(1, 20), st.integers(240, 320), st.integers(4000, 9000)))
    digit = draw(st.sampled_from(DIGITS[base]))
    return (draw(SIGNS) if not base else "") + base + digit * length


def scalars(text: str) -> list[tuple[int, int]]:
    """Where each plain scalar of a manifest stands: keys and values alike."""
    events = yaml.parse(text, Loader=yaml.CSafeLoader)
    marks = [
        (event.start_mark, event.end_mark)
        for event in events
        if isinstance(event, yaml.ScalarEvent)
    ]
    return [(start.index, end.index) for start, end in marks if start and end]


PLACES = {kind: scalars(text) for kind, text in TEXTS.items()}


def test_there_are_places_for_numbers() -> None:
    assert all(len(places) > 10 for places in PLACES.values())


@example("release", 0, "", "0x" + "f" * 6000)
@example("release", 1, "", "0o" + "7" * 9000)
@example("policy", 12, "!!float ", "1" + "0" * 400)
@example("rates", 7, "!!int ", "0x" + "f" * 4000)
@given(st.sampled_from(list(TEXTS)), st.integers(0, 60), TAGS, numbers())
def test_a_number_in_the_place_of_any_scalar_raises_nothing_else(
    kind: str, place: int, tag: str, number: str
) -> None:
    start, end = PLACES[kind][place % len(PLACES[kind])]
    text = TEXTS[kind][:start] + tag + number + TEXTS[kind][end:]
    foreign = f"kind: {tag}{number}\nholdfast: {number}\n"

    assert read_desired({**FILES, "foreign.yaml": foreign.encode()}, commit="c").releases
    try:
        read_desired({**FILES, NAMES[kind]: text.encode()}, commit="c")
    except BrokenManifestsError as error:
        mistakes = error.mistakes
    else:
        mistakes = ()
    assert all(mistake.accepted for mistake in mistakes)


@pytest.mark.parametrize("digits", [1, 200, 248])
def test_a_long_number_that_still_fits_is_read(digits: int) -> None:
    assert plain_values(f"a: {'1' * digits}\n".encode()) == [{"a": int("1" * digits)}]
