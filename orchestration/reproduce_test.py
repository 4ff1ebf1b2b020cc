"""A reproduction as a regression test: the records that fail, masked, in a page beside a pytest file that replays them.

The page is a case in one JSON file. What is written was tried: the masked records still fail as the original ones did.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import psycopg2

from ingestion.blocks import BlockStore, HttpEvidence, Manifest
from ingestion.checks import checker
from ingestion.registry import spec_of
from orchestration.reproduce import Finding, Reproduction, findings_of, load_case, settle_shard
from orchestration.reproduce_case import Case, store_of, write_cut
from orchestration.reproduce_masking import Masker
from orchestration.results import Job
from orchestration.transform import target_of
from sharding.errors import LarderError
from sharding.model import Shard

if TYPE_CHECKING:
    from orchestration.dbt_worker import DbtProject

T = TypeVar("T")
Failure = tuple[str, str]
_NAMES = ("location", "employee", "item")

TEST = '''"""Written by `larder reproduce {block} --as-test`.

The records are masked. It fails until the fault is mended.
"""

from collections.abc import Callable
from pathlib import Path


def test_{name}(replay: Callable[..., list[str]]) -> None:
    # It failed so: {failure}
    assert replay(Path(__file__).parent / "pages" / "{name}.json"{models}) == []
'''


@dataclass(frozen=True)
class Written:
    """The files of a test, how many records it holds, and how many values in them were masked."""

    test: Path
    page: Path
    records: int
    masked: int


def failures(findings: Sequence[Finding]) -> set[Failure]:
    """What makes two failures the same: step and, of a model or test, its name; of a record the reason."""
    return {
        (
            f.step,
            f.what if f.step in ("model", "test") else f.message.partition(":")[0] if f.step == "quarantine" else "",
        )
        for f in findings
    }


def smallest(records: Sequence[T], fails: Callable[[Sequence[T]], bool]) -> list[T]:
    """Half of the records, and half of that, as long as one half alone still fails."""
    kept = list(records)
    while len(kept) > 1:
        middle = len(kept) // 2
        half = next((half for half in (kept[:middle], kept[middle:]) if fails(half)), None)
        if half is None:
            return kept
        kept = half
    return kept


def write_test(
    found: Reproduction,
    folder: Path,
    into: Path,
    models: Sequence[str],
    again: Callable[[Path, Sequence[str]], list[Finding]],
) -> Written:
    """Write the failing records of a reproduction as a test into `into`.

    Args:
        folder: the case.
        again: reproduces another case, in a folder, with some models; what was found there.

    Raises:
        LarderError: turn `you`: nothing failed; `us`: masked, the records fail no longer, or a person's data is left.
    """
    if not found.findings:
        raise LarderError("nothing failed: there is no test to write", "you", f"larder reproduce {found.case.block_id}")
    wanted = failures(found.findings)
    failing = list(dict.fromkeys(f.what for f in found.findings if f.step in ("model", "test")))
    build = list(models) or failing
    trial = into / ".trial"
    records = [raw.decode("utf-8", "surrogateescape") for raw in store_of(folder).read(found.manifest)]
    rejected = sorted({int(f.what) for f in found.findings if f.step == "quarantine"})

    def fails(some: Sequence[str]) -> bool:
        page = page_of(found.case, folder, found.manifest, some)
        return bool(wanted & failures(again(lay_out(page, trial / "case"), build)))

    few = [records[ordinal] for ordinal in rejected] if rejected and not failing else smallest(records, fails)
    page, masker = masked(page_of(found.case, folder, found.manifest, few))
    if not wanted & failures(again(lay_out(page, trial / "case"), build)):
        raise LarderError(
            "masked, these records no longer fail so: what fails is in what was masked",
            "us",
            f"larder reproduce {found.case.block_id} --keep",
        )
    _remove(trial)
    text = json.dumps(page, indent=1, ensure_ascii=True) + "\n"
    if left := {one for block in page["blocks"] for record in block["records"] for one in masker.left_in(record)}:
        raise LarderError(f"{len(left)} personal values are left", "us", f"larder reproduce {found.case.block_id}")
    name = f"{found.manifest.integration}_{found.manifest.stream}_{str(found.manifest.block_id)[-12:]}"
    pages = into / "pages"
    pages.mkdir(parents=True, exist_ok=True)
    (pages / f"{name}.json").write_text(text)
    step, what = sorted(wanted)[0]
    more = f", models={build!r}" if build else ""
    test = TEST.format(
        block=found.case.block_id, name=name, models=more.replace("'", '"'), failure=f"{step} {what}".strip()
    )
    (into / f"test_{name}.py").write_text(test)
    count = sum(len(block["records"]) for block in page["blocks"])
    return Written(into / f"test_{name}.py", pages / f"{name}.json", count, len(masker.masked))


def page_of(case: Case, folder: Path, manifest: Manifest, records: Sequence[str]) -> dict[str, Any]:
    """A case in one value: its block cut down to `records`, the related blocks whole."""
    store = store_of(folder)
    blocks = [
        {
            "manifest": other.model_dump(mode="json"),
            "records": [raw.decode("utf-8", "surrogateescape") for raw in store.read(other)],
        }
        for other in sorted(store.manifests(), key=lambda m: m.block_id)
        if other.block_id != manifest.block_id
    ]
    blocks.append({"manifest": manifest.model_dump(mode="json"), "records": list(records)})
    told = {"block_id": case.block_id, "business": case.business, "source": case.source, "keys": case.keys,
            "clock": case.clock}  # fmt: skip
    return {"case": told, "blocks": blocks}


def masked(page: dict[str, Any]) -> tuple[dict[str, Any], Masker]:
    """The page without people's data. Pseudonyms follow from the block's own bytes, which the page does not show."""
    case, manifests = page["case"], [Manifest.model_validate(block["manifest"]) for block in page["blocks"]]
    spec = spec_of(case["source"]["integration"], case["source"]["config"], "larder integration list")
    keep: set[str] = set()
    for block, manifest in zip(page["blocks"], manifests, strict=True):
        check = checker(spec.stream(manifest.stream))
        for record in block["records"]:
            key = check(record.encode("utf-8", "surrogateescape"), manifest.observed_at).natural_key
            keep |= {key} if key is not None else set()
        keep |= set(manifest.sites)
    masker = Masker(manifests[-1].sha256.encode(), frozenset(keep))
    blocks = []
    for block, manifest in zip(page["blocks"], manifests, strict=True):
        told = manifest.model_copy(
            update={"http": HttpEvidence(), "cursor_before": None, "cursor_after": {}, "sites": ()}
        )
        records = [masker.record(record) for record in block["records"]]
        blocks.append({"manifest": told.model_dump(mode="json"), "records": records})
    config = {name: value for name, value in case["source"]["config"].items() if name == "mapping"}
    told_case = {
        **case,
        "business": {**case["business"], "name": "business", "display_name": "Business"},
        "source": {**case["source"], "name": "source", "config": config},
        "keys": {name: [_masked_row(masker, name, row) for row in rows] for name, rows in case["keys"].items()},
    }
    return {"case": told_case, "blocks": blocks}, masker


def _masked_row(masker: Masker, table: str, row: dict[str, Any]) -> dict[str, Any]:
    told = dict(row)
    if table in _NAMES:
        told["name"] = masker.pseudonym(row["name"])
    if "natural_key" in row:
        told["natural_key"] = masker.key(row["natural_key"])
    if "decided_by" in row and row["decided_by"] not in ("rule", "vendor"):
        told["decided_by"] = "person"
    return told


def lay_out(page: dict[str, Any], folder: Path) -> Path:
    """A page as a case in `folder`, which is emptied before."""
    _remove(folder)
    folder.mkdir(parents=True)
    Case(**{**page["case"], "there": ()}).write(folder)
    store = store_of(folder)
    for block in page["blocks"]:
        write_cut(store, Manifest.model_validate(block["manifest"]), block["records"])
    return folder


def replay(page: Path, shard: Shard, folder: Path, project: DbtProject | None, models: Sequence[str]) -> list[str]:
    """Load the records of a page into an empty shard, build `models` with all that they read, and say what fails."""
    case = Case.read(lay_out(json.loads(page.read_text()), folder))
    with closing(psycopg2.connect(shard.dsn)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(
            shard.render(
                "insert into {keys}.route (business, name, display_name, first_weekday, reporting_currency) values"
                " (%(business)s, %(name)s, %(display_name)s, %(first_weekday)s, %(reporting_currency)s)"
            ),
            case.business,
        )
    settle_shard(shard, case)
    store: BlockStore = store_of(folder)
    block = next(m for m in store.manifests() if str(m.block_id) == case.block_id)
    _, findings = load_case(shard, store, block.block_id)
    if models and project is not None:
        with closing(psycopg2.connect(shard.dsn)) as connection, connection, connection.cursor() as cursor:
            cursor.execute(shard.render("insert into {keys}.clock (now) values (%s)"), (block.observed_at,))
        built = project.build(Job(target_of(shard), select=tuple(f"+{model}" for model in models)))
        findings += findings_of(built.nodes)
        if built.error:
            findings.append(Finding("model", ", ".join(models), built.error))
    return [f"{f.step} {f.what}: {f.message}" for f in findings]


def _remove(folder: Path) -> None:
    import shutil

    if folder.exists():
        shutil.rmtree(folder)
