"""A value that cannot be a measurement costs itself: not its row, its batch or its neighbours."""

import math
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sdk_stub.batch import Inference
from tests.unit.sdk_stub.test_client import World
from wire.pb.registry import METRICS

COLUMNS = sorted(metric.column for metric in METRICS)
BAD: list[object] = [
    *(-7, -1, -0.5, 1 << 32, 1 << 64, 10**400, -(10**400), 1e30, 1e308, -1e308),
    *(math.nan, math.inf, -math.inf, None, "5", b"5", "", [], {}, object(), 1j),
    *(Decimal("NaN"), Decimal("Infinity"), np.float32("nan"), np.int64(-1), np.array([1, 2])),
]


def _with(world: World, measured: dict[str, object]) -> object:
    return world.client.record(Inference("m0", "1.0.0", measured))  # type: ignore[arg-type]


@pytest.mark.parametrize("column", COLUMNS)
def test_each_bad_value_is_left_out_of_each_column_alone(tmp_path: Path, column: str) -> None:
    world = World(tmp_path, rows_max=1000)
    world.client.grant()
    other = "latency_ms" if column != "latency_ms" else "energy_mj"
    for bad in BAD:
        assert _with(world, {column: bad, other: 5.0}) is not None

    taken = world.arrive()

    assert world.client.left_out[column] == len(BAD)
    assert sum(len(getattr(u, other)) for u in taken) == len(BAD)
    assert all(not getattr(u, column) for u in taken)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.dictionaries(
            st.sampled_from(COLUMNS),
            st.one_of(
                st.sampled_from(BAD),
                st.integers(-(1 << 70), 1 << 70),
                st.floats(),
                st.floats(0, 1),
                st.integers(0, 100),
            ),
        ),
        max_size=20,
    )
)
def test_rows_arrive_whatever_is_measured_in_them(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, object]]
) -> None:
    world = World(tmp_path_factory.mktemp("phone"))
    version = world.join()
    for measured in rows:
        _with(world, measured)
    world.infer(3, version=version)
    world.clock.ms += 20 * 1500

    taken = world.arrive()

    assert sum(u.n for u in taken) == len(rows) + 3
    for upload in taken:
        for metric in METRICS:
            column = getattr(upload, metric.column)
            assert len(column) in {0, upload.n}
            said = [v for v in column if v != 0xFFFFFFFF]
            assert all(metric.low <= v <= metric.high for v in said)
        assert all(math.isfinite(d.energy_mj + d.data_bytes) for d in upload.unit_days)


@pytest.mark.parametrize(
    "spoilt",
    [
        {"network": "6g"},
        {"network": ""},
        {"network": None},
        {"placement": "moon"},
        {"model_version": None},
        {"model_version": "\ud800"},
        {"model_id": 7},
        {"model_id": "m\x000"},
    ],
)
def test_an_inference_that_no_upload_can_say_costs_itself(
    tmp_path: Path, spoilt: dict[str, object]
) -> None:
    world = World(tmp_path)
    world.client.grant()
    said: dict[str, object] = {"model_id": "m0", "model_version": "1.0.0", "measured": {}, **spoilt}

    kept = world.client.record(Inference(**said))  # type: ignore[arg-type] # what apps pass
    world.infer(2, version="1.0.0")

    assert kept is None
    assert world.client.left_out["inference"] == 1
    assert [u.n for u in world.arrive()] == [2]


@pytest.mark.parametrize("age_days", [-1, 1 << 32, None, math.nan, "3"])
def test_a_label_of_no_age_costs_itself(tmp_path: Path, age_days: object) -> None:
    world = World(tmp_path)
    world.client.grant()
    recorded = world.client.record(Inference("m0", "1.0.0", {"latency_ms": 1.0}))
    assert recorded is not None

    world.client.record_label(recorded, is_correct=True, age_days=age_days)  # type: ignore[arg-type]
    world.client.record_label(recorded, is_correct=True, age_days=1)

    assert [o.correct for u in world.arrive() for o in u.outcomes] == [1]
    assert world.client.left_out["label"] == 1


def test_one_batch_that_cannot_be_made_leaves_the_others(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.client.grant()
    for model in ("m0", "m1", "m2"):
        world.client.record(Inference(model, "1.0.0", {"latency_ms": 1.0}))
    spoilt = next(b for key, b in world.client._batches.items() if key.model_id == "m1")
    spoilt.rows[0] = {"bytes_sent": -7}  # as if it had slipped through

    assert [u.context.model_id for u in world.arrive()] == ["m0", "m2"]
    assert world.client.left_out["upload"] == 1
    world.infer(1, version="1.0.0")
    assert len(world.arrive()) == 3
