"""What is one cause, and of which class: from a cycle's events alone."""

from __future__ import annotations

import pytest

from ingestion.errors import (
    ConfigError,
    CredentialsError,
    DataError,
    LarderError,
    OutageError,
    ShapeError,
    ThrottledError,
)
from orchestration.events import Extracted, Failure, Loaded
from orchestration.notices.causes import Cause, Heard
from orchestration.notices.classes import class_of
from orchestration.notices.sensor import shards_of
from orchestration.notices.telling import cause_of_run
from orchestration.results import BuildResult, NodeResult
from orchestration.transform import NOTHING_NEW, ShardBuild

TITLES = {"acme": "Acme", "bolt": "Bolt"}
BLOCK = "01a1fdf5-1aba-7a4d-8d25-51c6f5cf2b70"


def extracted(number: int, error: LarderError, stream: str = "sales", integration: str = "acme") -> Extracted:
    name = f"cafe_{number}"
    return Extracted(
        f"shard_{number % 7}", name, f"{name}/till", integration, stream, "failed", failure=Failure.of(error)
    )


def causes(*events: object) -> list[Cause]:
    heard = Heard()
    for event in events:
        heard.hear(event)  # type: ignore[arg-type]
    return heard.causes(TITLES)


def fingerprints(*events: object) -> set[str]:
    return {cause.fingerprint for cause in causes(*events)}


def node(name: str, status: str, message: str | None = None, kind: str = "model") -> NodeResult:
    return NodeResult(f"{kind}.larder.{name}" + (".ab12cd34" if kind == "test" else ""), kind, status, 0.1,
                      message=message)  # fmt: skip


def built(shard: str, *nodes: NodeResult) -> ShardBuild:
    failed = [n for n in nodes if n.status in ("error", "fail")]
    reason = f"{failed[0].name}: {failed[0].message}" if failed else "new in raw"
    return ShardBuild(shard, "failed" if failed else "built", reason, BuildResult(shard, nodes))


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (OutageError("http://x failed (HTTP 500)", next_command="c"), "vendor down"),
        (ThrottledError("Acme throttles cafe/till", next_command="c"), "capacity"),
        (ShapeError("http://x answered with something that cannot be read: …", next_command="c"), "changed shape"),
        (CredentialsError("refused", next_command="c"), "credentials"),
        (ConfigError("the setting since is missing", next_command="c"), "settings"),
        (DataError(f"block {BLOCK} cannot be published: …", next_command="c"), "our bug"),
        (DataError(f"the bytes of block {BLOCK} are not its manifest's", next_command="c"), "data"),
        (LarderError("a disk of the shard is full: could not extend", turn="us", next_command="c"), "capacity"),
        (LarderError("all 64 landing slots of the shard are taken", turn="us", next_command="c"), "capacity"),
        (LarderError("the shard cannot be reached: no", turn="us", next_command="c"), "database down"),
        (LarderError("it is odd", turn="us", next_command="c"), "our bug"),
    ],
)
def test_an_error_is_of_a_class(error: LarderError, kind: str) -> None:
    assert class_of(error) == kind


def test_a_vendor_that_is_down_is_one_cause_whoever_asks_and_however_it_fails() -> None:
    said = ["http://a/1 failed (HTTP 500)", "Acme at http://a cannot be reached: refused", "it did not come to an end"]
    events = [extracted(n, OutageError(said[n % 3], next_command="c"), f"stream_{n % 4}") for n in range(500)]
    assert len(fingerprints(*events)) == 1
    other = extracted(1, OutageError(said[0], next_command="c"), integration="bolt")
    assert len(fingerprints(*events, other)) == 2


def test_the_same_refusal_is_one_fingerprint_and_another_refusal_is_not() -> None:
    def refused(number: int, status: int) -> Extracted:
        said = f"Acme refuses the credentials of cafe_{number}/till (HTTP {status}): token {number} of Maria"
        return extracted(number, CredentialsError(said, next_command=f"larder source check cafe_{number}/till"))

    assert len(fingerprints(refused(1, 401), refused(2, 401), refused(1, 403))) == 1
    gone = extracted(1, CredentialsError("environment variable TILL is not set", next_command="export TILL=…"))
    assert len(fingerprints(refused(1, 401), gone)) == 2


def test_a_block_that_fails_is_reproduced_and_a_dead_shard_is_one_cause() -> None:
    def load(number: int, error: LarderError, *blocks: str) -> Loaded:
        return Loaded(
            "shard_1", f"cafe_{number}", f"cafe_{number}/till", "acme", "sales", blocks, failure=Failure.of(error)
        )

    [one] = causes(load(1, DataError(f"block {BLOCK} cannot be published: null value", next_command="c"), BLOCK))
    assert (one.step, one.kind, one.command) == ("load", "our bug", f"larder reproduce {BLOCK} --load-only")
    down = LarderError('connection to server at "127.0.0.1", port 5432 failed: refused', turn="us", next_command="c")
    dead = ShardBuild("shard_1", "failed", 'connection to server at "127.0.0.1", port 5432 failed: refused')
    found = causes(load(1, down), load(2, down), load(3, down), dead, ShardBuild("shard_2", "failed", dead.reason))
    assert len({cause.fingerprint for cause in found}) == 1
    assert {(cause.who, cause.kind, cause.step) for cause in found} == {
        ("shard_1", "database down", "shard"),
        ("shard_2", "database down", "shard"),
    }


def test_a_model_is_one_cause_on_all_shards_and_is_reproduced_with_the_block_that_came() -> None:
    said = 'Database Error in model fct_sale invalid input syntax for type numeric: "Maria {}"'
    loaded = Loaded("shard_1", "cafe", "cafe/till", "acme", "sales", ("older", BLOCK))
    found = causes(loaded, *(built(f"shard_{n}", node("fct_sale", "error", said.format(n))) for n in (1, 2)))
    assert len({cause.fingerprint for cause in found}) == 1
    assert [cause.command for cause in found] == [
        f"larder reproduce {BLOCK} --model fct_sale",
        "larder build --shard shard_2 --select fct_sale",
    ]
    assert all(cause.kind == "our bug" and "Maria" not in cause.text for cause in found)


def test_a_data_test_is_the_datas_fault_whatever_the_number_of_rows() -> None:
    def failing(rows: int) -> ShardBuild:
        said = f"Got {rows} results, configured to fail if != 0"
        return built("shard_1", node("not_null_fct_sale_total", "fail", said, "test"))

    [one] = causes(failing(3))
    assert (one.step, one.kind, one.subject) == ("test", "data", "not_null_fct_sale_total")
    assert len(fingerprints(failing(3), failing(4))) == 1


def test_a_test_that_could_not_run_for_its_models_sake_is_no_cause_of_its_own() -> None:
    gone = node("not_null_fct_sale_total", "error", 'relation "marts.fct_sale" does not exist', "test")
    wrong = node("unique_dim_site", "fail", "Got 1 result, configured to fail if != 0", "test")
    forecast = node("forecast", "error", 'relation "marts.sum_sales_day" does not exist', "python")
    found = causes(built("shard_1", node("fct_sale", "error", "odd"), gone, wrong, forecast))
    assert [cause.subject for cause in found] == ["fct_sale", "unique_dim_site"]
    assert [cause.subject for cause in causes(built("shard_1", gone))] == ["not_null_fct_sale_total"]


def test_what_a_later_pass_of_the_cycle_mended_is_not_told() -> None:
    heard = Heard()
    heard.hear(built("shard_1", node("fct_sale", "error", "odd")))
    heard.hear(built("shard_1", node("fct_sale", "success")))
    heard.hear(ShardBuild("shard_2", "failed", "the transform worker died (exit code -9)"))
    heard.hear(built("shard_2", node("fct_sale", "success")))
    assert heard.causes(TITLES) == []
    assert heard.well({}).shards == {"shard_1", "shard_2"} and ("shard_1", "fct_sale") in heard.well({}).nodes


def test_of_a_worker_that_died_the_next_command_is_what_it_was_at() -> None:
    died = ShardBuild("shard_2", "failed", "the worker died (exit code -9; killed from outside)")
    heard = Heard()
    heard.hear(died)
    [alone] = heard.causes(TITLES)
    assert (alone.kind, alone.who, alone.command) == ("capacity", "shard_2", "larder cycle --shard shard_2")
    heard.hear(Loaded("shard_2", "cafe", "cafe/till", "acme", "sales", ("b1", "b2"), records=2))
    [after] = heard.causes(TITLES)
    assert after.command == "larder reproduce b2" and after.fingerprint == alone.fingerprint
    refused = Heard()
    refused.hear(ShardBuild("shard_2", "failed", 'connection to server at "h" failed'))
    assert [cause.command for cause in refused.causes(TITLES)] == ["larder status"]


def test_a_run_that_died_names_the_shards_that_it_was_begun_for_and_what_does_the_same() -> None:
    gone = "its process is gone; the next upkeep goes on where it was"
    one = cause_of_run("upkeep", gone, shards_of({"larder/shard": "shard_7", "larder/because": "three at night"}))
    assert one.kind == "capacity" and one.text == f"{gone}; it was begun for shard_7"
    assert one.command == "larder maintain shard_7"
    many = cause_of_run("cycle", "killed", shards_of({f"larder/shard_{n}": "due" for n in range(8)}))
    assert many.text.endswith("it was begun for shard_0, shard_1, shard_2, shard_3, shard_4 and 3 more")
    assert many.command == "larder cycle"
    assert cause_of_run("verify", "killed").command == "larder verify"


def test_a_skipped_shard_says_that_it_is_well_only_where_it_was_looked_at() -> None:
    heard = Heard()
    heard.hear(ShardBuild("shard_1", "skipped", NOTHING_NEW))
    heard.hear(ShardBuild("shard_2", "skipped", "another build runs here"))
    heard.hear(ShardBuild("shard_3", "skipped", "its turn did not come in 480 s"))
    assert heard.well({}).shards == {"shard_1"}
