"""Names of the files that a folder of recordings consists of."""

AUDIO_EXTENSIONS = frozenset(
    ".aac .aif .aifc .aiff .caf .flac .m4a .mka .mkv .mov .mp2 .mp3 .mp4 .oga .ogg .opus .rf64 .w64 .wav "
    ".weba .webm".split()
)
