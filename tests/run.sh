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
# `beside NAME COMMAND…` begins a step, `all_done` waits for those begun and prints what they said. Whatever ends this ends them.
names=() pids=() said=$(mktemp -d)
trap 'kill ${pids[@]+"${pids[@]}"} 2>/dev/null || true; rm -rf "$said"' EXIT
beside() {
    local name=$1
    shift
    "$@" >"$said/${#names[@]}" 2>&1 &
    names+=("$name") pids+=($!)
}
all_done() {
    local number failed=() began=$SECONDS
    for number in "${!names[@]}"; do
        wait "${pids[number]}" || failed+=("${names[number]}")
        printf '\n── %s\n' "${names[number]}"
        cat "$said/$number"
    done
    for number in ${failed[@]+"${failed[@]}"}; do printf '\nFAILED: %s\n' "$number" >&2; done
    [ ${#failed[@]} = 0 ] || exit 1
    printf '   %s beside each other: ok, %ss\n' "${#names[@]}" "$((SECONDS - began))"
    names=() pids=()
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
