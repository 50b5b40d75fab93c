"""Systems: what is to be checked, as a file declares it and as TestGen has it."""
