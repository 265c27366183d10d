"""Training of the two networks on simulated images. Needs torch: ``pip install smallvessel[train]``."""
