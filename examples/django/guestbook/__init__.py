"""A guest book: one model, its admin and a view of each kind."""
