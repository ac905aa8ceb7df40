"""`limits:` — how much one media file may take to decode. Not here: how the limits are kept (lib/data/decoding).

Never part of a result's identity: a limit refuses a file or does nothing. The run hands them to its programs by the
environment (VIPERSIGHT_LIMITS), as it does the folders of the site.
"""

from __future__ import annotations

from pydantic import Field

from lib.config.base import SiteSection


class Limits(SiteSection):
    """What the child process that decodes media may use, per file; only broken or hostile files should meet these."""

    VARIABLE, PLACE = "VIPERSIGHT_LIMITS", "limits"

    cpu_seconds: int = Field(
        36_000, ge=1, description="CPU seconds for reading one file; a file that needs more is refused by name."
    )
    stall_seconds: float = Field(
        120.0, gt=0, description="Seconds without a single further frame after which a file counts as stuck and is refused."
    )
    memory_mb: int = Field(8_192, ge=256, description="MiB of address space that decoding may take beside the program.")
    max_pixels: int = Field(
        134_217_728, ge=1, description="Largest picture, width x height in px; larger declared sizes are refused unread."
    )
    max_frames: int = Field(10_000_000, ge=1, description="Largest number of frames of one video.")
