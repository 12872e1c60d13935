"""The engine is the one that somebody looked at: an upgrade fails here until somebody did again."""

import pytest

from store import allowed_functions, allowed_settings
from store.catalogue import TABLES
from tests.golden.engine.update import FOLDER, lists
from tests.integration.store_fixtures import StoreEndpoint

ADVICE = """
The engine's {name} changed. Look at each name below: what touches files, networks, dictionaries,
the server's state, or carries SQL or the name of something, stays off the lists in
store/allowed_functions.py and store/allowed_settings.py. Then run
    python -m tests.golden.engine.update
and read its diff.
new: {new}
gone: {gone}
"""
OUTSIDE = """
    file url s3 remote hdfs mysql postgresql sqlite mongodb redis odbc jdbc executable python input
    merge loop cluster dictionary filesystem eval fuzzQuery viewExplain format zeros generateRandom
"""
HARMFUL = """
    file sleep sleepEachRow dictGet dictHas joinGet joinGetOrNull hasColumnInTable aiGenerate
    evalMLMethod catboostEvaluate naiveBayesClassifier getSetting getServerSetting getMacro
    hostName FQDN tcpPort serverUUID uptime showCertificate addressToLine demangle formatRow
    formatQuery parseQueryToJSON getClientHTTPHeader filesystemAvailable
    zookeeperSessionUptime structureToCapnProtoSchema logTrace editDistance
    levenshteinDistance damerauLevenshteinDistance arrayFold jaroWinklerSimilarity
    arrayLevenshteinDistance stringJaccardIndex multiFuzzyMatchAny hasSubstr
    polygonsUnionCartesian
"""


@pytest.fixture(scope="module")
def found(store_endpoint: StoreEndpoint) -> dict[str, list[str]]:
    return lists(store_endpoint)


@pytest.mark.parametrize("name", sorted(path.stem for path in FOLDER.glob("*.txt")))
def test_the_engine_has_what_somebody_looked_at(found: dict[str, list[str]], name: str) -> None:
    pinned = set((FOLDER / f"{name}.txt").read_text("utf-8").splitlines())
    new, gone = sorted(set(found[name]) - pinned), sorted(pinned - set(found[name]))

    assert [*new, *gone] == [], ADVICE.format(name=name, new=new, gone=gone)


def test_every_list_is_pinned(found: dict[str, list[str]]) -> None:
    assert {path.stem for path in FOLDER.glob("*.txt")} == set(found)


def test_what_readonly_leaves_open_is_off_the_lists_or_a_number(
    found: dict[str, list[str]],
) -> None:
    taken = allowed_settings.KEPT | set(allowed_settings.CLAMPED)

    assert set(found["under_readonly"]) & taken == {"limit", "offset"}


def test_what_reaches_outside_is_off_the_lists(found: dict[str, list[str]]) -> None:
    assert {n.lower() for n in OUTSIDE.split()} & allowed_functions.TABLE_FUNCTIONS == set()
    assert [n for n in HARMFUL.split() if allowed_functions.may_call(n.lower(), {})] == []
    assert [n for n in found["closed_functions"] if allowed_functions.may_call(n.lower(), {})] == []


def test_every_name_on_the_lists_is_one_of_the_engine(store_endpoint: StoreEndpoint) -> None:
    client = store_endpoint.analyst()

    def names(table: str) -> set[str]:
        return {str(row[0]) for row in client.rows(f"SELECT name FROM system.{table}")}  # noqa: S608  # ours

    functions = {name.lower() for name in names("functions")}
    of_the_parser = {"exists", "grouping", "lambda", "untuple", "casewithexpression"}
    assert allowed_functions.FUNCTIONS - functions - of_the_parser == set()
    assert (
        allowed_functions.TABLE_FUNCTIONS - {name.lower() for name in names("table_functions")}
        == set()
    )
    assert names("formats") >= allowed_settings.OUTPUT_FORMATS | allowed_settings.INPUT_FORMATS
    assert allowed_settings.KEPT | set(allowed_settings.CLAMPED) <= names("settings")
    for table, instead in TABLES.items():
        assert client.rows(f"SELECT * FROM {table} LIMIT 0") == [], (table, instead)  # noqa: S608  # ours
    client.close()
