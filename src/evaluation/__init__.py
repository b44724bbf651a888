"""Reports on what was learnt: checkpoints, figures, tables."""
