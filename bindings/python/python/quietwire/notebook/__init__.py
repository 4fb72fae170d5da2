"""Players and spectrograms of a recording before and after noise suppression, for notebooks and web pages.

    from quietwire import notebook
    notebook.compare(samples, rate_hz, level="medium")

shows two players and two spectrograms in Jupyter. Without a notebook, `compare(...).to_html()` returns the
same as HTML. `gallery`, and `python -m quietwire.notebook FOLDER -o gallery.html`, write one page for a
folder of recordings. Spectrograms need matplotlib: `pip install quietwire[notebook]`.
"""

from ._comparison import Comparison, compare, compare_file, player, spectrogram
from ._gallery import Gallery, gallery

__all__ = ["Comparison", "Gallery", "compare", "compare_file", "gallery", "player", "spectrogram"]
