"""The room: who is in it."""
