"""Charts of the pages: Vega-Lite specifications that are drawn in the reader's browser, offline."""
