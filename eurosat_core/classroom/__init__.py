"""The room: who is in it, and who may lead it."""
