"""The pages: each has `layout()` and `add_callbacks(app, sources)`. What they show is made by pure functions."""
