"""Settings of one installation: environment variables `LARDER_*`, else `.env` in the project root, else defaults."""

from __future__ import annotations

from functools import cache, cached_property
from pathlib import Path
from typing import Literal

from pydantic import SecretStr, computed_field
from pydantic_settings import BaseSettings, SettingsConfigDict


def project_root(start: Path | None = None) -> Path:
    """The nearest folder upwards of `start` (default: the working directory) that holds `dbt_project.yml`.

    Outside a checkout the folder of this package's checkout is taken, so `larder` works from anywhere.
    """
    here = (start or Path.cwd()).resolve()
    for folder in (here, *here.parents):
        if (folder / "dbt_project.yml").is_file():
            return folder
    return Path(__file__).resolve().parent.parent


class Settings(BaseSettings):
    """Where this installation keeps its things. Read once; pass it on instead of reading the environment again."""

    model_config = SettingsConfigDict(env_prefix="LARDER_", extra="ignore")

    home: Path = Path()
    """State of this installation: databases, blocks, secrets, logs. Default: `<project root>/.larder`."""

    postgres_bin: Path | None = None
    """Folder with `postgres`, `initdb`, `pg_ctl` of another install (15 or later) than the one in the lock file."""

    control_dsn: SecretStr | None = None
    """The control database elsewhere (`postgresql://…`). Default: an embedded instance, started by `larder up`."""

    block_store: str = ""
    """fsspec URL of the block store, such as `s3://bucket/prefix`. Default: `file://<home>/blocks`."""

    block_remote: str = ""
    """fsspec URL of an object store that every block is copied to, beside all else. Default: none."""

    slow_request: float = 5.0
    """Seconds that a reader's requests may take on average before it is told."""

    export_store: str = ""
    """Folder or fsspec URL that `larder export` and Dagster write marts to. Default: none, `--to` says it."""

    export_cron: str = "25 * * * *"
    """When Dagster looks which marts changed and brings their files there up to date; UTC."""

    run_as: str = "nobody"
    """The unprivileged user that embedded Postgres runs as when Larder itself runs as root."""

    clock: Literal["auto", "real"] = "auto"
    """Whose time cadences and "now" follow: `auto` is the sandbox's where this home has one, else the real time."""

    workers: int = 0
    """Shards built at once, each in a process of its own. Default: as many as there are cores."""

    shard_deadline: float = 480.0
    """Seconds a shard's build may take before it is ended; below the ten minutes between two cycles."""

    celery_broker: SecretStr = SecretStr("")
    """Broker of Celery workers on other machines (docs/scale.md), such as `amqp://…` or `redis://…`. Default: none."""

    pool_size: int = 8
    """Connections that a process keeps to one server at most, of each kind: primary and replica."""

    pool_wait: float = 10.0
    """Seconds to wait for one of them."""

    replica_lag: float = 10.0
    """Seconds that a replica may be behind and still be read; 0: replicas are not read."""

    backups: str = ""
    """fsspec URL of where backups go, such as `s3://bucket/backups`. Default: `file://<home>/backups`."""

    release_days: int = 0
    """Days after which local files of blocks with verified copies (`block_remote`) are given up; 0: never."""

    maintenance_minutes: float = 60.0
    """How long a shard's vacuums may take in a night; what is left is the next night's."""

    backup_jobs: int = 2
    """Tables that a backup or a restore has at work at once."""

    backup_days: int = 7
    """Days that keep their last backup."""

    backup_weeks: int = 5
    """Weeks that keep their last backup."""

    backup_months: int = 0
    """Months that keep their last backup."""

    mail_host: str = ""
    """SMTP server that failures are mailed by (docs/failures.md). Default: none, and no mail."""

    mail_port: int = 0
    """Its port. Default: 587 with starttls, 465 with ssl, 25 with none."""

    mail_security: Literal["starttls", "ssl", "none"] = "starttls"
    """How the line to it is encrypted. Certificates are checked against the system's, or those of SSL_CERT_FILE."""

    mail_user: str = ""
    """Who logs in there. Default: nobody."""

    mail_password: str = ""
    """Reference to the password, `env:NAME` or `file:PATH`."""

    mail_from: str = ""
    """Sender. Default: `larder@<mail_host>`."""

    mail_to: str = ""
    """Recipients, with commas between them."""

    webhook: str = ""
    """Reference to the URL of a webhook that takes JSON as Slack does, `env:NAME` or `file:PATH`. Default: none."""

    ui_url: str = ""
    """Where people open Dagster's UI, such as `https://dagster.example.org`, for links in mails."""

    def model_post_init(self, context: object) -> None:
        """Fill the defaults that depend on other settings."""
        self.home = (project_root() / ".larder" if self.home == Path() else self.home.expanduser()).absolute()
        self.block_store = self.block_store or f"file://{self.home / 'blocks'}"
        self.backups = self.backups or f"file://{self.home / 'backups'}"

    @computed_field  # type: ignore[prop-decorator]
    @cached_property
    def secrets_dir(self) -> Path:
        """Passwords of embedded instances; the folder is readable by its owner only."""
        return self.home / "secrets"

    @computed_field  # type: ignore[prop-decorator]
    @cached_property
    def logs_dir(self) -> Path:
        """Server logs."""
        return self.home / "logs"


@cache
def get_settings() -> Settings:
    """The settings of this process."""
    return Settings(_env_file=project_root() / ".env")  # type: ignore[call-arg]
