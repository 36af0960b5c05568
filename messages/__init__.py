"""The words, engine: catalogue, rendering, checks of copy, previews."""
