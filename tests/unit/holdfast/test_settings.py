"""Settings: from the environment, the folder and options, and what they mean elsewhere."""

import re
from pathlib import Path
from typing import Final

import pytest

from holdfast.check_command import check
from holdfast.config import load
from holdfast.folder import Folder
from holdfast.kafka_settings import kafka_settings
from tests.fakes.secure_kafka import Authority
from wire.errors import PermanentError

SECRET: Final = "correct-horse-9e1b"
SASL: Final = {
    "kafka_security": "SASL_PLAINTEXT",
    "kafka_sasl_mechanism": "PLAIN",
    "kafka_user": "u",
    "kafka_password": SECRET,
}


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_repository_beside_us_is_found_from_every_folder(tmp_path: Path) -> None:
    (tmp_path / "models.git").mkdir()

    assert load(gitops_url="models.git").gitops_url == str(tmp_path / "models.git")


@pytest.mark.parametrize("address", ["", "https://example.org/m.git", "git@example.org:m.git"])
def test_an_address_stays_as_it_is(address: str) -> None:
    assert load(gitops_url=address).gitops_url == address


def test_an_option_wins_over_the_environment_and_that_over_the_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "settings.json").write_text('{"writer": "of-the-folder", "http_port": 1}')
    monkeypatch.setenv("HOLDFAST_DIR", str(tmp_path))
    monkeypatch.setenv("HOLDFAST_HTTP_PORT", "2")

    settings = load(http_port=3)

    assert (load().http_port, settings.http_port, settings.writer) == (2, 3, "of-the-folder")


def test_all_mistakes_are_named_as_they_were_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOLDFAST_TICK_S", "0")
    monkeypatch.setenv("HOLDFAST_PARTITIONS", "many")

    with pytest.raises(PermanentError) as wrong:
        load()

    assert wrong.value.code == "settings_invalid"
    assert "HOLDFAST_TICK_S" in wrong.value.detail
    assert "HOLDFAST_PARTITIONS" in wrong.value.detail


def test_a_receipt_cannot_wait_for_more_copies_than_are_made() -> None:
    with pytest.raises(PermanentError, match=r"KAFKA_MIN_INSYNC.*only 1 copies"):
        load(kafka_min_insync=2)
    with pytest.raises(PermanentError, match="KAFKA_REPLICATION"):
        load(kafka_min_insync=2, kafka_replication=0)

    assert load(kafka_min_insync=2, kafka_replication=3).kafka_min_insync == 2


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"kafka_security": "TLS"}, "KAFKA_SECURITY"),
        ({"kafka_sasl_mechanism": "PLAIN"}, "KAFKA_SASL_MECHANISM"),
        ({"kafka_user": "u"}, "KAFKA_USER"),
        ({"kafka_password": SECRET}, "KAFKA_PASSWORD"),
        ({"kafka_security": "SSL", "kafka_password": SECRET}, "KAFKA_PASSWORD"),
        ({**SASL, "kafka_sasl_mechanism": ""}, "KAFKA_SASL_MECHANISM"),
        ({**SASL, "kafka_sasl_mechanism": "GSSAPI"}, "KAFKA_SASL_MECHANISM"),
        ({**SASL, "kafka_user": ""}, "KAFKA_USER"),
        ({**SASL, "kafka_password": ""}, "KAFKA_PASSWORD"),
        ({**SASL, "kafka_ca_file": "ca.pem"}, "KAFKA_CA_FILE"),
        ({"kafka_security": "SSL", "kafka_ca_file": "missing.pem"}, "KAFKA_CA_FILE"),
        ({"kafka_security": "SSL", "kafka_certificate_file": "ca.pem"}, "KAFKA_KEY_FILE"),
        ({"kafka_security": "SSL", "kafka_key_file": "ca.pem"}, "KAFKA_KEY_FILE"),
    ],
)
def test_impossible_security_is_refused_with_its_name(
    tmp_path: Path, given: dict[str, str], field: str
) -> None:
    (tmp_path / "ca.pem").write_text("")

    with pytest.raises(PermanentError) as wrong:
        load(**given)

    assert re.findall(r"HOLDFAST_(\w+):", wrong.value.detail) == [field]
    assert SECRET not in str(wrong.value) + str(wrong.value.__cause__)


def test_security_that_fits_is_taken(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("")

    assert load(**SASL).kafka_user == "u"
    assert load(**SASL | {"kafka_security": "SASL_SSL", "kafka_ca_file": "ca.pem"})
    assert load(kafka_security="SSL")


def test_a_file_that_is_no_pem_is_named(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("nothing")
    settings = load(kafka_bootstrap="b:1", kafka_security="SSL", kafka_ca_file="ca.pem")

    with pytest.raises(PermanentError, match=r"HOLDFAST_KAFKA_CA_FILE: ca\.pem") as wrong:
        kafka_settings(settings)

    assert (wrong.value.code, wrong.value.field) == ("settings_invalid", "kafka_ca_file")


def test_a_key_with_a_passphrase_is_refused_and_nobody_is_asked_for_it(tmp_path: Path) -> None:
    key, certificate = Authority("test").issue("us", passphrase=b"secret")
    (tmp_path / "our.key").write_bytes(key)
    (tmp_path / "our.pem").write_bytes(certificate)
    settings = load(
        kafka_bootstrap="b:1",
        kafka_security="SSL",
        kafka_certificate_file="our.pem",
        kafka_key_file="our.key",
    )

    with pytest.raises(PermanentError, match=r"KAFKA_CERTIFICATE_FILE.*passphrase"):
        kafka_settings(settings)


def test_the_password_is_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load(**SASL, kafka_bootstrap="b:1")
    for name, value in SASL.items():
        monkeypatch.setenv(f"HOLDFAST_{name.upper()}", value)

    shown, text, _ = check(None, None)

    assert shown["settings"]["kafka_password"] == "(set)"  # type: ignore[index]  # a JSON object
    kept = kafka_settings(settings)
    assert kept.security.password == SECRET
    assert SECRET not in text + str(shown) + repr(settings) + repr(kept) + repr(kept.security)


def test_a_new_folder_is_its_owner_s_alone(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "node")

    folder.create()

    assert folder.root.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"quota_bytes_s": 1000.0}, "QUOTA_BURST_S.*QUOTA_BYTES_S must be 4194304"),
        ({"quota_uploads_s": 0.01}, "QUOTA_BURST_S.*QUOTA_UPLOADS_S must be 1 or more"),
        ({"quota_uploads_s": 0.0}, "QUOTA_UPLOADS_S"),
        ({"quota_bytes_s": float("inf")}, "QUOTA_BYTES_S"),
        ({"quota_burst_s": float("nan")}, "QUOTA_BURST_S"),
    ],
)
def test_a_quota_is_a_limit_and_one_upload_fits(given: dict[str, float], named: str) -> None:
    with pytest.raises(PermanentError, match=named):
        load(**given)

    assert load(quota_bytes_s=4096.0, quota_burst_s=1024.0).quota_bytes_s == 4096.0
