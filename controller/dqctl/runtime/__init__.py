"""Where TestGen's processes run."""

from dqctl.runtime.local import LocalRuntime, find_runtime, open_runtime

__all__ = ["LocalRuntime", "find_runtime", "open_runtime"]
