"""Distillation: a small VGG learns a larger network's features from a folder of pictures.

`python -m worker.engine.distill --help` is its door. It made the `compact` weights the package ships, and
makes others from any teacher whose layers carry VGG names.
"""
