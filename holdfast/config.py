"""Settings: read once from the environment (`HOLDFAST_...`), checked as a whole, then frozen.

Every field is also an option of the commands that use it; an option wins over the environment.
"""

import json
import os
import re
from pathlib import Path
from typing import Final, Literal

from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from wire.errors import PermanentError

PREFIX: Final = "HOLDFAST_"
_UPLOAD_BYTES_MAX: Final = 4 << 20  # what ingest takes on the wire
_GIT_SEES: Final = (
    *("PATH", "SSH_AUTH_SOCK", "http_proxy", "https_proxy", "all_proxy", "no_proxy"),
    *("HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"),
    *("GIT_SSL_CAINFO", "GIT_SSL_CAPATH", "GIT_PROXY_SSL_CAINFO", "SSL_CERT_FILE", "SSL_CERT_DIR"),
)


class Settings(BaseSettings):
    """How one node runs. `dir` holds everything that it keeps."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, frozen=True, extra="ignore", hide_input_in_errors=True
    )

    dir: Path = Field(
        default=Path("holdfast-data"), description="folder for log, state, keys and store"
    )
    host: str = Field(default="127.0.0.1", description="address to listen on")
    http_port: int = Field(
        default=8080, ge=0, le=65535, description="uploads over HTTP; 0 = any free port"
    )
    grpc_port: int = Field(
        default=8081, ge=0, le=65535, description="uploads over gRPC; 0 = any free port"
    )
    health_host: str = Field(
        default="127.0.0.1", description="address that health and metrics listen on"
    )
    health_port: int = Field(
        default=0, ge=0, le=65535, description="health, metrics and OpenAPI; 0 = any free port"
    )
    store_host: str = Field(
        default="127.0.0.1", description="address that the own store listens on"
    )
    store_port: int = Field(
        default=8123, ge=0, le=65535, description="ClickHouse HTTP of the own store"
    )
    store_url: str = Field(default="", description="a ClickHouse server instead of the own store")
    store_user: str = Field(default="holdfast", description="user at store_url")
    store_password: SecretStr = Field(default=SecretStr(""), description="password at store_url")
    store_cluster: str = Field(
        default="",
        pattern=r"^([A-Za-z0-9_.-]*|\{cluster\})$",
        description="name of the ClickHouse cluster at store_url: replicated, sharded tables",
    )
    batch_key: SecretStr = Field(
        default=SecretStr(""),
        description="64 hex digits, the same for all doors of a topic: digests batch ids",
    )
    batch_key_since_ms: int = Field(
        default=0, ge=0, description="uploads made before it are digested without batch_key"
    )
    gitops_url: str = Field(
        default="", description="the GitOps repository: path, file, https or ssh"
    )
    gitops_branch: str = Field(
        default="main", description="the branch that Argo CD or Flux watches"
    )
    gitops_authorization: SecretStr = Field(
        default=SecretStr(""), description="value of the Authorization header for https remotes"
    )
    gitops_poll_s: float = Field(
        default=10.0, gt=0, description="seconds between looks at the repository"
    )
    gitops_timeout_s: float = Field(
        default=300.0, gt=0, description="longest time for one git command, a clone included"
    )
    gitops_size_mb: int = Field(
        default=4096, ge=1, description="a repository whose clone takes more is not read"
    )
    gitops_ca_file: str = Field(
        default="", description="PEM: who signs an https remote; else the system's authorities"
    )
    gitops_proxy: SecretStr = Field(
        default=SecretStr(""), description="proxy for http(s) remotes; else `https_proxy` and so on"
    )
    release_key_uri: str = Field(
        default="", description="the online key of release metadata, if not a file of the node's"
    )
    release_key_pin: SecretStr = Field(
        default=SecretStr(""), description="what the token of release_key_uri asks for"
    )
    release_valid_hours: float = Field(
        default=24.0, ge=1, le=720, description="how long phones obey a config they cannot refresh"
    )
    slack_webhook_url: SecretStr = Field(
        default=SecretStr(""), description="Slack incoming webhook"
    )
    partitions: int = Field(
        default=1, ge=1, le=256, description="partitions of a new log; fixed for life"
    )
    retention_hours: float = Field(
        default=72.0, ge=0, description="how long payloads stay after storing"
    )
    disk_reserve_mb: int = Field(
        default=512, ge=0, description="uploads are refused below this free space"
    )
    quota_uploads_s: float = Field(
        default=50_000.0,
        gt=0,
        allow_inf_nan=False,
        description="uploads per second of one app at one door; its address prefixes share them",
    )
    quota_bytes_s: float = Field(
        default=536_870_912.0,
        gt=0,
        allow_inf_nan=False,
        description="bytes per second of one app at one door, as they come over the wire",
    )
    quota_burst_s: float = Field(
        default=10.0,
        gt=0,
        allow_inf_nan=False,
        description="seconds of both that may come at once; one upload (4 MiB) must fit",
    )
    grants_per_prefix: int = Field(
        default=20,
        ge=1,
        le=1_000_000,
        description="grants that an address prefix may hold of one app at one door",
    )
    grants_refill_h: float = Field(
        default=168.0,
        gt=0,
        le=100_000,
        allow_inf_nan=False,
        description="hours after which a prefix that has used them may have as many again",
    )
    attestor_word: SecretStr = Field(
        default=SecretStr(""),
        description="phones must say it to get grants: for tests and closed fleets; none if empty",
    )
    dead_letters_max: int = Field(
        default=1000, ge=0, description="a partition stops when more of its records are unreadable"
    )
    writer: str = Field(
        default="ingest-0",
        pattern=r"^[A-Za-z0-9._-]{1,200}$",
        description="name of this ingest worker in the log",
    )
    tick_s: float = Field(default=1.0, gt=0, le=60, description="seconds between ticks of log time")
    kafka_bootstrap: str = Field(
        default="", description="Kafka brokers, host:port,...; `holdfast up` needs none"
    )
    kafka_prefix: str = Field(
        default="holdfast",
        pattern=r"^[A-Za-z0-9._-]{1,100}$",
        description="topics and groups are PREFIX.name",
    )
    kafka_replication: int = Field(
        default=1, ge=1, le=16, description="copies of each new topic; 3 survives a lost disk"
    )
    kafka_min_insync: int = Field(
        default=1, ge=1, le=16, description="copies that a receipt waits for; 2 of 3"
    )
    kafka_create_topics: bool = Field(
        default=True, description="make missing topics at the start; else refuse to start"
    )
    kafka_security: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        default="PLAINTEXT", description="what the brokers' listener speaks"
    )
    kafka_sasl_mechanism: Literal["", "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = Field(
        default="", validate_default=True, description="how user and password are shown, with SASL"
    )
    kafka_user: str = Field(default="", validate_default=True, description="user, with SASL")
    kafka_password: SecretStr = Field(
        default=SecretStr(""), validate_default=True, description="password, with SASL"
    )
    kafka_ca_file: str = Field(
        default="",
        description="PEM: who signs brokers' certificates; else the system's authorities",
    )
    kafka_certificate_file: str = Field(
        default="", description="PEM: our certificate, where brokers ask for one"
    )
    kafka_key_file: str = Field(
        default="", validate_default=True, description="PEM: its key, without passphrase"
    )
    seen_retention_hours: float = Field(
        default=192.0,
        gt=0,
        description="how long Kafka keeps batch ids; above acceptedAgeMs and 4 minutes",
    )
    worker_id: str = Field(
        default="worker-0",
        pattern=r"^[A-Za-z0-9._-]{1,200}$",
        description="name of this worker in its group; the same over restarts",
    )
    processing_guarantee: str = Field(
        default="at_least_once", description="anything else is refused: see docs/decisions"
    )
    clock_offset_ms: int = Field(
        default=0,
        description="for tests of wrong clocks: added to the time of `holdfast ingest` and `up`",
    )
    metrics_port: int = Field(
        default=0, ge=0, le=65535, description="a worker's health and metrics; 0 = none"
    )

    @field_validator("gitops_url")
    @classmethod
    def _where_it_lies(cls, address: str) -> str:
        """A path means the same to the node's processes, whatever folder they run in."""
        return str(Path(address).resolve()) if address and Path(address).exists() else address

    @field_validator("kafka_min_insync")
    @classmethod
    def _of_the_copies(cls, copies: int, others: ValidationInfo) -> int:
        """A receipt that waits for more copies than there are never comes."""
        replication = others.data.get("kafka_replication", copies)
        if copies > replication:
            raise ValueError(f"only {replication} copies are made (HOLDFAST_KAFKA_REPLICATION)")
        return copies

    @field_validator("quota_burst_s")
    @classmethod
    def _one_upload_fits(cls, burst_s: float, others: ValidationInfo) -> float:
        """An upload that is larger than the bucket would be told to come back for ever."""
        for name, least in (("quota_uploads_s", 1), ("quota_bytes_s", _UPLOAD_BYTES_MAX)):
            if name in others.data and others.data[name] * burst_s < least:
                variable = PREFIX + name.upper()
                raise ValueError(f"times {variable} must be {least} or more: one upload must fit")
        return burst_s

    @field_validator("kafka_sasl_mechanism", "kafka_user", "kafka_password")
    @classmethod
    def _with_sasl_alone(cls, given: str | SecretStr, others: ValidationInfo) -> str | SecretStr:
        """A listener with SASL needs all three, another one would ignore them."""
        protocol = others.data.get("kafka_security")
        is_set = bool(given.get_secret_value() if isinstance(given, SecretStr) else given)
        if protocol is not None and is_set != protocol.startswith("SASL_"):
            verb = "takes none" if is_set else "needs one"
            raise ValueError(f"{protocol} {verb} (HOLDFAST_KAFKA_SECURITY)")
        return given

    @field_validator("batch_key")
    @classmethod
    def _hex(cls, value: SecretStr) -> SecretStr:
        text = value.get_secret_value()
        if text and not re.fullmatch(r"[0-9a-f]{64}", text):
            raise ValueError("64 hex digits, as `openssl rand -hex 32` gives them")
        return value

    @field_validator("kafka_ca_file", "kafka_certificate_file", "kafka_key_file")
    @classmethod
    def _with_tls_alone(cls, file: str, others: ValidationInfo) -> str:
        """Files that nobody would read are a mistake, and so are those that are not there."""
        protocol = others.data.get("kafka_security")
        if file and protocol is not None and not protocol.endswith("SSL"):
            raise ValueError(f"{protocol} has no TLS (HOLDFAST_KAFKA_SECURITY)")
        if file and not Path(file).is_file():
            raise ValueError(f"there is no file {file}")
        return file

    @field_validator("gitops_ca_file")
    @classmethod
    def _there(cls, file: str) -> str:
        """A file of authorities that is not there would be said at each fetch, in git's words."""
        if file and not Path(file).is_file():
            raise ValueError(f"there is no file {file}")
        return str(Path(file).resolve()) if file else file

    @field_validator("kafka_key_file")
    @classmethod
    def _of_the_certificate(cls, file: str, others: ValidationInfo) -> str:
        """Certificate and key come together."""
        certificate = others.data.get("kafka_certificate_file")
        if certificate is not None and bool(file) != bool(certificate):
            raise ValueError("a certificate and its key come together")
        return file


def load(**options: object) -> Settings:
    """Settings of options, environment and the folder's file; all mistakes in one error.

    Raises PermanentError ``settings_invalid``.
    """
    given = {name: value for name, value in options.items() if value is not None}
    folder = Path(str(given.get("dir") or os.environ.get(PREFIX + "DIR") or "holdfast-data"))
    kept = folder / "settings.json"
    if kept.exists():
        try:
            own = dict(json.loads(kept.read_text()))
        except (OSError, ValueError, TypeError) as error:
            raise PermanentError(
                "settings_invalid",
                f"{kept} cannot be read: {type(error).__name__}",
                accepted="a JSON object of settings; without the file, the environment alone",
            ) from error
        unset = {k: v for k, v in own.items() if PREFIX + k.upper() not in os.environ}
        given = {**unset, **given}
    try:
        return Settings(**given)  # type: ignore[arg-type]  # pydantic checks
    except ValidationError as error:
        lines = [
            f"{PREFIX}{str(e['loc'][0]).upper()}: {e['msg']}" for e in error.errors() if e["loc"]
        ]
        raise PermanentError("settings_invalid", "; ".join(lines)) from error


_OF_LIBRARIES: Final = {"GRPC_VERBOSITY": "NONE", "MALLOC_ARENA_MAX": "2"}
"""Read before our code runs. grpcio writes a line for each call that it refuses itself: strangers
would fill the disk. glibc keeps an arena per thread: half of what they make grpcio hold is that.
"""


def environment_of(settings: Settings) -> dict[str, str]:
    """The environment that makes a child process read the same settings. Holds the secrets."""
    values: dict[str, str] = {}
    for name in Settings.model_fields:
        value = getattr(settings, name)
        text = value.get_secret_value() if isinstance(value, SecretStr) else str(value)
        values[PREFIX + name.upper()] = text
    return {**_OF_LIBRARIES, **os.environ, **values}


def data_folder() -> Path:
    """Where recorded runs lie: `HOLDFAST_DATA`, else ``../shared/data``."""
    return Path(os.environ.get(PREFIX + "DATA", "../shared/data"))


def git_environment() -> dict[str, str]:
    """What git may see of the world.

    libcurl, by which git speaks HTTP, ignores HTTP_PROXY in capitals, and Debian's git (GnuTLS)
    ignores SSL_CERT_FILE: both are passed under the names that work.
    """
    known = {name: os.environ[name] for name in _GIT_SEES if os.environ.get(name)}
    for given, works in (("HTTP_PROXY", "http_proxy"), ("SSL_CERT_FILE", "GIT_SSL_CAINFO")):
        if os.environ.get(given):
            known.setdefault(works, os.environ[given])
    return known
