"""A page to play with, `stn page`: what a run straightens, and what transformations and kernels do.

All but `layout` and `serve` are functions from images and numbers to pictures and words; those two
need gradio.
"""
