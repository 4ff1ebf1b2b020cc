"""A throwaway installation: one Postgres with a control database and one empty shard, copied from a template.

Making and migrating both takes seconds; copying a stopped server's folder a fraction of one. The template is made once
for each version of the migrations and of Postgres. It is a home like any other: with LARDER_HOME set to it, every
command works there.
"""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from sharding import instances
from sharding.catalogue import Catalogue
from sharding.migrate import MIGRATIONS
from sharding.model import Shard, postgres_url
from sharding.postgres import account, binaries, runtime_dir
from sharding.provision import CONTROL_DATABASE, provision_control, provision_shard
from sharding.settings import Settings
from sharding.up import CONTROL

SHARD, DATABASE = "shard_1", "larder_shard_1"
# Nothing here is to outlive a crash.
UNSAFE_BUT_QUICK = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "shared_buffers": "64MB"}


@dataclass(frozen=True)
class Throwaway:
    """A running installation that `discard` removes."""

    settings: Settings
    catalogue: Catalogue
    shard: Shard

    @property
    def home(self) -> Path:
        """Its LARDER_HOME."""
        return self.settings.home


def open_throwaway(settings: Settings) -> Throwaway:
    """A running, empty installation. The template is made where this machine has none yet."""
    template = _template(settings)
    home = Path(tempfile.mkdtemp(prefix="larder-reproduce-", dir="/var/tmp"))
    home.chmod(0o755)  # Postgres may run as another user
    mine = _settings(home, template)
    try:
        instances.clone(CONTROL, template, mine)
        at = instances.start(CONTROL, mine, UNSAFE_BUT_QUICK)
        catalogue = Catalogue(instances.instance_dsn(at, CONTROL_DATABASE, home), home)
        catalogue.add_instance(at)
        return Throwaway(mine, catalogue, catalogue.add_shard(SHARD, CONTROL, DATABASE))
    except BaseException:
        _remove(mine)
        raise


def discard(throwaway: Throwaway) -> None:
    """Stop it and delete everything of it."""
    _remove(throwaway.settings)


def _remove(settings: Settings) -> None:
    instances.remove(CONTROL, settings)
    shutil.rmtree(settings.home)


def _template(settings: Settings) -> Settings:
    """The stopped installation that throwaways are copied from."""
    programs, who = binaries(settings), account(settings)
    settings.home.mkdir(parents=True, exist_ok=True)
    top = (settings.home if who.reaches(settings.home) else runtime_dir(settings)) / "reproduce"
    top.mkdir(mode=0o755, exist_ok=True)
    home = top / f"template-{_fingerprint(programs.major)}"
    made = home / "made"
    template = Settings(home=home, postgres_bin=programs.bin, control_dsn=None, run_as=settings.run_as, block_store="")
    with (top / "template.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            if home.exists():  # a kill half-way
                instances.remove(CONTROL, template)
                shutil.rmtree(home)
            home.mkdir(mode=0o755)
            at = instances.start(CONTROL, template, UNSAFE_BUT_QUICK)
            provision_control(at, template)
            password = instances.secret_path(CONTROL, template).read_text()
            provision_shard(Shard(SHARD, CONTROL, DATABASE, "", at.host, at.port, at.username, password))
            instances.stop(CONTROL, template)
            made.touch()
    return template


def _settings(home: Path, template: Settings) -> Settings:
    return Settings(
        home=home, postgres_bin=template.postgres_bin, control_dsn=None, run_as=template.run_as,
        block_store=f"file://{home / 'blocks'}",
    )  # fmt: skip


def _fingerprint(major: int) -> str:
    digest = hashlib.sha256(str(major).encode())
    for path in sorted(MIGRATIONS.rglob("*.sql")):
        digest.update(f"\0{path.relative_to(MIGRATIONS)}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def psql_command(throwaway: Throwaway) -> list[str]:
    """psql on the throwaway shard. The password, which opens nothing else, is in it."""
    shard = throwaway.shard
    dsn = postgres_url(shard.username, shard.password, shard.host, shard.port, shard.database)
    program = binaries(throwaway.settings).tool("psql")
    return [str(program) if program.exists() else "psql", dsn]
