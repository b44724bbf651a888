"""Networks and tables."""
