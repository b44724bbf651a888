"""Batches, buffers, transforms, action selectors and running statistics."""
