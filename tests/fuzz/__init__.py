"""Random updates: what is drawn (edits), where it happens (world), what has to hold (oracle)."""
