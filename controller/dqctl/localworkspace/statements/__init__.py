"""What each kind of statement does: one module for each group of them, one function for each kind."""
