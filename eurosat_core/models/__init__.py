"""The networks that can be trained, and what they cost."""
