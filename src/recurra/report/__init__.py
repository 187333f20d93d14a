"""Reports: self-contained HTML pages of what a fitted task, a comparison or the doctor has found.

A presenter makes `Section`s of text, tables and charts from plain data; templates turn them into one page without
scripts that follows the reader's light or dark theme.
"""
