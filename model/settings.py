"""Every setting of the product: environment variables `FRAUD_<NAME>`, or lines of a `.env` file while developing.

An unknown `FRAUD_*` variable or a bad value stops the start; a message names the variable and the rule, never a value.
"""

import difflib
import os
import re
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, DotEnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from model.address import location
from model.decision import DECLINED_BUDGET, FLAGGED_BUDGET
from model.transaction import MAX_KEY_BYTES, MIN_KEY_BYTES, IdHasher

PREFIX = "FRAUD_"
MONTHLY_LOSS_LIMIT = 500_000.0  # requirement: the fraud that passes in a month costs at most this
TOPIC = r"^[A-Za-z0-9._-]{1,249}$"  # what Kafka takes as a topic's name
REGISTRIES = ("http://", "https://", "sqlite:///")
_DURATION = re.compile(r"[0-9]{1,8}[smhd]")
UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


class SettingsError(ValueError):
    """A setting is unknown, missing or breaks its rule."""


def parse_duration(value: object) -> object:
    """Turn `90s`, `15m`, `1h` or `7d` into a duration; anything else is left for the rule to refuse."""
    if isinstance(value, str) and _DURATION.fullmatch(value):
        return timedelta(**{UNITS[value[-1]]: int(value[:-1])})
    if isinstance(value, timedelta):
        return value
    raise ValueError("must be a whole number of at most 8 digits followed by s, m, h or d, such as 1d")


Duration = Annotated[timedelta, BeforeValidator(parse_duration)]


class _OwnLines(DotEnvSettingsSource):
    """A `.env` file is shared with other tools; only lines that begin with `FRAUD_` are ours to judge."""

    def __call__(self) -> dict[str, Any]:
        """Return what the file says of this product."""
        own = {*self.settings_cls.model_fields}
        found = super().__call__().items()
        return {name: value for name, value in found if name in own or name.upper().startswith(PREFIX)}


class Settings(BaseSettings):
    """All settings; the text under each says what it is for."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_file=".env", extra="forbid", frozen=True, use_attribute_docstrings=True
    )

    id_key: SecretStr | None = None
    """Key under which customer and terminal ids are hashed: 16 to 64 bytes of secret text. This or `id_key_file`."""
    id_key_file: Path | None = None
    """File that holds the id key; white space around it is ignored."""
    tracking_uri: str = Field(default="", max_length=2000)
    """MLflow registry: `http(s)://` of a server, or `sqlite:////absolute/path.db` of an embedded store. When empty, an
    embedded store in `work_folder`."""
    work_folder: Path = Path("var")
    """Folder for all that is made locally: scratch databases, downloaded bundles, reports, the embedded store."""

    host: str = "127.0.0.1"
    """Address that the service listens on."""
    port: int = Field(default=8000, ge=0, le=65535)
    """Port that the service listens on; 0 takes a free one."""
    max_body_bytes: int = Field(default=16 * 1024, ge=1024, le=1024 * 1024)
    """Largest body of `POST /predict`, in bytes."""
    max_batch_body_bytes: int = Field(default=2 * 1024 * 1024, ge=1024, le=64 * 1024 * 1024)
    """Largest body of `POST /predict/batch`, in bytes."""
    keep_alive_seconds: int = Field(default=75, ge=1, le=3600)
    """How long an idle connection is kept; longer than the proxy in front keeps it, or requests are lost."""
    read_seconds: float = Field(default=10, gt=0, le=600)
    """Longest time from the first byte of a request to its last."""
    longest_wait_ms: float = Field(default=25, gt=0, le=10_000)
    """Longest time that a payment may wait for its turn; what would wait longer is refused at once with 503."""
    drain_seconds: float = Field(default=0, ge=0, le=600)
    """How long an instance that is told to end goes on answering while it says that it is not ready."""
    start_seconds: float = Field(default=0, ge=0, le=3600)
    """How long a start waits for a registry that cannot be reached or has no champion yet, before it fails."""
    decision_log: str = "-"
    """Where the decision log goes: `-` for standard output, a path of a file to append to, nothing for no log."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """How much the service writes to its log."""
    poll_seconds: float = Field(default=30, ge=0, le=3600)
    """How often the service asks the registry for another champion or newer statistics, in seconds, up to a tenth
    earlier or later. 0: only at start."""
    trial_seconds: float = Field(default=300, gt=0, le=3600)
    """Longest time for new versions to be downloaded and tried in a process of their own, in seconds."""
    trial_memory_mb: int = Field(default=2048, ge=256, le=1024 * 1024)
    """Memory that such a process may take, in MB; about three times the statistics on disk."""
    max_statistics_age: Duration = timedelta(0)
    """Age of the statistics above which `/ready` says no, although answers are still given. 0s: never."""
    shadow_share: float = Field(default=0, ge=0, le=1)
    """Share of payments that the challenger, if there is one, scores too, after their answers have left. 0: none."""

    webhdfs: str = Field(default="", pattern=r"^(https?://[A-Za-z0-9._-]+(:[0-9]{1,5})?)?$")
    """WebHDFS of the name node, `http(s)://host:port`, by which `hdfs://` addresses are read and written. When empty,
    port 9870 of the address's host."""
    store_patience_seconds: float = Field(default=30, ge=0, le=3600)
    """How long a store (S3, HDFS) that cannot be reached or is overloaded is asked again before a job fails."""
    skip_unreadable_files: bool = False
    """Whether files of history or reports that are no readable Parquet or CSV are left out, counted and named, in
    place of stopping the job."""
    reports: Annotated[Path | str | None, BeforeValidator(location)] = None
    """File, folder or address of fraud reports that come apart from the history, read by everything that trains, tests
    or refreshes: lines of `transaction_id`, `report_datetime` and, to take reports back, `tx_fraud` 0."""
    label_delay: Duration = timedelta(days=1)
    """From a transaction to its fraud report, where history has no report time of its own."""
    statistics_age: Duration = timedelta(hours=1)
    """How often statistics are refreshed; training sees them as old as a request does. Whole hours."""
    longest_report_delay: Duration = timedelta(days=30)
    """How long after its transaction a report is waited for; `antifraud refresh` keeps transactions for this and the
    longest window of the statistics. Whole hours."""
    kept_statistics: int = Field(default=24, ge=1, le=10_000)
    """How many versions of the statistics the registry keeps; older ones go a day after their use, not sooner."""
    flagged_budget: float = Field(default=FLAGGED_BUDGET, gt=0, lt=1)
    """Share of honest transactions that may be flagged (review or decline)."""
    declined_budget: float = Field(default=DECLINED_BUDGET, gt=0, lt=1)
    """Share of honest transactions that may be declined outright; at most `flagged_budget`."""
    trees: int = Field(default=200, ge=1, le=2000)
    """Trees of a model. An answer's time grows with trees times leaves times depth."""
    leaves: int = Field(default=31, ge=2, le=255)
    """Leaves of a tree."""
    learning_rate: float = Field(default=0.03, gt=0, le=1)
    """Weight of each tree."""
    seed: int = Field(default=1, ge=0, lt=2**31)
    """Seed of everything random in training."""
    threads: int = Field(default=2, ge=1, le=256)
    """Processor cores that preparation and training may use; the service always uses one."""
    memory_limit: str = Field(default="4GB", pattern=r"^[1-9][0-9]*(MB|GB)$")
    """Memory that preparation may use before it spills to disk, such as `4GB`."""
    max_training_rows: int = Field(default=3_000_000, ge=10_000, le=100_000_000)
    """Transactions from which on training takes a sample: all frauds, and of the honest ones as many as fill up this
    number, at least one for each fraud. Figures and probabilities are corrected for it."""
    monthly_loss_limit: float = Field(default=MONTHLY_LOSS_LIMIT, ge=0)
    """What the fraud that passes in a month may cost, in units of the currency; the evaluation says whether it does."""
    code_version: str = Field(default="", pattern=r"^[A-Za-z0-9._+-]{0,64}$")
    """Revision of the code, given when an image is built; noted with every model, after the package's own version."""
    gate_alpha: float = Field(default=0.05, gt=0, lt=0.5)
    """Error that the comparison of champion and challenger allows: its intervals cover 1 minus this."""
    gate_resamples: int = Field(default=1000, ge=100, le=100_000)
    """Resamples of the bootstrap that compares champion and challenger."""
    gate_recall_margin: float = Field(default=0.005, ge=0, lt=1)
    """Loss of recall that a challenger may not have to be promoted; the interval of the difference must exclude it."""
    gate_fpr_tolerance: float = Field(default=0.005, ge=0, lt=1)
    """How far above its budget the upper bound of a challenger's false positive rate may lie."""
    gate_require_improvement: bool = False
    """Whether a challenger must be shown to be better, and not only to be no worse."""
    explain_budget_us: float = Field(default=250, gt=0, le=100_000)
    """Microseconds that scoring and explaining one row may take for a challenger to be promoted."""

    kafka_bootstrap: str = Field(default="", max_length=2000)
    """Brokers to ask first, `host:port` with commas between; needed by everything that reads or writes a topic."""
    kafka_security: Literal["plaintext", "ssl", "sasl_plaintext", "sasl_ssl"] = "plaintext"
    """How brokers are spoken to: with or without TLS (`ssl`), with or without a login (`sasl`)."""
    kafka_sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-512"
    """How a login proves itself."""
    kafka_user: str = Field(default="", max_length=255)
    """Name of the login."""
    kafka_password: SecretStr | None = None
    """Password of the login. This or `kafka_password_file`."""
    kafka_password_file: Path | None = None
    """File that holds the password of the login; white space around it is ignored."""
    kafka_ca_file: Path | None = None
    """Certificates, PEM, that sign those of the brokers; by default those that the system trusts."""
    kafka_certificate_file: Path | None = None
    """Certificate, PEM, by which this client is known to the brokers, with `kafka_key_file`."""
    kafka_key_file: Path | None = None
    """Private key, PEM, of that certificate."""
    stream_input: str = Field(default="payments", pattern=TOPIC)
    """Topic of the payments that `antifraud stream` decides on."""
    stream_output: str = Field(default="decisions", pattern=TOPIC)
    """Topic that the decisions go to."""
    stream_dead_letter: str = Field(default="payments-dead-letter", pattern=TOPIC)
    """Topic for messages that no decision can be made on, each with the reason."""
    stream_group: str = Field(default="antifraud", pattern=TOPIC)
    """Consumer group; its members share the partitions of the input."""
    stream_member: str = Field(default="", pattern=r"^[A-Za-z0-9._-]{0,200}$")
    """Name of this member, one of its own for each process that runs at the same time: a restart under it ends at once
    what its predecessor left open. By default the host's name, which for a pod is the pod's."""
    stream_port: int = Field(default=8001, ge=0, le=65535)
    """Port of `/health`, `/ready` and `/metrics` of the stream, on `host`; 0 takes a free one."""
    stream_batch: int = Field(default=500, ge=1, le=10_000)
    """Most messages that are decided on in one Kafka transaction."""
    stream_linger_ms: float = Field(default=100, ge=0, le=5000)
    """Longest time that a transaction waits for more messages after its first."""
    stream_queue_kb: int = Field(default=16 * 1024, ge=1024, le=1024 * 1024)
    """Memory for messages fetched ahead and, once more, for decisions that are not yet with the brokers, in KB."""
    stream_key: Literal["input", "transaction"] = "input"
    """Key of a decision: that of its payment's message, where that has one, or always the transaction's id."""
    stream_explain: Literal["reasons", "full"] = "reasons"
    """What a decision says, as of `POST /predict?explain=`."""
    stream_dead_letter_values: bool = True
    """Whether a dead letter holds the message as it came. If not, only the reason and where the message stands."""
    stream_start_seconds: float = Field(default=120, ge=0, le=3600)
    """How long a start waits for brokers that cannot be reached, before it ends with exit code 3."""
    stream_session_seconds: float = Field(default=10, ge=6, le=300)
    """How long the group waits for a member that is gone without a word, until others take its partitions."""
    stream_transaction_seconds: float = Field(default=15, ge=5, le=300)
    """After how long the brokers abort what a member left open that is gone without a word."""

    landing_reports: str = Field(default="reports", pattern=TOPIC)
    """Topic of fraud reports that `antifraud land --topic reports` lands; decisions are those of `stream_output`."""
    landing_every: Duration = timedelta(minutes=1)
    """Longest time that a committed record waits for its file to be closed. Longer makes fewer and bigger files."""
    landing_records: int = Field(default=100_000, ge=1, le=10_000_000)
    """Most records of a file."""
    landing_memory_mb: int = Field(default=128, ge=1, le=64 * 1024)
    """Values, in MB, that may wait in memory for their files; when they are more, the biggest file is closed."""
    landing_patience: Duration = timedelta(minutes=5)
    """How long brokers or a store that cannot be reached are waited for, before landing ends with exit code 3. 0s: for
    ever."""
    landing_port: int = Field(default=8002, ge=0, le=65535)
    """Port of `/health` and `/metrics` of the landing, on `host`; 0 takes a free one."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Return where settings come from, the strongest first."""
        return init_settings, env_settings, _OwnLines(settings_cls), file_secret_settings

    @field_validator("tracking_uri")
    @classmethod
    def _is_registry(cls, uri: str) -> str:
        if uri and not uri.startswith(REGISTRIES):
            raise ValueError("must begin with http://, https:// or sqlite:////")
        return uri

    @model_validator(mode="after")
    def _fit_together(self) -> "Settings":
        if self.id_key is not None and self.id_key_file is not None:
            raise ValueError("id_key: set FRAUD_ID_KEY or FRAUD_ID_KEY_FILE, not both")
        if self.kafka_password is not None and self.kafka_password_file is not None:
            raise ValueError("kafka_password: set FRAUD_KAFKA_PASSWORD or FRAUD_KAFKA_PASSWORD_FILE, not both")
        if (self.kafka_certificate_file is None) != (self.kafka_key_file is None):
            raise ValueError("kafka_key_file: a certificate and its key are set together, or neither")
        if self.kafka_security.endswith("plaintext") and (self.kafka_ca_file or self.kafka_certificate_file):
            raise ValueError("kafka_security: must be ssl or sasl_ssl where certificates are set")
        if len({self.stream_input, self.stream_output, self.stream_dead_letter}) < 3:
            raise ValueError("stream_output: input, output and dead letters must be three topics")
        if self.declined_budget > self.flagged_budget:
            raise ValueError("declined_budget: must not be above flagged_budget")
        if self.statistics_age < timedelta(hours=1) or self.statistics_age % timedelta(hours=1):
            raise ValueError("statistics_age: must be whole hours, at least 1h")
        if self.longest_report_delay % timedelta(hours=1):
            raise ValueError("longest_report_delay: must be whole hours")
        return self

    def id_hasher(self) -> IdHasher:
        """Return the hasher for the configured id key.

        Raises
        ------
        SettingsError
            If there is no key, its file cannot be read, or it has another length than 16 to 64 bytes.
        """
        rule = f"{MIN_KEY_BYTES} to {MAX_KEY_BYTES} bytes"
        if self.id_key is not None:
            name, key = "FRAUD_ID_KEY", os.fsencode(self.id_key.get_secret_value()).strip()
        elif self.id_key_file is not None:
            name, key = "FRAUD_ID_KEY_FILE", _read_secret("FRAUD_ID_KEY_FILE", self.id_key_file)
        else:
            raise SettingsError(f"FRAUD_ID_KEY_FILE or FRAUD_ID_KEY must be set: a secret of {rule}")
        if not MIN_KEY_BYTES <= len(key) <= MAX_KEY_BYTES:
            raise SettingsError(f"{name}: the key must have {rule}, it has {len(key)}")
        return IdHasher(key)

    def kafka_login(self) -> tuple[str, str] | None:
        """Return name and password for the brokers; None where there is no login.

        Raises
        ------
        SettingsError
            If a part of it is missing, or the password's file cannot be read.
        """
        if not self.kafka_security.startswith("sasl"):
            return None
        if not self.kafka_user:
            raise SettingsError("FRAUD_KAFKA_USER: must be set where FRAUD_KAFKA_SECURITY has a login (sasl)")
        if self.kafka_password is not None:
            return self.kafka_user, self.kafka_password.get_secret_value()
        if self.kafka_password_file is None:
            raise SettingsError("FRAUD_KAFKA_PASSWORD_FILE or FRAUD_KAFKA_PASSWORD must be set for FRAUD_KAFKA_USER")
        return self.kafka_user, os.fsdecode(_read_secret("FRAUD_KAFKA_PASSWORD_FILE", self.kafka_password_file))


def _read_secret(name: str, path: Path) -> bytes:
    try:
        return path.read_bytes().strip()
    except OSError as error:
        raise SettingsError(f"{name}: cannot be read ({error.strerror})") from error


def load_settings(**given: Any) -> Settings:
    """Read the settings; `given` ones stand above the environment, which stands above `.env`.

    Raises
    ------
    SettingsError
        If a `FRAUD_*` variable is unknown or a value breaks its rule. All mistakes are named at once, no value is.
    """
    named = sorted(name for name in os.environ if name.upper().startswith(PREFIX))
    mistakes = [_unknown(name) for name in named if not _is_known(name)]
    try:
        settings = Settings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        mistakes += [_mistake(details) for details in error.errors(include_url=False, include_input=False)]
        raise SettingsError("\n".join(mistakes)) from None
    if mistakes:
        raise SettingsError("\n".join(mistakes))
    return settings


def _is_known(variable: str) -> bool:
    return variable.upper().removeprefix(PREFIX).lower() in Settings.model_fields


def _unknown(variable: str) -> str:
    known = [PREFIX + name.upper() for name in Settings.model_fields]
    close = difflib.get_close_matches(variable, known, n=1)
    return f"{variable}: there is no such setting" + (f"; did you mean {close[0]}?" if close else "")


def _mistake(error: ErrorDetails) -> str:
    text = error["msg"].removeprefix("Value error, ")
    if not error["loc"]:
        name, _, rule = text.partition(": ")
        return f"{PREFIX}{name.upper()}: {rule}"
    field = str(error["loc"][0]).upper().removeprefix(PREFIX)
    if error["type"] == "extra_forbidden":
        return _unknown(PREFIX + field)
    return f"{PREFIX}{field}: {text[0].lower()}{text[1:]}"
