"""A speech enhancement network trained with memory-lean optimizers."""
