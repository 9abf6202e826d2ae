"""The pages of the lesson: thin scripts, one per stop. `main.py` is the shell around them."""
