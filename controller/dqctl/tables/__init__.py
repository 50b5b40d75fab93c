"""The published tables: their SQL, their migrations, their loader."""
