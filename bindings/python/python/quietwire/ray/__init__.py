"""Cleans folders of recordings on all cores of a machine or a cluster: `pip install quietwire[ray]`.

    python -m quietwire.ray INPUT OUTPUT

INPUT and OUTPUT are folders: local paths or addresses of any file system that fsspec supports, for
example `s3://bucket/folder`. `clean_folder` is the same as a function.
"""

from ._pipeline import Cleaner, Failure, Summary, clean_folder

__all__ = ["Cleaner", "Failure", "Summary", "clean_folder"]
