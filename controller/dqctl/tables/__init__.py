"""The published tables: their SQL, their migrations, and how rows get into them. It knows no connector."""
