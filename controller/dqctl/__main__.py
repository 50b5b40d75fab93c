"""``dqctl`` and ``python -m dqctl``."""

from dqctl.cli.app import main

if __name__ == "__main__":
    main()
