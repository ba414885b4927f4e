"""The engine of the unlearning studio: image sets, classifiers, methods, evaluation, runs.

Usable from a page, a terminal, a test or a notebook. It never imports streamlit or plotly.
"""

__version__ = "0.1.0"
