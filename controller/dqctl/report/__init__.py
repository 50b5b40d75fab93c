"""One result model, and every form it is shown in."""
