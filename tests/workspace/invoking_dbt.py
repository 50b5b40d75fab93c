"""dbt, kept running: its arguments as a line of JSON in, what came of them as a line that begins with ANSWER out.

Starting dbt anew for each invocation costs three seconds of processor time; ``dbtRunner`` is dbt's own way around
that. The file's name must not begin with ``dbt_``: dbt takes such a module for a plugin of its own and imports it.
"""

# ruff: noqa: T201 - its output is what it is for

import json
import sys

from dbt.cli.main import dbtRunner

runner = dbtRunner()
for line in sys.stdin:
    outcome = runner.invoke(json.loads(line))
    results = getattr(outcome.result, "results", None) or ()
    answer = {
        "success": outcome.success,
        "exception": str(outcome.exception or ""),
        "results": {
            result.node.name: [str(result.status), str(result.message)]
            for result in results
            if hasattr(result, "node")
        },
    }
    print("ANSWER " + json.dumps(answer), flush=True)
