"""The seam through which text is judged before it is shown. It never imports torch."""
