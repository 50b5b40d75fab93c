"""The command line: one file a noun; parses, calls a service, renders what it returns."""
