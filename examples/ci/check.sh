#!/bin/sh
# What runs in the ephemeral stack. The folder seed is data that is known to be good: tests are made from it. Then comes
# what the pull request does to the data (here: statements; elsewhere a dbt build, a job, a notebook), and the tests run.
# With a baseline (DQCTL_BASELINE, which dqctl ci run passes on) only what is newly broken makes them fail.
set -eu
cd "$(dirname "$0")"
dqctl --quiet profile shop
dqctl --quiet generate shop
for file in changes/*.sql; do
    dqctl --quiet workspace sql --data-dir "$DQCTL_WORKSPACE" "$(cat "$file")"
done
dqctl --quiet run-tests --all
