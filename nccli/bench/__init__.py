"""`ncc bench`: codecs side by side, with real files, 8-bit pictures and one set of metrics for all.

comparison -> cases -> engine (one process per codec) -> rows -> curves -> summary -> page, plots, tables
"""
