import subprocess
import sys


def test_choices_cost_the_command_line_nothing() -> None:
    code = (
        "import sys, dqctl.report.options\n"
        "ours = {name for name in sys.modules if name.startswith('dqctl')}\n"
        "assert ours == {'dqctl', 'dqctl.report', 'dqctl.report.options'}, ours\n"
        "assert 'pydantic' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
