"""Networks: agents and critics."""
