"""smallvessel measures cerebral small vessel disease on brain MRI. Research use, no diagnosis."""

__version__ = "0.1.0"
