"""The promises about speed, each measured as a ratio within one run: `python -m eurosat_core bench`."""
