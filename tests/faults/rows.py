"""The faults of the suite: what is done to Larder, and what must hold then. docs/faults.md is made of this.

A test says with `@pytest.mark.fault(12)` which row it belongs to, wherever in the tree it stands.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """One fault. `injection`: how it is made; `expected`: the state it must lead to, which its tests assert."""

    number: int
    fault: str
    injection: str
    expected: str


ALWAYS = (
    "The column *to the cent* counts the tests that, after a cycle that nobody disturbs, hold the vendor's books, the "
    "blocks, raw, facts and summaries beside each other and find them equal to the cent: nothing is lost, nothing is "
    "there twice. The tests count that themselves. A row's other tests look at one step of the way on its own (an "
    "extract, a load, a migration, a copy of a block) and compare what that step reads with what it writes."
)

ROWS = (
    Row(
        1,
        "`kill -9` at each step of extract, keep, load, publish, transform",
        "A process does one cycle and kills itself before its n-th step. Each request, file sync, rename, SQL "
        "statement and commit is a step; n goes through them.",
        "The next cycle ends where an undisturbed one would have.",
    ),
    Row(
        2,
        "a worker out of memory",
        "The worker's address space is limited to what it has, or the worker is killed as the kernel does it.",
        "Its shard fails with the reason, the others are built, the next cycle does what is left.",
    ),
    Row(
        3,
        "the daemon restarts",
        "A real `dagster-daemon` is killed as soon as a tick has its run, and started again: at once, and when later "
        "ticks fell due meanwhile.",
        "No tick has two runs. The latest that fell due is done at the start and does the work of those before it; a "
        "run that nobody began is called cancelled.",
    ),
    Row(4, "a cancelled run", "A run is ended while its workers are at their shards.",
        "Workers end, leases and slots are free at once, the next cycle does what is left."),
    Row(5, "Postgres restarts", "The shard's server crashes and comes back between two statements of a load, and of a "
        "build.", "The shard fails with the reason; the next cycle does what is left."),
    Row(6, "a shard is down", "A shard's server refuses, or takes connections and never answers.",
        "The other shards are built meanwhile; its blocks wait and are loaded when it is back."),
    Row(7, "a disk is full", "Small file systems under the block store and under a table of the shard.",
        "The error names the disk; no half block, no half publish; with room again the next cycle does what is left."),
    Row(8, "connections are exhausted", "The server takes as many connections as others hold.",
        "The shard fails with the reason; with connections again the next cycle does what is left."),
    Row(9, "deadlock", "Another session and a publish each hold what the other wants; Postgres ends the publish.",
        "The publish is tried again, and nobody is told of a bad block."),
    Row(10, "two loads of one source at once", "The same blocks by several loads side by side; two extracts of one "
        "stream.", "Each block is in the ledger once; the second extract finds the stream busy."),
    Row(11, "a reimport during a load", "Days are read again while cycles extract, load and build the same days.",
        "The result of either order."),
    Row(12, "429 with and without `Retry-After`", "The vendor refuses for a while, or without end.",
        "It is asked again no sooner than it said; without end, the stream fails as the vendor's turn."),
    Row(13, "500s, resets, slow-loris, timeouts", "The vendor answers 500, cuts the line, drips a byte at a time, says "
        "nothing.", "Asked again while patience lasts; then the vendor's turn, no block, no cursor."),
    Row(14, "endless paging", "Each page names a next one: the same, or ever new ones.",
        "The stream fails as the vendor's turn; no block, no cursor."),
    Row(15, "a page shift while paging", "Records change or vanish between two pages.",
        "What stayed is read; what changed is read as it is at the end."),
    Row(16, "a token that expires in mid-pull", "The vendor refuses the token between two pages.",
        "A new token is fetched and the window goes on; a refused login is the credentials' turn."),
    Row(17, "truncated gzip or JSON", "Answers cut short on the line, in gzip, in JSON.",
        "Asked again; then the vendor's turn, no block, no cursor."),
    Row(18, "a wrong currency or type", "Records with no ISO currency, texts for amounts, a day that is none.",
        "The record is set aside, or its model fails alone; its neighbours load; after a fix it counts."),
    Row(19, "new, missing, renamed fields", "The vendor changes its records' shape.",
        "The record is in raw; `larder integration drift` tells the field."),
    Row(20, "the same order id at two vendors", "Two sources tell a record of the same key.",
        "Two orders, each with its own id and amount."),
    Row(21, "a refund after 40 days", "An order is refunded long after its sale.",
        "It counts on its own day; the day of the sale keeps its sales."),
    Row(22, "clock changes and midnight", "Sales and shifts in the hour that is twice, in the one that is not there, "
        "around midnight and the day start.", "Each counts once, on the business date of its site."),
    Row(23, "future and 1970 timestamps", "Records modified in a hundred years, tomorrow, in 1970.",
        "What lies more than a day ahead is set aside; 1970 loads and gives way to any later version."),
    Row(24, "a corrupt byte in a block", "A byte of a stored block is flipped; a file is cut, gone, or another's.",
        "Found and named; the block is not loaded, its neighbours are."),
    Row(25, "a 2 GB block and a zip bomb", "A block of 2 GB is written and loaded; a block's file unpacks to far more "
        "than its manifest says.", "Memory stays bounded; the bomb is refused."),
    Row(26, "SQL and Unicode in names and payloads", "Generated names and records: quotes, comments, control and "
        "combining characters, emoji, half surrogates.", "Stored and read back as they were, or set aside; nothing is "
        "executed."),
    Row(27, "the clock jumps back", "The clock goes back between two extracts.",
        "No record is lost or twice; what is due comes when its time comes."),
    Row(28, "the block store is away or slow", "The object store raises or waits; the local folder cannot be written.",
        "Object store: nothing waits for it, copies follow. Local folder: the stream fails, no cursor moves."),
    Row(29, "an upgrade with migrations half-applied", "A migration is killed half-way; shards at different versions.",
        "Each shard is at one version or the other; the one that is behind is refused alone."),
    Row(30, "secrets", "All credentials and tokens are searched for in what is kept and told.",
        "None in logs, blocks, manifests, the control database, reproductions, mails, or Dagster's storage."),
)  # fmt: skip
