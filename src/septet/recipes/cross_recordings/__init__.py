"""Worst-group heads on the embeddings of a multi-view audio network."""
