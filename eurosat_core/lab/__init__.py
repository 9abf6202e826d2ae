"""Turning a request into a run: the queue, the workers, and the store that keeps what they leave behind."""
