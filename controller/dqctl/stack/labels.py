"""Labels of what a container engine has of stacks: what belongs to whom, and how long."""

ROOT = "dqctl.root"  # directory of the stack
STACK = "dqctl.ci"  # name of a throw-away stack
EXPIRES = "dqctl.expires"  # ISO 8601: from then on nobody misses it
OWNER = "dqctl.owner"  # a process, without which nobody misses it
