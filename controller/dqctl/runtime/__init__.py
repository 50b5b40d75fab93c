"""Where TestGen's processes run."""
