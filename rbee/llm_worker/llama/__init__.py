"""llama.cpp through its C interface. The only package that knows llama_cpp.

Nothing here knows of requests, events or asyncio. All calls block; ctypes lets go of the GIL while they do.
"""

from rbee.llm_worker.llama.model import Model

__all__ = ["Model"]
