"""The core of EuroSAT Lab: everything but the pages. It knows nothing of Streamlit."""

__version__ = "0.1.0"
