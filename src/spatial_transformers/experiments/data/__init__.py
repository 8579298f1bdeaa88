"""Data sets in their official formats, distorted on the fly."""
