"""One suite for every integration that the sandbox serves; see checks.py for what each test is about."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest
import zstandard

from ingestion.generate import generated_files, stale
from ingestion.registry import BUILT_IN, FILE, discover, load_spec
from ingestion.sandbox.http import Answer
from ingestion.spec import Stream
from ingestion.times import floor_time, format_time, parse_time
from sharding.settings import project_root
from tests.conformance import page, scenario, vendors
from tests.conformance.checks import CHECKS
from tests.conformance.conftest import Suite
from tests.faults.record import Figure

every_vendor = pytest.mark.parametrize("vendor", vendors.names())


@pytest.fixture
def played(suite: Suite, vendor: str) -> scenario.Played:
    assert vendor in suite.played, f"{vendors.source_file(vendor)} is missing: with what can the sandbox be asked?"
    return suite.played[vendor]


@pytest.fixture(autouse=True)
def applies(request: pytest.FixtureRequest) -> None:
    """Checks that an integration has no use for are skipped, with the reason."""
    name = request.function.__name__.removeprefix("test_")
    vendor = getattr(request.node, "callspec", None) and request.node.callspec.params.get("vendor")
    for check in CHECKS:
        if vendor and check.name == name and (reason := check.without(discover((BUILT_IN,))[vendor])):
            pytest.skip(reason)


@every_vendor
def test_spec(vendor: str) -> None:
    spec = load_spec(BUILT_IN / vendor / FILE)
    files = generated_files({**discover((BUILT_IN,)), vendor: spec})
    assert [path for path in stale(project_root(), files) if vendor in path.parts] == []


@every_vendor
def test_credentials(played: scenario.Played) -> None:
    good = played.probes[""]
    assert not isinstance(good, Exception), good
    assert good.records > 0
    accepted = [name for name, found in played.probes.items() if name and not scenario.refuses(found)]
    assert accepted == [], played.probes


@every_vendor
def test_incremental(suite: Suite, vendor: str, played: scenario.Played) -> None:
    assert no_errors(played, "whole") and no_errors(played, "anew")
    assert differences(suite, vendor, "whole") == []


@pytest.mark.fault(15)
@every_vendor
def test_moving(suite: Suite, vendor: str, played: scenario.Played) -> None:
    assert no_errors(played, "moving")
    assert differences(suite, vendor, "moving") == []


@every_vendor
def test_again(played: scenario.Played) -> None:
    assert any(played.first.values())
    for stream, told in played.again.items():
        assert {key: value for key, value in told.items() if played.first[stream].get(key) != value} == {}, stream


@pytest.mark.fault(1)
@every_vendor
def test_killed(played: scenario.Played, figure: Figure) -> None:
    assert played.kills >= 3 and no_errors(played, "killed")
    assert played.killed == played.first
    figure("kills", played.kills)


@pytest.mark.fault(12)
@pytest.mark.fault(13)
@pytest.mark.fault(17)
@every_vendor
def test_bumpy(played: scenario.Played) -> None:
    assert no_errors(played, "bumpy")
    assert played.bumpy == played.first
    assert "throttled" in played.bumps and "500" in played.bumps
    assert all(wait >= 0.95 for wait in played.waited), played.waited
    refused: Answer = played.stage.server.vendor.throttled(1)
    assert bool(played.waited) == ("Retry-After" in refused.headers)


@every_vendor
def test_deletes(suite: Suite, vendor: str, played: scenario.Played) -> None:
    assert played.removed or played.marked
    for stream, key in played.removed.items():
        before = suite.rows(
            f"select operation from raw_{vendor}.{stream} where source_id = %s and natural_key = %s",
            played.sources["changed"].source_id,
            key,
        )
        assert before and key not in suite.raw(vendor, "changed")[stream], f"{stream} {key} is still there"
    for stream, key in played.marked.items():
        flag = played.stage.spec.stream(stream).deleted_flag
        ((flagged,),) = suite.rows(
            f"select coalesce(payload ->> %s, 'false') <> 'false' from raw_{vendor}.{stream}_current"
            " where source_id = %s and natural_key = %s",
            flag,
            played.sources["changed"].source_id,
            key,
        )
        assert flagged, f"{stream} {key} is not flagged"


@pytest.mark.fault(22)
@every_vendor
def test_exact(suite: Suite, vendor: str, played: scenario.Played) -> None:
    assert played.drifted
    for stream, (key, _, _) in played.drifted.items():
        found = suite.rows(
            f"select payload ->> 'larder_exact' from raw_{vendor}.{stream}_current"
            " where source_id = %s and natural_key = %s",
            played.sources["changed"].source_id,
            key,
        )
        assert found, f"{stream} {key} is not in raw"
        numbers = json.loads(found[0][0], parse_float=str, parse_int=str)
        wanted = scenario.EXACT["larder_exact"]
        # Postgres has no negative zero
        assert [n.replace("-0.00", "0.00") for n in wanted] == numbers
        assert [Decimal(n) for n in wanted] == [Decimal(n) for n in numbers]
    for of_stream in played.stage.spec.streams:
        spellings = {s.format for s in (of_stream.modified, of_stream.cursor) if s is not None}
        for spelling in spellings:
            for moment in scenario.edges():
                said: object = format_time(moment, spelling)
                assert parse_time(said, spelling) == floor_time(moment, spelling)


@pytest.mark.fault(19)
@every_vendor
def test_drift(suite: Suite, vendor: str, played: scenario.Played, figure: Figure) -> None:
    assert played.drifted
    noted = set(
        suite.rows(
            "select stream, field, change from control.drift where source_id = %s",
            played.sources["changed"].source_id,
            control=True,
        )
    )
    for stream, (key, missing, retyped) in played.drifted.items():
        assert key in suite.raw(vendor, "changed")[stream]
        figure("fields told of", len({field for of, field, _ in noted if of == stream}))
        if not played.first.get(stream):
            continue  # nothing is known that it could differ from
        assert {(stream, "larder_new", "new"), (stream, retyped, "retyped")} <= noted
        if missing is None:
            continue  # all of its fields but one are in its key
        others = [k for k in played.first.get(stream, {}) if k != key]
        assert (stream, missing, "missing") in noted or len(others) < 6 or rare(suite, vendor, stream, missing)
    assert suite.rows(
        "select count(*) from raw.quarantine where source_id = %s", played.sources["changed"].source_id
    ) == [(0,)]


@pytest.mark.fault(30)
@every_vendor
def test_secrets(suite: Suite, vendor: str, played: scenario.Played) -> None:
    secrets = [text.encode() for text in (*played.stage.secrets, *scenario.tokens(played.stage), scenario.WRONG)]
    assert secrets
    business = str(next(iter(played.sources.values())).business)
    for path in (suite.folder / "blocks" / business).rglob("*.*"):
        content = path.read_bytes()
        if path.suffix == ".zst":
            content = zstandard.ZstdDecompressor().stream_reader(content, read_across_frames=True).read()
        assert not [secret for secret in secrets if secret in content], path
    tables = suite.rows("select table_name from information_schema.tables where table_schema = 'control'", control=True)
    texts = [
        text for (table,) in tables for (text,) in suite.rows(f"select t::text from control.{table} as t", control=True)
    ]
    for text in (*texts, *played.errors, suite.log):
        assert not [secret for secret in secrets if secret.decode() in text], text


def test_everything_was_loaded(suite: Suite) -> None:
    assert suite.loaded.failures == []
    assert suite.rows("select stream, natural_key, reason, detail from raw.quarantine") == []


def test_the_docs_page_is_fresh() -> None:
    assert page.PATH.read_text() == page.text(), "python -m tests.conformance.page"


def no_errors(played: scenario.Played, part: str) -> bool:
    found = [result.error for result in played.results[part] if result.error]
    assert found == [], found
    return True


def differences(suite: Suite, vendor: str, part: str) -> list[str]:
    """Records of which a part's raw has another version than a full extract at its end."""
    mine, anew = suite.raw(vendor, part), suite.raw(vendor, "anew")
    found = []
    for stream in suite.played[vendor].stage.spec.streams:
        has, should = mine.get(stream.name, {}), anew.get(stream.name, {})
        # a change may be told by another stream, which has records of the same key (what is void, by a list of its own)
        others = [name for name in anew if name != stream.name]
        lost = [
            key
            for key, value in should.items()
            if has.get(key) != value
            and not (key in has and any(mine.get(o, {}).get(key, 0) == anew[o].get(key, 1) for o in others))
        ]
        # what the vendor does not tell to be gone stays (or until the next sweep), and so does what is older than the
        # other's first window
        gone = [key for key in has if key not in should] if stream.complete else []
        stays = [key for key in gone if stream.window_field is None or is_asked_for(suite, vendor, part, stream, key)]
        found += [f"{stream.name}: {key}: {lacks(suite, vendor, part, stream, key)}" for key in lost[:3]]
        found += [f"{stream.name}: {key} should be gone" for key in stays[:3]]
    return found


def lacks(suite: Suite, vendor: str, part: str, stream: Stream, key: str) -> str:
    """In what a record differs from that of the full extract."""
    sources = suite.played[vendor].sources
    has, should = (
        suite.rows(
            f"select payload from raw_{vendor}.{stream.name}_current where source_id = %s and natural_key = %s",
            sources[name].source_id,
            key,
        )
        for name in (part, "anew")
    )
    if not has:
        return "is lost"
    (mine,), (its,) = has[0], should[0]
    different = [name for name in {**mine, **its} if mine.get(name) != its.get(name)]
    return "is old: " + ", ".join(f"{name} {mine.get(name)} instead of {its.get(name)}" for name in different)


def is_asked_for(suite: Suite, vendor: str, part: str, stream: Stream, key: str) -> bool:
    """Whether a record is in the windows of the extract that has all of it."""
    sources = suite.played[vendor].sources
    ((said,),) = suite.rows(
        f"select payload #>> %s from raw_{vendor}.{stream.name}_current where source_id = %s and natural_key = %s",
        (stream.window_field or "").split("."),
        sources[part].source_id,
        key,
    )
    ((first,),) = suite.rows(
        "select min(manifest #>> '{window,start}') from control.blocks where source_id = %s and stream = %s",
        sources["anew"].source_id,
        stream.name,
        control=True,
    )
    assert stream.cursor is not None
    if first is None or said is None:
        return first is None
    return parse_time(said, stream.cursor.format) >= parse_time(first, stream.cursor.format)


def rare(suite: Suite, vendor: str, stream: str, field: str) -> bool:
    """Whether not every record of the stream has the field anyway."""
    ((without,),) = suite.rows(
        f"select count(*) from raw_{vendor}.{stream}_current where source_id = %s and not payload ? %s",
        suite.played[vendor].sources["anew"].source_id,
        field,
    )
    return bool(without)
