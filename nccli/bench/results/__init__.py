"""Rows into curves, tables, drawings and a page."""
