"""What the commands do: ports in, dataclasses out; never prints, never reads the environment."""
