#!/usr/bin/env bash
# What `make test` runs, each step with its time. `lint` stops after the static checks.
set -euo pipefail
: "${BIN:=.venv/bin}"
step() {
    local name=$1 began=$SECONDS
    shift
    printf '\n── %s\n' "$name"
    "$@" || { printf '\nFAILED: %s\n' "$name" >&2; exit 1; }
    printf '   %s: ok, %ss\n' "$name" "$((SECONDS - began))"
}
# Steps beside each other: each with its time, and with what it says when it is done. `beside NAME COMMAND…`, then `all_done`.
names=() pids=() said=$(mktemp -d)
trap 'rm -rf "$said"' EXIT
beside() {
    step "$@" >"$said/${#names[@]}" 2>&1 &
    names+=("$1") pids+=($!)
}
all_done() {
    local number ended=0
    for number in "${!names[@]}"; do
        wait "${pids[number]}" || ended=1
        cat "$said/$number"
    done
    names=() pids=()
    [ "$ended" = 0 ] || exit 1
}
export DO_NOT_TRACK=1 DBT_SEND_ANONYMOUS_USAGE_STATS=false DAGSTER_DISABLE_TELEMETRY=yes
step "ruff" "$BIN/ruff" check .
step "ruff format" "$BIN/ruff" format --check .
beside "sqlfluff" "$BIN/sqlfluff" lint dbt_project --processes 2
beside "mypy" "$BIN/mypy"
beside "dagster definitions" "$BIN/dagster" definitions validate -m orchestration.definitions
all_done
step "generated files are fresh" "$BIN/larder" integration sync --check
step "docs/conformance.md is fresh" "$BIN/python" -m tests.conformance.page --check
step "docs/faults.md has every row" "$BIN/python" -m tests.faults.page --check
[ "${1:-}" = lint ] && exit 0
# Two processes, each with its own Postgres; a file stays in one, and tests/conftest.py says what comes first. The examples
# of properties are the same in every run, so that a change is not held up by what it did not do; `make rounds` seeks new ones.
step "pytest (dbt build on a fresh shard included)" "$BIN/pytest" --hypothesis-profile ci -n 2 --dist loadfile --no-loadscope-reorder --durations 25 "${@}"
