"""llguidance: which tokens a grammar lets follow. The only import of it, and of numpy before it is needed.

llama.cpp has a grammar sampler of its own. It throws C++ exceptions, which end the process when they come through
ctypes, it ignores what it does not know of a schema, and it takes long where the vocabulary is large.
"""
