"""The container of an audio file by its first bytes, whatever its name is.

Only containers in ``DECODED`` reach the decoder, libsndfile, which knows more than twenty; no recorder writes the
others any more. Some that are not decoded are recognised too: the message names them, and such a file on standard input
is not taken for raw samples.
"""

from __future__ import annotations

HEAD_BYTES = 4096  # two frames of MPEG audio, each at most 1,729 bytes, and the header after them
DECODED = ("WAV", "FLAC", "OGG", "MP3", "AIFF", "AU", "CAF", "W64", "RF64")
AUDIO_SUFFIXES = frozenset(
    (".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".aifc", ".au", ".snd", ".caf", ".w64", ".rf64")
)

# Name, offset of the magic, magic; the first match counts.
_MAGICS = (
    ("W64", 0, b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb"),
    ("CAF", 0, b"caff\x00\x01"),
    ("AU", 0, b".snd"),
    ("AU", 0, b"dns."),
    ("FLAC", 0, b"fLaC"),
    ("OGG", 0, b"OggS\x00"),
    ("MPEG-4", 4, b"ftyp"),
    ("Matroska or WebM", 0, b"\x1a\x45\xdf\xa3"),
    ("Windows Media", 0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11"),
    ("AMR", 0, b"#!AMR"),
    ("WavPack", 0, b"wvpk"),
    ("Monkey's Audio", 0, b"MAC "),
    ("Musepack", 0, b"MPCK"),
    ("Musepack", 0, b"MP+"),
    ("DSD", 0, b"DSD "),
    ("DSD", 0, b"FRM8"),
    ("TTA", 0, b"TTA1"),
    ("BW64", 0, b"BW64"),
    ("VOC", 0, b"Creative Voice File"),
    ("NIST SPHERE", 0, b"NIST_1A\n"),
    ("IRCAM", 0, b"\x64\xa3\x03\x00"),
    ("PVF", 0, b"PVF1\n"),
    ("PARIS", 0, b" paf"),
    ("AVR", 0, b"2BIT"),
    ("MATLAB", 0, b"MATLAB 5.0"),
    ("FastTracker", 0, b"Extended Instrument"),
    ("Psion", 0, b"ALawSoundFile**"),
    ("MIDI", 0, b"MThd"),
    ("gzip", 0, b"\x1f\x8b\x08"),
    ("bzip2", 0, b"BZh9"),
    ("xz", 0, b"\xfd7zXZ\x00"),
    ("Zstandard", 0, b"\x28\xb5\x2f\xfd"),
    ("ZIP", 0, b"PK\x03\x04"),
    ("PDF", 0, b"%PDF-"),
    ("HTML", 0, b"<!DOCTYPE"),
    ("HTML", 0, b"<!doctype"),
    ("HTML", 0, b"<html"),
)
_FORMS = {  # magic of the outer chunk, and the names of its forms at byte 8
    b"RIFF": {b"WAVE": "WAV", b"AVI ": "AVI"},
    b"RIFX": {b"WAVE": "WAV"},
    b"RF64": {b"WAVE": "RF64"},
    b"FORM": {b"AIFF": "AIFF", b"AIFC": "AIFF", b"8SVX": "SVX", b"16SV": "SVX"},
}
_KBITS = {  # of MPEG audio, by version (1, or 2 for 2 and 2.5) and layer, for the bit rate indices 1 to 14
    (1, 1): tuple(range(32, 449, 32)),
    (1, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (1, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (2, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (2, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (2, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_MPEG_RATES_HZ = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}


def container(head: bytes) -> str | None:
    """Name of the container that begins with ``head``, at most ``HEAD_BYTES`` bytes; None if there is none.

    A name in ``DECODED`` is decoded. MPEG audio without a tag counts only if a second frame follows the first, since
    raw samples may look like one header.
    """
    forms = _FORMS.get(head[:4])
    if forms is not None:
        return forms.get(head[8:12], head[:4].decode())
    for name, at, magic in _MAGICS:
        if head[at : at + len(magic)] == magic:
            return name
    if head[:3] == b"ID3" and len(head) >= 10 and head[3] <= 4 and max(head[6:10]) < 0x80:
        return "MP3"
    if _repeats(head, _mpeg_frame_bytes(head), same=2):
        return "MP3"
    if _repeats(head, _adts_frame_bytes(head), same=3):
        return "AAC"
    return None


def _repeats(head: bytes, frame_bytes: int, same: int) -> bool:
    """Whether another frame follows the first; ``same``: bytes of both headers that must be equal."""
    second = head[frame_bytes : frame_bytes + 3]
    equal = len(second) == 3 and second[:2] == head[:2] and (same < 3 or second[2] & 0xFC == head[2] & 0xFC)
    return frame_bytes > 0 and equal


def _mpeg_frame_bytes(head: bytes) -> int:
    """Length of the frame of MPEG audio, layer 1 to 3, that begins the head; 0 if none does."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return 0
    version, layer = head[1] >> 3 & 3, 4 - (head[1] >> 1 & 3)
    bit_rate, rate, padding = head[2] >> 4, head[2] >> 2 & 3, head[2] >> 1 & 1
    if version == 1 or layer == 4 or bit_rate in (0, 15) or rate == 3:
        return 0
    first = 1 if version == 3 else 2
    bits_s, rate_hz = 1000 * _KBITS[first, layer][bit_rate - 1], _MPEG_RATES_HZ[version][rate]
    if layer == 1:
        return (12 * bits_s // rate_hz + padding) * 4
    return (72 if first == 2 and layer == 3 else 144) * bits_s // rate_hz + padding


def _adts_frame_bytes(head: bytes) -> int:
    """Length of the AAC frame (ADTS) that begins the head; 0 if none does."""
    if len(head) < 7 or head[0] != 0xFF or head[1] & 0xF6 != 0xF0:
        return 0
    return (head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5
