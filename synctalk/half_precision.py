"""Whether small networks should run in bfloat16 on this machine."""

from functools import lru_cache
from pathlib import Path


@lru_cache(maxsize=1)
def has_bfloat16() -> bool:
    """Whether this processor multiplies bfloat16 natively; without that it is slower than float32."""
    try:
        return "avx512_bf16" in Path("/proc/cpuinfo").read_text()
    except OSError:
        return False
