"""The profiler: recording a few steps, and reading any trace rightly."""
