"""Where a credential could be left behind: everything that a cycle keeps and tells, good or failing, is searched."""

from __future__ import annotations

import base64
import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from urllib.parse import quote

import dagster as dg
import psycopg2
import pytest
import zstandard
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from tests.conftest import Server
from tests.faults.dagster_world import ROOT, environment, new_home
from tests.faults.record import Figure
from tests.faults.world import World, inside, open_world

TOKEN = "tok-7f3Q/+x9 öZ"
"""Not printable in one way only: in addresses, JSON and headers it is spelled otherwise."""


@pytest.fixture
def careful(fragile: Server) -> Iterator[World]:
    """A world of its own, whose cafe has a token that can be told from anything else."""
    with open_world(fragile) as world, inside(world.folder, world.catalogue.dsn):
        (world.folder / "cafe.token").write_text(TOKEN)
        world.shop.sales[TOKEN] = world.shop.sales["cafe"]
        yield world


def spelled(secret: str) -> set[bytes]:
    """All ways in which a text may be written down."""
    plain = {secret, quote(secret), quote(secret, safe=""), json.dumps(secret)[1:-1], repr(secret)[1:-1]}
    return {text.encode() for text in plain} | {base64.b64encode(secret.encode()).rstrip(b"=")}


def kept(folder: Path) -> Iterator[tuple[Path, bytes]]:
    """Every file below a folder, blocks unpacked."""
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            content = path.read_bytes()
            if path.suffix == ".zst":
                content = zstandard.ZstdDecompressor().stream_reader(content, read_across_frames=True).read()
            yield path, content


def rows_of(dsn: str) -> Iterator[tuple[str, bytes]]:
    """Every row of every table of a database, as text."""
    with closing(psycopg2.connect(dsn)) as conn, conn.cursor() as cur:
        cur.execute(
            "select format('%I.%I', n.nspname, c.relname) from pg_class as c join pg_namespace as n on n.oid ="
            " c.relnamespace where c.relkind in ('r', 'p') and n.nspname not in ('pg_catalog', 'information_schema')"
        )
        for (table,) in cur.fetchall():
            cur.execute(f"select t::text from {table} as t")
            for (text,) in cur.fetchall():
                yield table, text.encode()


@pytest.mark.faults
@pytest.mark.fault(30)
def test_no_secret_is_left_anywhere(
    careful: World, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str], figure: Figure
) -> None:
    """Cycles by Dagster that end well, refused, and with what the vendor answers wrongly; and a reproduction."""
    caplog.set_level(logging.DEBUG)
    home = new_home(careful, tmp_path / "dagster")
    shop, told = careful.shop, []
    for number, (status, body) in enumerate([(0, ""), (401, "who?"), (500, "oh"), (200, "{"), (400, "bad {token}")]):
        shop.now += timedelta(days=3)  # whoever was refused is asked again
        careful.trade(8000 + number)
        shop.broken = {TOKEN} if status == 401 else set()
        misbehave(careful, status, body)
        job = "extract" if number else "cycle"
        run = subprocess.run(
            [sys.executable, "-m", "dagster", "job", "execute", "-m", "shop_definitions", "-j", job],
            env=environment(careful, home) | MAILED, cwd=careful.project.project_dir,
            capture_output=True, check=False,
        )  # fmt: skip
        told += [run.stdout, run.stderr]
    with closing(psycopg2.connect(careful.catalogue.dsn)) as conn, conn.cursor() as cur:
        cur.execute("select count(*) from control.notice_outbox")
        [(letters,)] = cur.fetchall()
    assert letters > 0, "nobody was told"
    misbehave(careful, 0, "")
    told += reproduced(careful, tmp_path)
    passwords = {careful.server.password, *(shard.as_role(role).password for shard in shop.shards for role in ROLES)}
    secrets = {spelling for secret in (TOKEN, *passwords) for spelling in spelled(secret) if len(spelling) > 3}
    places = list(kept(home)) + [(p, c) for p, c in kept(careful.folder) if not is_kept_on_purpose(p)]
    places += list(kept(tmp_path / "reproduced"))
    rows = [row for dsn in (careful.catalogue.dsn, *(s.dsn for s in shop.shards)) for row in rows_of(dsn)]
    captured = capfd.readouterr()
    said = [*told, caplog.text.encode(), captured.out.encode(), captured.err.encode()]
    with dg.DagsterInstance.from_config(str(home)) as instance:
        assert len(instance.get_runs()) == 5
    found = [(str(place), secret) for place, content in (*places, *rows) for secret in secrets if secret in content]
    found += [("what was said", secret) for content in said for secret in secrets if secret in content]
    assert found == []
    shop.now += timedelta(days=3)
    assert careful.aside(careful.cycle) == 0, careful.said
    careful.check()
    figure("files searched", len(places))
    figure("rows searched", len(rows))
    figure("letters searched", letters)


MAILED = {"LARDER_MAIL_HOST": "127.0.0.1", "LARDER_MAIL_PORT": "9", "LARDER_MAIL_TO": "ops@example.org",
          "LARDER_MAIL_SECURITY": "none"}  # fmt: skip  # letters wait in the control database, which is searched
ROLES = ("larder_loader", "larder_transformer")


def is_kept_on_purpose(path: Path) -> bool:
    """Where secrets are kept."""
    return path.suffix == ".token" or path.parent.name == "secrets"


def misbehave(world: World, status: int, body: str) -> None:
    """Let the vendor answer this way; 0: as it should."""
    vendor: HTTPServer = world.vendor
    vendor.clear()

    def answer(request: Request) -> Response:
        if status in (0, 401):
            return world.shop.answer(request)
        return Response(body.replace("{token}", request.headers["Authorization"]), status)

    vendor.expect_request("/sales").respond_with_handler(answer)


def reproduced(world: World, folder: Path) -> list[bytes]:
    """What a case as a file holds, and what making it says."""
    (folder / "reproduced").mkdir()
    larder = [sys.executable, "-c", "from cli.main import main; main()"]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    listed = subprocess.run([*larder, "blocks", "list", "--json"], env=env, cwd=ROOT, capture_output=True, check=True)
    block = json.loads(listed.stdout)[0]["block"]
    case = folder / "reproduced" / "case.tar"
    done = subprocess.run(
        [*larder, "reproduce", block, "--save", str(case)], env=env, cwd=ROOT, capture_output=True, check=False
    )
    assert case.exists(), done.stderr.decode()
    return [listed.stdout, done.stdout, done.stderr]
