"""The keys that a stack's TestGen encrypts with."""

from dqctl.stack.paths import StackPaths
from dqctl.stack.secrets import read_secret
from dqctl.testgen.state.sealing import Keys


def keys_of(paths: StackPaths) -> Keys:
    """The stack's decrypt keys; ``EnvironmentFault`` when they are lost."""
    return Keys(read_secret(paths, "decrypt_salt"), read_secret(paths, "decrypt_password"))
