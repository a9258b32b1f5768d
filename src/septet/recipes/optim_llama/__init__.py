"""Lean optimizers against Adam on a small LLaMA."""
